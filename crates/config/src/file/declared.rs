//! How keys are declared: a name, a kind of value, what absence means, what it is for. Reads nothing itself; the
//! declarations are in `keys`, the kinds of values in `kinds` and `hosts`.

use std::slice;

use serde_json::{Map, Value as Json, json};

use super::given::Given;

/// A table of the file and what may be in it.
pub(crate) struct Section {
    /// What it is for, in whole sentences.
    pub(crate) doc: &'static str,
    /// Everything that may be in it, in the order in which it is documented.
    pub(crate) keys: &'static [&'static dyn Known],
}

impl Section {
    /// Its keys, and those of the sections that stand in the same table.
    pub(crate) fn all(&self) -> impl Iterator<Item = &'static dyn Known> {
        let alone =
            |key: &'static &'static dyn Known| key.flat().map_or(slice::from_ref(key), |flat| flat.keys);
        self.keys.iter().flat_map(alone).copied()
    }

    /// The names of its keys.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.all().map(|key| key.name())
    }

    /// Sorts what belongs to keys of it as it has them; what belongs to none comes last.
    pub(crate) fn sort<T>(&self, all: &mut [T], name: impl Fn(&T) -> &'static str) {
        all.sort_by_key(|one| self.names().position(|known| known == name(one)).unwrap_or(usize::MAX));
    }

    /// As JSON schema: a table which holds nothing but its keys.
    pub(crate) fn schema(&self) -> Json {
        let properties: Map<String, Json> =
            self.all().map(|key| (key.name().to_owned(), key.schema())).collect();
        let required: Vec<&str> = self.all().filter(|key| key.required()).map(|key| key.name()).collect();
        json!({
            "type": "object",
            "description": self.doc,
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    /// Returns whether there is a key of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

/// A key with a value: its name, what it may hold, and what its absence means.
pub(crate) struct Key<K, A> {
    pub(crate) name: &'static str,
    pub(crate) kind: K,
    pub(crate) absent: A,
    /// What it is for, in whole sentences; ranges and defaults are added to it where it is shown.
    pub(crate) doc: &'static str,
}

/// A key with a table under it, or several.
pub(crate) struct Sub {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) section: &'static Section,
}

impl Sub {
    /// Returns what to write to get it; `path` is where it is, as a header has it.
    pub(crate) fn example(&self, path: &str) -> String {
        let Self { name, shape, section } = self;
        match shape {
            Shape::One => format!("`[{path}]` and its keys on the lines under it"),
            Shape::Many => format!("`[[{path}]]` and its keys on the lines under it, once for each"),
            Shape::Named => {
                format!("`[{path}.NAME]` and its keys on the lines under it, once for each")
            }
            Shape::Inline(words) => {
                let keys: Vec<String> = section.names().map(|key| format!("{key} = \"…\"")).collect();
                let words: String = words.iter().map(|word| format!(", or `{name} = \"{word}\"`")).collect();
                format!("`{name} = {{ {} }}`{words}", keys.join(", "))
            }
        }
    }
}

/// A section whose keys stand in the table of another one.
pub(crate) struct Flat(pub(crate) &'static Sub);

/// How tables stand under their key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `[name]`, at most once.
    One,
    /// `[[name]]`, at least once.
    Many,
    /// `[name.NAME]`, any number of times.
    Named,
    /// `name = { .. }` or `name = [{ .. }, { .. }]`, or one of these words in the place of them.
    Inline(&'static [&'static str]),
}

/// What a key may hold.
pub(crate) trait Kind: Sync {
    /// What reading it gives.
    type Read;

    /// Reads it, or says what is wrong with it and gives nothing.
    fn read(&self, given: Given<'_>) -> Option<Self::Read>;

    /// From the least to the most, where there is such a thing.
    fn range(&self) -> Option<String> {
        None
    }

    /// Its type and bounds as JSON schema.
    fn schema(&self) -> Map<String, Json>;
}

/// A kind whose keys may have a default, which the schema then says.
pub(crate) trait Written: Kind {
    /// Whether a reload may say it: what may hold a secret is not shown, and neither is what is too long for a line.
    const IS_SHOWN: bool = true;

    /// A value as the file would have it.
    fn written(&self, value: &Self::Read) -> Json;
}

/// A kind whose values a reload does not say, only that there is one, or another one.
pub(crate) trait Unsaid: Kind {}

impl<K: Unsaid> Written for K {
    const IS_SHOWN: bool = false;

    fn written(&self, _: &K::Read) -> Json {
        Json::Null
    }
}

/// The key may be left out, and then has this value.
pub(crate) struct Or<T>(pub(crate) T);
/// The key may be left out, which means this.
pub(crate) struct Optional(pub(crate) &'static str);
/// The key may not be left out; this is a value it could have, as the file would write it.
pub(crate) struct Required(pub(crate) &'static str);

/// What the absence of a key means, for the schema.
pub(crate) trait Absence<K>: Sync {
    const REQUIRED: bool = false;

    fn default(&self, _kind: &K) -> Option<Json> {
        None
    }

    fn meaning(&self) -> Option<&'static str> {
        None
    }
}

impl<K: Written> Absence<K> for Or<K::Read>
where
    K::Read: Sync,
{
    fn default(&self, kind: &K) -> Option<Json> {
        Some(kind.written(&self.0))
    }
}

impl<K> Absence<K> for Optional {
    fn meaning(&self) -> Option<&'static str> {
        Some(self.0)
    }
}

impl<K> Absence<K> for Required {
    const REQUIRED: bool = true;
}

/// A key without its types: what unknown keys are compared with, and what the schema is made of.
pub(crate) trait Known: Sync {
    fn name(&self) -> &'static str;
    fn required(&self) -> bool;
    fn schema(&self) -> Json;

    /// The section, if its keys stand in the table of this one.
    fn flat(&self) -> Option<&'static Section> {
        None
    }

    /// Returns whether it is a table, which may stand on a line of its section or have a block of its own.
    #[cfg(test)]
    fn is_table(&self) -> bool {
        false
    }

    /// Returns how `full.toml` has it: what it is for and its range, and its default. Nothing if its keys stand in the
    /// table of another.
    #[cfg(test)]
    fn in_full(&self) -> Option<(String, Option<Json>)> {
        None
    }
}

impl<K: Kind, A: Absence<K>> Known for Key<K, A> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn required(&self) -> bool {
        A::REQUIRED
    }

    #[cfg(test)]
    fn in_full(&self) -> Option<(String, Option<Json>)> {
        let range = self.kind.range().map_or_else(String::new, |range| format!(" {range}."));
        let left_out =
            self.absent.meaning().map_or_else(String::new, |meaning| format!(" Left out: {meaning}."));
        Some((format!("{}{range}{left_out}", self.doc.trim_start()), self.absent.default(&self.kind)))
    }

    fn schema(&self) -> Json {
        let mut schema = or_variable(self.kind.schema());
        let mut doc = plain(self.doc);
        // What is added is no part of the last element of a list.
        let gap = if doc.contains('\n') { '\n' } else { ' ' };
        if let Some(range) = self.kind.range() {
            doc += &format!("{gap}{range}.");
        }
        if let Some(meaning) = self.absent.meaning() {
            doc += &format!("{gap}Left out: {meaning}.");
        }
        if let Some(default) = self.absent.default(&self.kind) {
            doc += &format!("{gap}Default: {default}.");
            schema.insert("default".to_owned(), default);
        }
        schema.insert("description".to_owned(), json!(doc));
        Json::Object(schema)
    }
}

/// The text of a key without the line breaks of the source; ` - ` begins an element of a list.
fn plain(doc: &str) -> String {
    doc.split_ascii_whitespace().collect::<Vec<_>>().join(" ").replace(" - ", "\n- ")
}

/// A string with a variable in it may stand for what is no string, or looks otherwise.
fn or_variable(schema: Map<String, Json>) -> Map<String, Json> {
    let is = |kind: &str| schema.get("type").is_some_and(|own| own == kind);
    let is_any_string =
        is("string") && !["pattern", "minLength"].iter().any(|bound| schema.contains_key(*bound));
    if is_any_string || is("array") || is("object") {
        return schema;
    }
    let variable = json!({ "type": "string", "pattern": "\\$\\{" });
    let mut ways = match schema.get("anyOf") {
        Some(Json::Array(ways)) if schema.len() == 1 => ways.clone(),
        _ => vec![Json::Object(schema)],
    };
    ways.push(variable);
    Map::from_iter([("anyOf".to_owned(), Json::Array(ways))])
}

impl Known for Flat {
    fn name(&self) -> &'static str {
        self.0.name
    }

    fn required(&self) -> bool {
        false
    }

    fn schema(&self) -> Json {
        self.0.schema()
    }

    fn flat(&self) -> Option<&'static Section> {
        Some(self.0.section)
    }
}

impl Known for Sub {
    fn name(&self) -> &'static str {
        self.name
    }

    fn required(&self) -> bool {
        self.shape == Shape::Many
    }

    #[cfg(test)]
    fn in_full(&self) -> Option<(String, Option<Json>)> {
        Some((self.section.doc.to_owned(), None))
    }

    #[cfg(test)]
    fn is_table(&self) -> bool {
        true
    }

    fn schema(&self) -> Json {
        let one = self.section.schema();
        match self.shape {
            Shape::One => one,
            Shape::Many => json!({ "type": "array", "minItems": 1, "items": one }),
            Shape::Named => json!({ "type": "object", "additionalProperties": one }),
            Shape::Inline(words) => json!({ "anyOf": [
                one,
                { "type": "array", "minItems": 1, "items": one },
                { "enum": words },
                { "type": "string", "pattern": "\\$\\{" },
            ] }),
        }
    }
}
