//! One table of the file while it is read: takes values out by key, and says what is wrong without stopping.
//! Which keys there are is `keys`' business, what a value may be is `kinds`'.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::declared::{Key, Kind, Optional, Or, Required, Section, Shape, Sub};
use super::keys;
use crate::problem::{Problem, Problems};
use crate::suggest::nearest;

/// A table of the file. One that exists has had its unknown keys told.
pub(crate) struct Fields<'f> {
    /// The name in `[section.NAME]`, and where it stands; empty elsewhere.
    pub(crate) name: &'f str,
    /// Its header, or the whole of it if it is inline; nothing for the file itself and for a table left out.
    pub(crate) span: Option<Range<usize>>,
    entries: Option<&'f DeTable<'f>>,
    problems: &'f Problems,
}

/// A value as the file gives it, and the key it stands under.
#[derive(Clone, Copy)]
pub(crate) struct Given<'f> {
    pub(crate) name: &'f str,
    pub(crate) value: &'f Spanned<DeValue<'f>>,
    pub(crate) problems: &'f Problems,
    /// Whether it is one of a list, and the list is what stands under the key.
    is_element: bool,
}

impl<'f> Fields<'f> {
    /// The file itself.
    pub(crate) fn root(section: &Section, entries: &'f DeTable<'f>, problems: &'f Problems) -> Self {
        Self::new(section, "", None, entries, problems)
    }

    fn new(
        section: &Section,
        name: &'f str,
        span: Option<Range<usize>>,
        entries: &'f DeTable<'f>,
        problems: &'f Problems,
    ) -> Self {
        for key in entries.keys() {
            if let Some(problem) = unknown(section, key) {
                problems.push(problem);
            }
        }
        Self { name, span, entries: Some(entries), problems }
    }

    /// The value of a key that has a default, which also stands in for a value that cannot be read.
    pub(crate) fn or_default<K: Kind>(&self, key: &Key<K, Or<K::Read>>) -> K::Read
    where
        K::Read: Clone,
    {
        self.readable(key).unwrap_or_else(|| key.absent.0.clone())
    }

    /// The value of a key that has a default; nothing if it is there but cannot be read.
    pub(crate) fn readable<K: Kind>(&self, key: &Key<K, Or<K::Read>>) -> Option<K::Read>
    where
        K::Read: Clone,
    {
        match self.given(key.name) {
            Some(given) => key.kind.read(given),
            None => Some(key.absent.0.clone()),
        }
    }

    /// The value of a key that may be left out.
    pub(crate) fn optional<K: Kind>(&self, key: &Key<K, Optional>) -> Option<K::Read> {
        self.given(key.name).and_then(|given| key.kind.read(given))
    }

    /// The same, for whoever looks a second time: what is wrong with it has been told.
    pub(crate) fn text_again<K>(&self, key: &Key<K, Optional>) -> Option<&'f str> {
        match self.given(key.name)?.value.get_ref() {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a key that may be left out, and then is `absent`; nothing if it is there but cannot be read.
    pub(crate) fn or_if_absent<K: Kind>(&self, key: &Key<K, Optional>, absent: K::Read) -> Option<K::Read> {
        match self.given(key.name) {
            Some(given) => key.kind.read(given),
            None => Some(absent),
        }
    }

    /// The value of a key that must be there; nothing if it is not or cannot be read, which has been told then.
    pub(crate) fn required<K: Kind>(&self, key: &Key<K, Required>) -> Option<K::Read> {
        let Some(given) = self.given(key.name) else {
            let problem = Problem::error(self.span.clone(), format!("`{}` is missing here", key.name));
            self.push(problem.hint(format!("write `{} = {}`", key.name, key.absent.0)));
            return None;
        };
        key.kind.read(given)
    }

    /// The table under a key that comes once; an empty one if it is left out.
    pub(crate) fn one(&self, sub: &Sub) -> Fields<'f> {
        let empty = Fields { name: "", span: None, entries: None, problems: self.problems };
        self.many(sub).pop().unwrap_or(empty)
    }

    /// The tables under a key, in the order of the file.
    pub(crate) fn many(&self, sub: &Sub) -> Vec<Fields<'f>> {
        let Some(given) = self.given(sub.name) else { return Vec::new() };
        match (given.value.get_ref(), sub.shape) {
            (DeValue::Table(tables), Shape::Named) => named(tables, sub, self.problems),
            (DeValue::Array(tables), Shape::Many | Shape::Inline) => {
                tables.iter().filter_map(|value| Given { value, ..given }.table_of(sub)).collect()
            }
            (DeValue::Table(_), Shape::Many) => {
                let message = format!("`{}` may come more than once, and is a list", sub.name);
                self.push(
                    Problem::error(given.value.span(), message).hint(format!("write `[[{}]]`", sub.name)),
                );
                given.table_of(sub).into_iter().collect()
            }
            _ => given.table_of(sub).into_iter().collect(),
        }
    }

    /// Where the value of a key stands, or the table when the key is left out.
    pub(crate) fn span_of(&self, name: &str) -> Option<Range<usize>> {
        self.given(name).map(|given| given.value.span()).or_else(|| self.span.clone())
    }

    /// Whether a key is there, readable or not.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.given(name).is_some()
    }

    /// Whether there is nothing under a key: it is left out, or an empty list or table.
    pub(crate) fn is_without(&self, name: &str) -> bool {
        self.given(name).is_none_or(|given| match given.value.get_ref() {
            DeValue::Array(values) => values.is_empty(),
            DeValue::Table(entries) => entries.is_empty(),
            _ => false,
        })
    }

    /// Says something about this table that a single key cannot know.
    pub(crate) fn push(&self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The value of a key as it stands there.
    pub(crate) fn given(&self, name: &str) -> Option<Given<'f>> {
        let (key, value) = self.entries?.get_key_value(name)?;
        Some(Given { name: key.get_ref(), value, problems: self.problems, is_element: false })
    }
}

impl<'f> Given<'f> {
    /// The string, or nothing once it is told that `wanted` was expected.
    pub(crate) fn text(self, wanted: &str, example: impl FnOnce() -> String) -> Option<&'f str> {
        match self.value.get_ref() {
            DeValue::String(text) => Some(text),
            _ => self.wrong_type(wanted, example()),
        }
    }

    /// The elements of a list, or nothing once it is told that `wanted` was expected.
    pub(crate) fn elements(self, wanted: &str, example: &str) -> Option<impl Iterator<Item = Given<'f>>> {
        match self.value.get_ref() {
            DeValue::Array(values) => {
                Some(values.iter().map(move |value| Given { value, is_element: true, ..self }))
            }
            _ => self.wrong_type(wanted, example.to_owned()),
        }
    }

    /// The table with its keys checked; nothing if it is none, which the caller knows better how to tell.
    pub(crate) fn table(self, section: &Section) -> Option<Fields<'f>> {
        let DeValue::Table(entries) = self.value.get_ref() else { return None };
        Some(Fields::new(section, "", Some(self.value.span()), entries, self.problems))
    }

    /// The entries of a table whose keys are the user's own; nothing if it is none.
    pub(crate) fn entries(self) -> Option<impl Iterator<Item = (&'f str, Given<'f>)>> {
        let DeValue::Table(entries) = self.value.get_ref() else { return None };
        let given = move |(name, value): (&'f Spanned<DeString<'f>>, &'f Spanned<DeValue<'f>>)| {
            let name: &'f str = name.get_ref();
            (name, Given { name, value, problems: self.problems, is_element: false })
        };
        Some(entries.iter().map(given))
    }

    fn table_of(self, sub: &Sub) -> Option<Fields<'f>> {
        self.table(sub.section).or_else(|| {
            let message = format!("`{}` wants a table, not {}", sub.name, type_of(self.value.get_ref()));
            self.refuse(message, Some(format!("write {}", sub.example())))
        })
    }

    /// Tells that `wanted` was expected, and shows `example` as the value.
    pub(crate) fn wrong_type<T>(self, wanted: &str, example: String) -> Option<T> {
        let message = format!("`{}` wants {wanted}, not {}", self.name, type_of(self.value.get_ref()));
        let hint = match self.is_element {
            true => format!("write `{example}`"),
            false => format!("write `{} = {example}`", self.name),
        };
        self.refuse(message, Some(hint))
    }

    /// Tells that the value is outside of `range`.
    pub(crate) fn out_of_range<T>(self, range: &str) -> Option<T> {
        self.refuse(format!("`{}` is out of range", self.name), Some(format!("it may be {range}")))
    }

    /// Tells what is wrong with the value, and gives nothing in its place.
    pub(crate) fn refuse<T>(self, message: impl Into<String>, hint: Option<String>) -> Option<T> {
        let problem = Problem::error(self.value.span(), message);
        self.problems.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
        None
    }
}

/// The tables of `[section.NAME]`, in the order of the file.
fn named<'f>(tables: &'f DeTable<'f>, sub: &Sub, problems: &'f Problems) -> Vec<Fields<'f>> {
    let mut read: Vec<Fields<'f>> = Vec::new();
    for (name, value) in tables {
        match value.get_ref() {
            DeValue::Table(entries) => {
                // A table made by dotted keys has no header; the name is always there to point at.
                read.push(Fields::new(sub.section, name.get_ref(), Some(name.span()), entries, problems));
            }
            other => problems.push(
                Problem::error(
                    name.span(),
                    format!("`{}.{}` wants a table, not {}", sub.name, name.get_ref(), type_of(other)),
                )
                .hint(format!(
                    "write `[{}.NAME]`, and `{}` under it",
                    sub.name,
                    name.get_ref()
                )),
            ),
        }
    }
    read.sort_by_key(|fields| fields.span.as_ref().map(|span| span.start));
    read
}

/// What there is to say about a key that is not in the section.
fn unknown(section: &Section, key: &Spanned<DeString<'_>>) -> Option<Problem> {
    let name = key.get_ref().as_ref();
    if section.has(name) {
        return None;
    }
    if let Some((_, until_then)) = section.later.iter().find(|(later, _)| *later == name) {
        let message = format!("`{name}` is not supported yet");
        return Some(Problem::error(key.span(), message).hint(*until_then));
    }
    let hint = if keys::FILE.has(name) {
        // TOML gives every line after a header to that table, also one that somebody added at the end of the file.
        format!("`{name}` is a key of the file itself: put it above the first `[`")
    } else if let Some(meant) = nearest(name, section.names()) {
        format!("did you mean `{meant}`?")
    } else {
        let names: Vec<String> = section.names().map(|name| format!("`{name}`")).collect();
        format!("there is {}", names.join(", "))
    };
    Some(Problem::error(key.span(), format!("`{name}` is not a key that is known here")).hint(hint))
}

/// The type of a value with its article.
pub(crate) fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
