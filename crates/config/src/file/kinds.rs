//! What a key may hold, hosts and addresses aside: counts, sizes, durations, words, paths.
//! Each kind says how it is read, how it is written and what its JSON schema is.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::declared::{Kind, Written};
use super::fields::Given;
use super::units::{DURATIONS, NotAnAmount, SIZES, Units};
use crate::plan::{AccessLog, AdminSocket};
use crate::suggest::nearest;

pub(crate) mod care;
pub(crate) mod headers;
pub(crate) mod route;

/// A bare number.
pub(crate) struct Count {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

/// A string of a number and a unit, in bytes.
pub(crate) struct Size {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

/// A string of a number and a unit.
pub(crate) struct Time {
    pub(crate) least: Duration,
    pub(crate) most: Duration,
}

/// An amount, or `"none"`.
pub(crate) struct OrNone<K>(pub(crate) K);

/// One of a few words, each of which stands for a value.
pub(crate) struct Word<T: 'static>(pub(crate) &'static [(&'static str, T)]);

/// `true` or `false`.
pub(crate) struct Flag;

/// The name of something else in the file.
pub(crate) struct Name;

/// A path, not yet joined to the file's folder.
pub(crate) struct FilePath;

/// `"stdout"`, `"off"` or a path, not yet joined to the file's folder.
pub(crate) struct LogPlace;

/// `"off"` or the path of a Unix socket, not yet joined to the file's folder.
pub(crate) struct SocketPlace;

/// A secret of at least so many bytes, or a list of them, the one in use first.
pub(crate) struct SecretTexts {
    pub(crate) bytes_min: usize,
    pub(crate) count_max: usize,
}

impl Kind for Count {
    type Read = u64;

    fn read(&self, given: Given<'_>) -> Option<u64> {
        let DeValue::Integer(integer) = given.value.get_ref() else {
            let meant = match given.value.get_ref() {
                DeValue::String(text) => text.trim().parse().unwrap_or(self.least),
                _ => self.least,
            };
            return given.wrong_type("a bare number", meant.to_string());
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(count) if (self.least..=self.most).contains(&count) => Some(count),
            _ => given.out_of_range(&format!("{} to {}", self.least, self.most)),
        }
    }

    fn range(&self) -> Option<String> {
        Some(format!("{} to {}", self.least, self.most))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "integer", "minimum": self.least, "maximum": self.most }))
    }
}

impl Written for Count {
    fn written(&self, value: &u64) -> Json {
        json!(value)
    }
}

impl Kind for Size {
    type Read = u64;

    fn read(&self, given: Given<'_>) -> Option<u64> {
        amount(given, &SIZES, self.least..=self.most)
    }

    fn range(&self) -> Option<String> {
        Some(range(&SIZES, &(self.least..=self.most)))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": SIZES.pattern() }))
    }
}

impl Written for Size {
    fn written(&self, value: &u64) -> Json {
        json!(SIZES.write(*value))
    }
}

impl Kind for Time {
    type Read = Duration;

    fn read(&self, given: Given<'_>) -> Option<Duration> {
        amount(given, &DURATIONS, millis(self.least)..=millis(self.most)).map(Duration::from_millis)
    }

    fn range(&self) -> Option<String> {
        Some(range(&DURATIONS, &(millis(self.least)..=millis(self.most))))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": DURATIONS.pattern() }))
    }
}

impl Written for Time {
    fn written(&self, value: &Duration) -> Json {
        json!(DURATIONS.write(millis(*value)))
    }
}

impl<K: Written> Kind for OrNone<K> {
    type Read = Option<K::Read>;

    fn read(&self, given: Given<'_>) -> Option<Option<K::Read>> {
        match given.value.get_ref() {
            DeValue::String(text) if text == NONE => Some(None),
            _ => self.0.read(given).map(Some),
        }
    }

    fn range(&self) -> Option<String> {
        self.0.range()
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "const": NONE }, self.0.schema()] }))
    }
}

impl<K: Written> Written for OrNone<K> {
    fn written(&self, value: &Option<K::Read>) -> Json {
        value.as_ref().map_or_else(|| json!(NONE), |amount| self.0.written(amount))
    }
}

impl<T: Clone + PartialEq + Sync> Kind for Word<T> {
    type Read = T;

    fn read(&self, given: Given<'_>) -> Option<T> {
        let words = || self.0.iter().map(|(word, _)| *word);
        let quoted: Vec<String> = words().map(|word| format!("\"{word}\"")).collect();
        let wanted = match &quoted[..] {
            [but_one @ .., last] if !but_one.is_empty() => format!("{} or {last}", but_one.join(", ")),
            quoted => quoted.concat(),
        };
        let text = given.text(&wanted, || words().next().map(quote).unwrap_or_default())?;
        match self.0.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => Some(value.clone()),
            None => given.refuse(
                format!("`{}` wants {wanted}", given.name),
                nearest(text, words()).map(|meant| format!("did you mean \"{meant}\"?")),
            ),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        let words: Vec<&str> = self.0.iter().map(|(word, _)| *word).collect();
        schema(json!({ "enum": words }))
    }
}

impl<T: Clone + PartialEq + Sync> Written for Word<T> {
    fn written(&self, value: &T) -> Json {
        json!(self.0.iter().find(|(_, stands_for)| stands_for == value).map(|(word, _)| word))
    }
}

impl Kind for Flag {
    type Read = bool;

    fn read(&self, given: Given<'_>) -> Option<bool> {
        match given.value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => given.wrong_type("`true` or `false`", "true".to_owned()),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "boolean" }))
    }
}

impl Written for Flag {
    fn written(&self, value: &bool) -> Json {
        json!(value)
    }
}

impl Kind for Name {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        given.text("a name", || quote("nodes")).map(str::to_owned)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string" }))
    }
}

impl Kind for FilePath {
    type Read = PathBuf;

    fn read(&self, given: Given<'_>) -> Option<PathBuf> {
        let text = given.text("the path of a file", || quote(&format!("{}.pem", given.name)))?;
        if text.is_empty() {
            return given.refuse(format!("`{}` is empty", given.name), None);
        }
        Some(PathBuf::from(text))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Kind for LogPlace {
    type Read = AccessLog;

    fn read(&self, given: Given<'_>) -> Option<AccessLog> {
        match given.text("\"stdout\", \"off\" or the path of a file", || quote(STDOUT))? {
            STDOUT => Some(AccessLog::Stdout),
            OFF => Some(AccessLog::Off),
            text => path(given, text, &format!("\"{STDOUT}\", \"{OFF}\" or the path of a file"))
                .map(AccessLog::File),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Written for LogPlace {
    fn written(&self, value: &AccessLog) -> Json {
        match value {
            AccessLog::Stdout => json!(STDOUT),
            AccessLog::Off => json!(OFF),
            AccessLog::File(path) => json!(path),
        }
    }
}

impl Kind for SocketPlace {
    type Read = AdminSocket;

    fn read(&self, given: Given<'_>) -> Option<AdminSocket> {
        let wanted = "the path of a socket or \"off\"";
        match given.text(wanted, || quote("./admin.sock"))? {
            OFF => Some(AdminSocket::Off),
            text => path(given, text, wanted).map(AdminSocket::Path),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl SecretTexts {
    fn one(&self, given: Given<'_>) -> Option<Vec<u8>> {
        let text = given.text("a string", || "\"…\"".to_owned())?;
        if text.len() < self.bytes_min {
            return given.refuse(
                format!("`{}` is {} bytes long, and needs {}", given.name, text.len(), self.bytes_min),
                Some("`openssl rand -base64 32` prints a good one".to_owned()),
            );
        }
        Some(text.as_bytes().to_vec())
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
        elements.into_iter().map(|element| self.one(element)).collect()
    }

    fn schema(&self) -> Map<String, Json> {
        let one = json!({ "type": "string", "minLength": self.bytes_min });
        schema(json!({ "anyOf": [
            one,
            { "type": "array", "items": one, "minItems": 1, "maxItems": self.count_max },
        ] }))
    }
}

/// The members of a JSON object that was written as a literal.
pub(crate) fn schema(object: Json) -> Map<String, Json> {
    match object {
        Json::Object(members) => members,
        _ => Map::new(),
    }
}

/// A string as the file writes it.
pub(crate) fn quote(text: &str) -> String {
    format!("\"{text}\"")
}

/// A path where a word might have stood.
fn path(given: Given<'_>, text: &str, wanted: &str) -> Option<PathBuf> {
    // A bare word is somebody's guess at a keyword; a file of that name would be a surprise.
    if text.contains(['/', '.']) {
        return Some(PathBuf::from(text));
    }
    given.refuse(
        format!("`{}` wants {wanted}", given.name),
        Some(format!("a file in this folder is written `{} = \"./{text}\"`", given.name)),
    )
}

fn amount(given: Given<'_>, units: &Units, bounds: RangeInclusive<u64>) -> Option<u64> {
    let read = match given.value.get_ref() {
        DeValue::String(text) => units.read(text).map_err(|why| (why, text.trim())),
        DeValue::Integer(number) => Err((NotAnAmount::Bare, number.as_str())),
        _ => return given.wrong_type(&format!("{} in quotes", units.of), quote(&units.write(*bounds.end()))),
    };
    match read {
        Ok(amount) if bounds.contains(&amount) => Some(amount),
        Ok(_) | Err((NotAnAmount::TooMuch, _)) => given.out_of_range(&range(units, &bounds)),
        Err((NotAnAmount::Bare, number)) => given.refuse(
            format!("`{}` wants {} with its unit", given.name, units.of),
            Some(format!("write `{} = \"{}\"`", given.name, units.guess(number, &bounds))),
        ),
        Err((NotAnAmount::Unreadable, _)) => given.refuse(
            format!("`{}` wants {}, a whole number and its unit", given.name, units.of),
            Some(format!("units are {}", units.names())),
        ),
    }
}

fn range(units: &Units, bounds: &RangeInclusive<u64>) -> String {
    format!("{} to {}", units.write(*bounds.start()), units.write(*bounds.end()))
}

/// Whole milliseconds. Bounds and values of the file have no finer part and end far below `u64::MAX`.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const NONE: &str = "none";
const STDOUT: &str = "stdout";
const OFF: &str = "off";
