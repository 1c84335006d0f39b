//! The JSON schema of the file, for editors that complete and check it while it is typed.
//! Made of the same declarations that the file is read by.

use serde_json::{Map, Value as Json, json};

use crate::file::declared::Section;
use crate::file::keys;

/// The schema, as `configs/schema.json` holds it: JSON schema draft 7, which editors know best.
pub fn schema() -> String {
    let mut schema = section(&keys::FILE);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("tidelock");
    format!("{schema:#}\n")
}

/// One table, which holds nothing but its keys.
pub(crate) fn section(section: &Section) -> Json {
    let properties: Map<String, Json> =
        section.keys.iter().map(|key| (key.name().to_owned(), key.schema())).collect();
    let required: Vec<&str> =
        section.keys.iter().filter(|key| key.required()).map(|key| key.name()).collect();
    json!({
        "type": "object",
        "description": section.doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}
