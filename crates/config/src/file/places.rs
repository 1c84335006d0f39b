//! Where the values of a file stand, by the path of their keys, for whoever finds something about the machine that the file
//! does not go with: `app.chat.cwd`, `listen.0.address`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Every value of a file, and where it stands.
#[derive(Debug, Default)]
pub(crate) struct Places(BTreeMap<String, Value>);

#[derive(Debug)]
struct Value {
    span: Range<usize>,
    /// If it is a string.
    text: Option<String>,
}

impl Places {
    pub(crate) fn of(table: &DeTable<'_>) -> Self {
        let mut places = Self::default();
        places.table(table, "");
        places
    }

    /// The value at `path`, or what of the way there is in the file.
    pub(crate) fn find(&self, path: &str) -> Option<Range<usize>> {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return Some(place.span.clone());
            }
            path = path.rsplit_once('.')?.0;
        }
    }

    /// Where under `path` the file at `file` is named, if paths are relative to `folder`.
    pub(crate) fn find_file(&self, path: &str, file: &Path, folder: &Path) -> Option<Range<usize>> {
        let is_it =
            |place: &&Value| place.text.as_ref().is_some_and(|text| folder.join(PathBuf::from(text)) == file);
        self.below(path).find(is_it).map(|place| place.span.clone())
    }

    /// From the first to the last value under `path`.
    pub(crate) fn all_of(&self, path: &str) -> Option<Range<usize>> {
        let spans = || self.below(path).map(|place| &place.span);
        Some(spans().map(|span| span.start).min()?..spans().map(|span| span.end).max()?)
    }

    fn below(&self, path: &str) -> impl Iterator<Item = &Value> {
        let is_below = move |name: &str| {
            name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.iter().filter(move |(name, _)| is_below(name)).map(|(_, place)| place)
    }

    fn table(&mut self, table: &DeTable<'_>, path: &str) {
        for (key, value) in table {
            let path = match path {
                "" => key.get_ref().to_string(),
                path => format!("{path}.{}", key.get_ref()),
            };
            // Of a table its name is what can be pointed at.
            let span = if value.get_ref().is_table() { key.span() } else { value.span() };
            self.value(value, span, path);
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, span: Range<usize>, path: String) {
        match value.get_ref() {
            DeValue::Table(entries) => self.table(entries, &path),
            DeValue::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    self.value(value, value.span(), format!("{path}.{index}"));
                }
            }
            _ => {}
        }
        let text = value.get_ref().as_str().map(str::to_owned);
        self.0.insert(path, Value { span, text });
    }
}
