//! How keys are declared: a name, a kind of value, what absence means, what it is for. Reads nothing itself; the
//! declarations are in `keys`, the kinds of values in `kinds` and `hosts`.

use serde_json::{Map, Value as Json, json};

use super::fields::Given;

/// A table of the file and what may be in it.
pub(crate) struct Section {
    /// What it is for, in whole sentences.
    pub(crate) doc: &'static str,
    /// Everything that may be in it, in the order in which it is documented.
    pub(crate) keys: &'static [&'static dyn Known],
    /// Keys of later versions, and what to do until then.
    pub(crate) later: &'static [(&'static str, &'static str)],
}

impl Section {
    /// The names of its keys.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name())
    }

    /// Whether there is a key of that name.
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
    /// What to write to get it.
    pub(crate) fn example(&self) -> String {
        let Self { name, shape, section } = self;
        match shape {
            Shape::One => format!("`[{name}]` and its keys on the lines under it"),
            Shape::Many => format!("`[[{name}]]` and its keys on the lines under it, once for each"),
            Shape::Named => {
                format!("`[{name}.NAME]` and its keys on the lines under it, once for each")
            }
            Shape::Inline => {
                let keys: Vec<String> = section.names().map(|key| format!("{key} = \"…\"")).collect();
                format!("`{name} = {{ {} }}`", keys.join(", "))
            }
        }
    }
}

/// How tables stand under their key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `[name]`, at most once.
    One,
    /// `[[name]]`, at least once.
    Many,
    /// `[name.NAME]`, any number of times.
    Named,
    /// `name = { .. }` or `name = [{ .. }, { .. }]`.
    Inline,
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
    /// A value as the file would have it.
    fn written(&self, value: &Self::Read) -> Json;
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
}

impl<K: Kind, A: Absence<K>> Known for Key<K, A> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn required(&self) -> bool {
        A::REQUIRED
    }

    fn schema(&self) -> Json {
        let mut schema = self.kind.schema();
        let mut doc = self.doc.to_owned();
        if let Some(range) = self.kind.range() {
            doc += &format!(" {range}.");
        }
        if let Some(meaning) = self.absent.meaning() {
            doc += &format!(" Left out: {meaning}.");
        }
        if let Some(default) = self.absent.default(&self.kind) {
            doc += &format!(" Default: {default}.");
            schema.insert("default".to_owned(), default);
        }
        schema.insert("description".to_owned(), json!(doc));
        Json::Object(schema)
    }
}

impl Known for Sub {
    fn name(&self) -> &'static str {
        self.name
    }

    fn required(&self) -> bool {
        self.shape == Shape::Many
    }

    fn schema(&self) -> Json {
        let one = crate::schema::section(self.section);
        match self.shape {
            Shape::One => one,
            Shape::Many => json!({ "type": "array", "minItems": 1, "items": one }),
            Shape::Named => json!({ "type": "object", "additionalProperties": one }),
            Shape::Inline => json!({ "oneOf": [one, { "type": "array", "minItems": 1, "items": one }] }),
        }
    }
}
