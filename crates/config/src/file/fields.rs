//! One table of the file while it is read: takes values out by key, and says what is wrong without stopping.
//! Which keys there are is `keys`' business, what a value may be is `kinds`'.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::declared::{Key, Kind, Optional, Or, Required, Section, Shape, Sub};
use super::foreign;
use super::given::{Given, type_of};
use super::reading::Reading;
use crate::problem::Problem;
use crate::routing::Pattern;
use crate::suggest::nearest;

/// A table of the file. One that exists has had its unknown keys told.
pub(crate) struct Fields<'f> {
    /// The name in `[section.NAME]`, and where it stands; empty elsewhere.
    pub(crate) name: &'f str,
    /// Its header, or the whole of it if it is inline; nothing for the file itself and for a table left out.
    pub(crate) span: Option<Range<usize>>,
    /// As a header has it: `app.chat.stop`; empty for the file itself.
    path: String,
    entries: Option<&'f DeTable<'f>>,
    pub(crate) reading: &'f Reading<'f>,
    /// Whose groups texts in it may name.
    groups: Option<&'f Pattern>,
}

impl<'f> Fields<'f> {
    /// The file itself.
    pub(crate) fn root(section: &Section, entries: &'f DeTable<'f>, reading: &'f Reading<'f>) -> Self {
        tell_unknown(section, entries, reading);
        Self { name: "", span: None, path: String::new(), entries: Some(entries), reading, groups: None }
    }

    /// The same table, the texts in which may name the groups of `pattern`.
    pub(crate) fn with_groups<'p>(&'p self, pattern: Option<&'p Pattern>) -> Fields<'p> {
        let Self { name, span, path, entries, reading, .. } = self;
        Fields { name, span: span.clone(), path: path.clone(), entries: *entries, reading, groups: pattern }
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
            Some(given) => given.read(&key.kind),
            None => Some(key.absent.0.clone()),
        }
    }

    /// The same for whoever looks before the key is read with all others, which tells what is wrong with it.
    pub(crate) fn in_advance<K: Kind>(&self, key: &Key<K, Or<K::Read>>) -> K::Read
    where
        K::Read: Clone,
    {
        let read = self.given(key.name).and_then(|given| given.read_quietly(&key.kind));
        read.unwrap_or_else(|| key.absent.0.clone())
    }

    /// Whether the value of a key is left out, or can be read. Tells nobody if it cannot: whoever reads the key
    /// itself does.
    pub(crate) fn is_readable<K: Kind, A>(&self, key: &Key<K, A>) -> bool {
        self.given(key.name).is_none_or(|given| given.read_quietly(&key.kind).is_some())
    }

    /// The value of a key that may be left out.
    pub(crate) fn optional<K: Kind>(&self, key: &Key<K, Optional>) -> Option<K::Read> {
        self.given(key.name).and_then(|given| given.read(&key.kind))
    }

    /// The strings under a key as the file has them, with their variables: what people may see of it.
    pub(crate) fn as_written(&self, name: &str) -> Vec<String> {
        let Some(given) = self.given(name) else { return Vec::new() };
        let elements = match given.value.get_ref() {
            DeValue::Array(values) => values.iter().map(|value| Given { value, ..given }).collect(),
            _ => vec![given],
        };
        elements.into_iter().filter_map(Given::as_written).map(str::to_owned).collect()
    }

    /// The same, for whoever looks a second time: what is wrong with it has been told.
    pub(crate) fn text_again<K>(&self, key: &Key<K, Optional>) -> Option<&'f str> {
        match self.given(key.name)?.value.get_ref() {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// What has been read of a key, or `absent` if it is left out; nothing if it is there and could not be read.
    pub(crate) fn said_or<T>(&self, name: &str, read: Option<T>, absent: T) -> Option<T> {
        if self.has(name) { read } else { Some(absent) }
    }

    /// The value of a key that must be there; nothing if it is not or cannot be read, which has been told then.
    pub(crate) fn required<K: Kind>(&self, key: &Key<K, Required>) -> Option<K::Read> {
        let Some(given) = self.given(key.name) else {
            let problem = Problem::error(self.span.clone(), format!("`{}` is missing here", key.name));
            self.push(problem.hint(format!("write `{} = {}`", key.name, key.absent.0)));
            return None;
        };
        given.read(&key.kind)
    }

    /// The table under a key that comes once; an empty one if it is left out.
    pub(crate) fn one(&self, sub: &Sub) -> Fields<'f> {
        self.many(sub).pop().unwrap_or_else(|| Fields {
            name: "",
            span: None,
            path: self.path_of(sub),
            entries: None,
            reading: self.reading,
            groups: self.groups,
        })
    }

    /// A table that says nothing.
    pub(crate) fn nothing(&self) -> Fields<'f> {
        Fields {
            name: "",
            span: None,
            path: String::new(),
            entries: None,
            reading: self.reading,
            groups: None,
        }
    }

    /// The tables under a key, in the order of the file.
    pub(crate) fn many(&self, sub: &Sub) -> Vec<Fields<'f>> {
        let Some(given) = self.given(sub.name) else { return Vec::new() };
        match (given.value.get_ref(), sub.shape) {
            (DeValue::Table(tables), Shape::Named) => self.named(tables, sub),
            (DeValue::String(_), Shape::Inline(_)) if self.word(sub).is_some() => Vec::new(),
            (DeValue::Array(tables), Shape::Many | Shape::Inline(_)) => {
                tables.iter().filter_map(|value| self.table_of(Given { value, ..given }, sub)).collect()
            }
            (DeValue::Table(_), Shape::Many) => {
                let message = format!("`{}` may come more than once, and is a list", sub.name);
                self.push(
                    Problem::error(given.value.span(), message).hint(format!("write `[[{}]]`", sub.name)),
                );
                self.table_of(given, sub).into_iter().collect()
            }
            _ => self.table_of(given, sub).into_iter().collect(),
        }
    }

    /// The word in the place of the tables under a key, if it is one that may stand there.
    pub(crate) fn word(&self, sub: &Sub) -> Option<&'static str> {
        let (Shape::Inline(words), DeValue::String(text)) =
            (sub.shape, self.given(sub.name)?.value.get_ref())
        else {
            return None;
        };
        words.iter().find(|word| **word == text.as_ref()).copied()
    }

    /// As a header has it.
    fn path_of(&self, sub: &Sub) -> String {
        if self.path.is_empty() { sub.name.to_owned() } else { format!("{}.{}", self.path, sub.name) }
    }

    fn table_of(&self, given: Given<'f>, sub: &Sub) -> Option<Fields<'f>> {
        let path = self.path_of(sub);
        let Some(fields) = given.table(sub.section) else {
            let value = given.value.get_ref();
            let message = format!("`{}` wants a table, not {}", sub.name, type_of(value));
            let hint = match value {
                // Whoever says that it is not wanted has said it.
                DeValue::Boolean(false) => format!("leave `{}` out", sub.name),
                DeValue::Boolean(true) if sub.shape == Shape::One => {
                    format!("write `[{path}]` on a line of its own in the place of this one")
                }
                _ => format!("write {}", sub.example(&path)),
            };
            return given.refuse(message, Some(hint));
        };
        Some(Fields { path, ..fields })
    }

    /// The tables of `[section.NAME]`, in the order of the file.
    fn named(&self, tables: &'f DeTable<'f>, sub: &Sub) -> Vec<Fields<'f>> {
        let mut read: Vec<Fields<'f>> = Vec::new();
        for (name, value) in tables {
            let DeValue::Table(entries) = value.get_ref() else {
                self.push(not_named(name, value.get_ref(), sub));
                continue;
            };
            tell_unknown(sub.section, entries, self.reading);
            read.push(Fields {
                name: name.get_ref(),
                // A table made by dotted keys has no header; the name is always there to point at.
                span: Some(name.span()),
                path: format!("{}.{}", sub.name, name.get_ref()),
                entries: Some(entries),
                reading: self.reading,
                groups: self.groups,
            });
        }
        read.sort_by_key(|fields| fields.span.as_ref().map(|span| span.start));
        read
    }

    /// Where to point for a problem with a key: at its value, or at the table when the key is left out.
    pub(crate) fn span_of(&self, name: &str) -> Option<Range<usize>> {
        self.given(name).map(|given| given.value.span()).or_else(|| self.span.clone())
    }

    /// Readable or not; a value that is wrong is there.
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
        self.reading.push(problem);
    }

    /// The value of a key as it stands there.
    pub(crate) fn given(&self, name: &str) -> Option<Given<'f>> {
        let (key, value) = self.entries?.get_key_value(name)?;
        let Self { reading, groups, .. } = *self;
        Some(Given { name: key.get_ref(), value, reading, is_element: false, groups })
    }
}

impl<'f> Given<'f> {
    /// The value as its kind has it; nothing if it cannot be read, which has been told then.
    pub(crate) fn read<K: Kind>(self, kind: &K) -> Option<K::Read> {
        if self.is_broken() { None } else { kind.read(self) }
    }

    /// Tries to read it, and tells nobody if it cannot be.
    pub(crate) fn read_quietly<K: Kind>(self, kind: &K) -> Option<K::Read> {
        kind.read(Given { reading: &self.reading.in_silence(), ..self })
    }

    /// The table with its keys checked; nothing if it is none, which the caller knows better how to tell.
    pub(crate) fn table(self, section: &Section) -> Option<Fields<'f>> {
        let DeValue::Table(entries) = self.value.get_ref() else { return None };
        tell_unknown(section, entries, self.reading);
        Some(Fields {
            name: "",
            span: Some(self.value.span()),
            path: self.name.to_owned(),
            entries: Some(entries),
            reading: self.reading,
            groups: self.groups,
        })
    }
}

fn not_named(name: &Spanned<DeString<'_>>, value: &DeValue<'_>, sub: &Sub) -> Problem {
    let message = format!("`{}.{}` wants a table, not {}", sub.name, name.get_ref(), type_of(value));
    let hint = format!("write `[{}.NAME]`, and `{}` under it", sub.name, name.get_ref());
    Problem::error(name.span(), message).hint(hint)
}

fn tell_unknown(section: &Section, entries: &DeTable<'_>, reading: &Reading<'_>) {
    entries.keys().filter_map(|key| unknown(section, key, reading)).for_each(|problem| reading.push(problem));
}

/// The problem with a key that is not in the section; `None` for one that is. The hint is another program's word
/// for it, the table that it belongs to, or the nearest name.
fn unknown(section: &Section, key: &Spanned<DeString<'_>>, reading: &Reading<'_>) -> Option<Problem> {
    let name = key.get_ref().as_ref();
    if section.has(name) {
        return None;
    }
    if let Some(word) = foreign::word(name) {
        return Some(Problem::error(key.span(), word.message(name)).hint(word.hint()));
    }
    let hint = if reading.has_outermost(name) {
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
