//! What a node sees in the place of the path: `rewrite`.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{Text, line};
use crate::file::declared::{Key, Kind, Optional, Section};
use crate::file::given::Given;
use crate::file::kinds::hosts::RoutePath;
use crate::file::kinds::schema;
use crate::routing::{PathEdit, Pattern};

/// What a node sees in the place of the path.
pub(crate) struct RewritePath;

/// A table of what is done to a path.
pub(crate) static REWRITE_SECTION: Section =
    Section { doc: "Another beginning of the path.", keys: &[&REWRITE_PREFIX] };
static REWRITE_PREFIX: Key<Text, Optional> = Key {
    name: "prefix",
    kind: Text,
    absent: Optional("nothing, as `strip = true` has it"),
    doc: "What comes in the place of the route's `path`.",
};

impl RewritePath {
    /// Reads it, with the groups of the route's pattern.
    pub(crate) fn read_with(given: Given<'_>, pattern: Option<&Pattern>) -> Option<PathEdit> {
        let begins_right = |given: Given<'_>, text: &str| {
            if text.starts_with('/') || text.starts_with("{path}") || text.starts_with("{1}") {
                return Some(());
            }
            given.refuse("a path begins with a slash", Some(format!("write \"/{text}\"")))
        };
        let has_query = |given: Given<'_>, text: &str| {
            if !text.contains(['?', '#']) {
                return Some(());
            }
            let hint = "the query of the request goes on behind the path as it is".to_owned();
            given.refuse("a rewritten path holds no query", Some(hint))
        };
        if let DeValue::String(text) = given.value.get_ref() {
            let read = line(given, pattern, false)?;
            begins_right(given, text)?;
            has_query(given, text)?;
            return Some(PathEdit::Whole(read));
        }
        let Some(fields) = given.table(&REWRITE_SECTION) else {
            return given.wrong_type("a path or a table", "{ prefix = \"/v2\" }".to_owned());
        };
        let prefix = match fields.given(REWRITE_PREFIX.name) {
            Some(prefix) => RoutePath.read(prefix)?,
            None => String::new(),
        };
        Some(PathEdit::Prefix(prefix.trim_end_matches('/').to_owned()))
    }
}

/// Read by [`RewritePath::read_with`], once the groups of the route are known.
impl Kind for RewritePath {
    type Read = ();

    fn read(&self, _: Given<'_>) -> Option<()> {
        Some(())
    }

    fn schema(&self) -> Map<String, Json> {
        let table = REWRITE_SECTION.schema();
        schema(json!({ "anyOf": [{ "type": "string", "minLength": 1 }, table] }))
    }
}
