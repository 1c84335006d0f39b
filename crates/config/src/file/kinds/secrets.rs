//! Secrets: in the file itself, or in files of their own.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::schema;
use crate::file::declared::{Kind, Unsaid};
use crate::file::given::Given;

/// A secret of at least so many bytes, or a list of them, the one in use first.
pub(crate) struct SecretTexts {
    pub(crate) bytes_min: usize,
    pub(crate) count_max: usize,
}

impl Unsaid for SecretTexts {}

impl SecretTexts {
    fn one(&self, given: Given<'_>) -> Option<Vec<u8>> {
        let text = given.text("a string", || "\"…\"".to_owned())?;
        let secret = match text.strip_prefix(SECRET_FILE) {
            Some(path) => given.reading.secret_in(path, &given.value.span())?,
            None => text.as_bytes().to_vec(),
        };
        if secret.len() < self.bytes_min {
            return given.refuse(
                format!("`{}` is {} bytes long, and needs {}", given.name, secret.len(), self.bytes_min),
                Some("`openssl rand -base64 32` prints a good one".to_owned()),
            );
        }
        Some(secret)
    }
}

impl Kind for SecretTexts {
    type Read = Vec<Vec<u8>>;

    fn read(&self, given: Given<'_>) -> Option<Vec<Vec<u8>>> {
        let DeValue::Array(_) = given.value.get_ref() else { return self.one(given).map(|one| vec![one]) };
        let elements: Vec<Given<'_>> = given.elements("a string, or a list of them", "[\"…\"]")?.collect();
        if elements.is_empty() || elements.len() > self.count_max {
            return given.refuse(
                format!("`{}` wants 1 to {} secrets", given.name, self.count_max),
                Some("the first one signs, the others are still believed".to_owned()),
            );
        }
        // All of them are read, so that each that is wrong is told.
        let secrets: Vec<Option<Vec<u8>>> = elements.into_iter().map(|element| self.one(element)).collect();
        secrets.into_iter().collect()
    }

    fn schema(&self) -> Map<String, Json> {
        let elsewhere = json!({ "type": "string", "pattern": "^file:.|\\$\\{" });
        let one = json!({ "anyOf": [{ "type": "string", "minLength": self.bytes_min }, elsewhere] });
        schema(json!({ "anyOf": [
            one,
            { "type": "array", "items": one, "minItems": 1, "maxItems": self.count_max },
        ] }))
    }
}

/// A secret that begins so is in the file at the path that follows.
pub(crate) const SECRET_FILE: &str = "file:";
