//! What a node sees in the place of the path: `rewrite`.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::line;
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid};
use crate::file::given::Given;
use crate::file::kinds::hosts::RoutePath;
use crate::file::kinds::schema;
use crate::routing::PathEdit;

/// What a node sees in the place of the path.
pub(crate) struct RewritePath;

declare! {
    /// `rewrite`, where it is a table.
    struct RewriteTable in TABLE = "rewrite", One: "Another beginning of the path.";
    keys {
        /// What comes in the place of the route's `path`.
        PREFIX prefix: Option<String> => "nothing, as `strip = true` has it", Prefix;
    }
}

impl Kind for RewritePath {
    type Read = PathEdit;

    fn read(&self, given: Given<'_>) -> Option<PathEdit> {
        if let DeValue::String(text) = given.value.get_ref() {
            return whole(given, text);
        }
        let Some(fields) = given.table(TABLE.section) else {
            return given.wrong_type("a path or a table", "{ prefix = \"/v2\" }".to_owned());
        };
        let RewriteTable { prefix } = fields.reading.sound(|| RewriteTable::read(&fields))?;
        Some(PathEdit::Prefix(prefix.unwrap_or_default().trim_end_matches('/').to_owned()))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "type": "string", "minLength": 1 }, TABLE.section.schema()] }))
    }
}

impl Unsaid for RewritePath {}

fn whole(given: Given<'_>, text: &str) -> Option<PathEdit> {
    let read = line(given, false)?;
    if !["/", "{path}", "{1}"].into_iter().any(|begin| text.starts_with(begin)) {
        return given.refuse("a path begins with a slash", Some(format!("write \"/{text}\"")));
    }
    if text.contains(['?', '#']) {
        let hint = "the query of the request goes on behind the path as it is".to_owned();
        return given.refuse("a rewritten path holds no query", Some(hint));
    }
    Some(PathEdit::Whole(read))
}

/// The beginning of a path.
pub(crate) struct Prefix;

impl Kind for Prefix {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        RoutePath.read(given)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string" }))
    }
}

impl Unsaid for Prefix {}
