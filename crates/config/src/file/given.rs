//! A value as the file gives it: its type is asked for here, and what is wrong with it is told here. Knows no key and no kind.

use toml::Spanned;
use toml::de::{DeString, DeValue};

use super::reading::Reading;
use crate::problem::Problem;
use crate::routing::Pattern;

/// A value as the file gives it, and the key it stands under.
#[derive(Clone, Copy)]
pub(crate) struct Given<'f> {
    pub(crate) name: &'f str,
    pub(crate) value: &'f Spanned<DeValue<'f>>,
    pub(crate) reading: &'f Reading<'f>,
    /// Whether it is one of a list, and the list is what stands under the key.
    pub(crate) is_element: bool,
    /// Whose groups texts in it may name.
    pub(crate) groups: Option<&'f Pattern>,
}

impl<'f> Given<'f> {
    /// The string, if variables of the environment are in it: it may then be what is not in quotes elsewhere.
    pub(crate) fn set_by_environment(self) -> Option<&'f str> {
        match self.value.get_ref() {
            DeValue::String(text) => self.reading.expanded(&self.value.span()).map(|_| text.trim()),
            _ => None,
        }
    }

    /// The string as the file has it, with its variables.
    pub(crate) fn as_written(self) -> Option<&'f str> {
        match self.value.get_ref() {
            DeValue::String(text) => {
                let expanded = self.reading.expanded(&self.value.span());
                Some(expanded.map_or(text, |expanded| &expanded.written))
            }
            _ => None,
        }
    }

    /// Returns whether one of its variables is not set.
    pub(crate) fn is_broken(self) -> bool {
        self.reading.expanded(&self.value.span()).is_some_and(|expanded| expanded.is_broken)
    }

    /// The string, or nothing once it is told that `wanted` was expected.
    pub(crate) fn text(self, wanted: &str, example: impl FnOnce() -> String) -> Option<&'f str> {
        match self.value.get_ref() {
            DeValue::String(_) if self.is_broken() => None,
            DeValue::String(text) => Some(text),
            _ => self.wrong_type(wanted, example()),
        }
    }

    /// The text in the file at `path`, or nothing once it is told why there is none.
    pub(crate) fn text_in(self, path: &str) -> Option<String> {
        self.reading.text_in(path, &self.value.span())
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

    /// The strings of a list, for whoever looks a second time: what is wrong with their types has been told.
    pub(crate) fn texts(self) -> Vec<(&'f str, Given<'f>)> {
        let DeValue::Array(values) = self.value.get_ref() else { return Vec::new() };
        let text = |value: &'f Spanned<DeValue<'f>>| match value.get_ref() {
            DeValue::String(text) => Some((text.as_ref(), Given { value, is_element: true, ..self })),
            _ => None,
        };
        values.iter().filter_map(text).collect()
    }

    /// The entries of a table whose keys are the user's own; nothing if it is none.
    pub(crate) fn entries(self) -> Option<impl Iterator<Item = (&'f str, Given<'f>)>> {
        let DeValue::Table(entries) = self.value.get_ref() else { return None };
        let given = move |(name, value): (&'f Spanned<DeString<'f>>, &'f Spanned<DeValue<'f>>)| {
            let name: &'f str = name.get_ref();
            (name, Given { name, value, is_element: false, ..self })
        };
        Some(entries.iter().map(given))
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
        self.push(match hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
        None
    }

    /// Says something about the value, or about a part of it.
    pub(crate) fn push(self, problem: Problem) {
        self.reading.push(problem);
    }
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
