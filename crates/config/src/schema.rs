//! The JSON schema of the file, for editors that complete and check it while it is typed.
//! Made of the same declarations that the file is read by.

use serde_json::json;

use crate::plan::FILE;

/// The schema, as `configs/schema.json` holds it: JSON schema draft 7, which editors know best.
pub fn schema() -> String {
    let mut schema = FILE.section.schema();
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("tidelock");
    format!("{schema:#}\n")
}
