//! What the keys of an app may hold beyond the kinds that others have too: commands, environments, ports.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{Count, quote, schema, text};
use crate::app::values::{ExitCodes, Instances, Port};
use crate::file::declared::{Kind, Written};
use crate::file::given::{Given, type_of};
use crate::problem::Problem;
use crate::suggest::nearest;

/// A program and its arguments; never empty.
pub(crate) struct Command;

/// What a command is given beside what it says itself.
pub(crate) struct Arguments;

/// A list of strings.
pub(crate) struct Texts {
    pub(crate) example: &'static str,
}

/// A list of exit codes.
pub(crate) struct ExitCodeList;

/// The name of an `[app.NAME]`.
pub(crate) struct AppName;

/// A table of names and values.
pub(crate) struct Env;

/// The name or the number of a user or a group.
pub(crate) struct Person;

/// A number or `"max"`.
pub(crate) struct InstanceCount {
    pub(crate) most: u32,
}

/// `"redirect"`, `"env"` or the port that the app has in its code.
pub(crate) struct PortWay;

/// Two ports with a dash between them.
pub(crate) struct PortRange;

/// Five fields, as crontab has them.
pub(crate) struct Cron;

impl Kind for Command {
    type Read = Vec<String>;

    fn read(&self, given: Given<'_>) -> Option<Vec<String>> {
        let words = match given.value.get_ref() {
            DeValue::String(text) => match shlex::split(text) {
                Some(words) => words,
                None => {
                    return given.refuse("a quote in `command` does not end", Some(COMMAND_HINT.to_owned()));
                }
            },
            _ => Texts { example: "[\"node\", \"index.js\"]" }.read(given)?,
        };
        if words.first().is_none_or(String::is_empty) {
            return given.refuse("`command` names no program", Some(COMMAND_HINT.to_owned()));
        }
        Some(words)
    }

    fn schema(&self) -> Map<String, Json> {
        let list = json!({ "type": "array", "minItems": 1, "items": { "type": "string" } });
        schema(json!({ "anyOf": [list, { "type": "string", "minLength": 1 }] }))
    }
}

impl Kind for Texts {
    type Read = Vec<String>;

    fn read(&self, given: Given<'_>) -> Option<Vec<String>> {
        let elements = given.elements("a list of strings", self.example)?;
        // All of them are read, so that each that is wrong is told.
        let texts: Vec<Option<String>> = elements.map(|element| text(element, "a string", "…")).collect();
        texts.into_iter().collect()
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "array", "items": { "type": "string" } }))
    }
}

impl Written for Texts {
    fn written(&self, value: &Vec<String>) -> Json {
        json!(value)
    }
}

impl Kind for Arguments {
    type Read = Vec<String>;

    fn read(&self, given: Given<'_>) -> Option<Vec<String>> {
        Texts { example: "[\"--verbose\"]" }.read(given)
    }

    fn schema(&self) -> Map<String, Json> {
        Texts { example: "" }.schema()
    }
}

impl Written for Arguments {
    // Variables in them may hold secrets.
    const IS_SHOWN: bool = false;

    fn written(&self, value: &Vec<String>) -> Json {
        json!(value)
    }
}

impl Kind for ExitCodeList {
    type Read = ExitCodes;

    fn read(&self, given: Given<'_>) -> Option<ExitCodes> {
        let elements = given.elements("a list of exit codes", "[0]")?;
        let code =
            |element| Count { least: 0, most: 255 }.read(element).and_then(|code| u8::try_from(code).ok());
        let codes: Vec<Option<u8>> = elements.map(code).collect();
        codes.into_iter().collect()
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 255 } }))
    }
}

impl Written for ExitCodeList {
    fn written(&self, value: &ExitCodes) -> Json {
        json!(value.iter().collect::<Vec<_>>())
    }
}

impl Kind for AppName {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        given.text("the name of an app", || quote("chat")).map(str::to_owned)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string" }))
    }
}

impl Kind for Env {
    type Read = BTreeMap<String, String>;

    fn read(&self, given: Given<'_>) -> Option<BTreeMap<String, String>> {
        let DeValue::Table(entries) = given.value.get_ref() else {
            return given.wrong_type("a table", "{ NODE_ENV = \"production\" }".to_owned());
        };
        let mut env = BTreeMap::new();
        for (name, value) in entries {
            let refuse = |message: String, hint: &str| {
                given.push(Problem::error(name.span(), message).hint(hint));
            };
            let name = name.get_ref().as_ref();
            if name.is_empty() || name.contains(['=', '\0']) {
                refuse(format!("{name:?} cannot be a name in an environment"), "a name has no `=` in it");
                continue;
            }
            if OURS.contains(&name) {
                refuse(format!("`{name}` is tidelock's to set, for each process another"), OURS_HINT);
                continue;
            }
            // An environment has nothing but text; numbers and booleans say what they mean.
            let value = match value.get_ref() {
                DeValue::String(text) if text.contains('\0') => {
                    refuse(format!("the value of `{name}` has a NUL in it"), "no environment can hold one");
                    continue;
                }
                DeValue::String(text) => text.to_string(),
                DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
                DeValue::Boolean(flag) => flag.to_string(),
                other => {
                    refuse(format!("`{name}` wants a string, not {}", type_of(other)), "put it in quotes");
                    continue;
                }
            };
            env.insert(name.to_owned(), value);
        }
        Some(env)
    }

    fn schema(&self) -> Map<String, Json> {
        schema(
            json!({ "type": "object", "additionalProperties": { "type": ["string", "integer", "boolean"] } }),
        )
    }
}

impl Written for Env {
    const IS_SHOWN: bool = false;

    fn written(&self, value: &BTreeMap<String, String>) -> Json {
        json!(value)
    }
}

impl Kind for Person {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        text(given, "a name", "www-data")
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "minLength": 1 }))
    }
}

impl Written for Person {
    fn written(&self, value: &String) -> Json {
        json!(value)
    }
}

impl Kind for InstanceCount {
    type Read = Instances;

    fn read(&self, given: Given<'_>) -> Option<Instances> {
        let (count, is_number) = match given.value.get_ref() {
            DeValue::String(text) if text == "max" => return Some(Instances::Max),
            DeValue::Integer(integer) => (i64::from_str_radix(integer.as_str(), integer.radix()).ok(), true),
            DeValue::String(text) => (text.trim().parse().ok(), given.set_by_environment().is_some()),
            _ => (None, false),
        };
        let fitting = count
            .and_then(|count| NonZeroU32::new(u32::try_from(count).ok()?))
            .filter(|count| count.get() <= self.most);
        match (fitting, is_number) {
            (Some(count), true) => Some(Instances::Count(count)),
            (Some(count), false) => given.wrong_type(COUNT_WANTED, count.to_string()),
            // PM2's 0 is one for each core, and its -1 one less.
            (None, _) if matches!(count, Some(..=0)) => given.refuse(
                format!("`{}` is out of range", given.name),
                Some(format!("it may be {}, which is one for each core", self.bounds())),
            ),
            (None, true) => given.out_of_range(&self.bounds()),
            (None, false) => given.wrong_type(COUNT_WANTED, "\"max\"".to_owned()),
        }
    }

    fn range(&self) -> Option<String> {
        Some(self.bounds())
    }

    fn schema(&self) -> Map<String, Json> {
        let count = json!({ "type": "integer", "minimum": 1, "maximum": self.most });
        schema(json!({ "anyOf": [{ "const": "max" }, count] }))
    }
}

impl InstanceCount {
    fn bounds(&self) -> String {
        format!("1 to {}, or \"max\"", self.most)
    }
}

impl Written for InstanceCount {
    fn written(&self, value: &Instances) -> Json {
        match value {
            Instances::Max => json!("max"),
            Instances::Count(count) => json!(count),
        }
    }
}

impl Kind for PortWay {
    type Read = Port;

    fn read(&self, given: Given<'_>) -> Option<Port> {
        let wanted = "\"redirect\", \"env\" or the port in the app's code";
        let number = |read: Result<u16, _>| match read {
            Ok(port @ 1..) => Some(Port::Redirect(Some(port))),
            Ok(_) | Err(_) => given.out_of_range("1 to 65535"),
        };
        match given.value.get_ref() {
            DeValue::Integer(integer) => number(u16::from_str_radix(integer.as_str(), integer.radix())),
            DeValue::String(text) => match text.as_ref() {
                "redirect" => Some(Port::Redirect(None)),
                "env" => Some(Port::Env),
                text if given.set_by_environment().is_some() => number(text.trim().parse()),
                text if text.trim().parse::<u16>().is_ok() => {
                    given.wrong_type(wanted, text.trim().to_owned())
                }
                text => given.refuse(
                    format!("`port` wants {wanted}"),
                    nearest(text, ["redirect", "env"]).map(|meant| format!("did you mean \"{meant}\"?")),
                ),
            },
            _ => given.wrong_type(wanted, "3000".to_owned()),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        let port = json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX });
        schema(json!({ "anyOf": [{ "enum": ["redirect", "env"] }, port] }))
    }
}

impl Written for PortWay {
    fn written(&self, value: &Port) -> Json {
        match value {
            Port::Redirect(None) => json!("redirect"),
            Port::Redirect(Some(port)) => json!(port),
            Port::Env => json!("env"),
        }
    }
}

impl Kind for PortRange {
    type Read = RangeInclusive<u16>;

    fn read(&self, given: Given<'_>) -> Option<RangeInclusive<u16>> {
        let text = given.text("two ports with a dash between them", || quote("4000-4099"))?;
        let ports = text.split_once('-').and_then(|(first, last)| {
            Some(first.trim().parse::<u16>().ok()?..=last.trim().parse::<u16>().ok()?)
        });
        match ports.filter(|ports| *ports.start() > 0 && !ports.is_empty()) {
            Some(ports) => Some(ports),
            None => given.refuse(
                format!("\"{text}\" is no range of ports"),
                Some("write the first and the last: \"4000-4099\"".to_owned()),
            ),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": "^\\s*[0-9]+\\s*-\\s*[0-9]+\\s*$" }))
    }
}

impl Written for PortRange {
    fn written(&self, value: &RangeInclusive<u16>) -> Json {
        json!(format!("{}-{}", value.start(), value.end()))
    }
}

impl Kind for Cron {
    type Read = String;

    fn read(&self, given: Given<'_>) -> Option<String> {
        let text = given.text("five fields", || quote("0 4 * * *"))?;
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let hint = || Some("\"0 4 * * *\" is every day at four, \"*/30 * * * *\" every half hour".to_owned());
        if fields.len() != CRON.len() {
            return given.refuse(format!("`cron` wants five fields, not {}", fields.len()), hint());
        }
        match fields.iter().zip(&CRON).find(|(field, (.., bounds))| !is_cron_field(field, bounds)) {
            None => Some(fields.join(" ")),
            Some((field, (name, bounds))) => given
                .refuse(format!("\"{field}\" is no {name}: {} to {}", bounds.start(), bounds.end()), hint()),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": "^\\s*\\S+(\\s+\\S+){4}\\s*$" }))
    }
}

impl Written for Cron {
    fn written(&self, value: &String) -> Json {
        json!(value)
    }
}

/// Whether it is a list of `*`, `n` or `n-m`, each with a step or without. Names of months and days are not taken.
fn is_cron_field(field: &str, bounds: &RangeInclusive<u32>) -> bool {
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| bounds.contains(number));
    field.split(',').all(|part| {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let is_step = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0));
        let is_range = match range.split_once('-') {
            Some((first, last)) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
            None => range == "*" || number(range).is_some(),
        };
        is_step && is_range
    })
}

const COUNT_WANTED: &str = "a bare number or \"max\"";
/// What every process gets from tidelock.
const OURS: [&str; 4] = ["PORT", "HOST", "NODE_APP_INSTANCE", "INSTANCE_ID"];
const OURS_HINT: &str = "leave it out; a port that the app has in its code is `port = 3000`";
const COMMAND_HINT: &str = "write `command = [\"node\", \"index.js\"]`";
const CRON: [(&str, RangeInclusive<u32>); 5] = [
    ("minute", 0..=59),
    ("hour", 0..=23),
    ("day of a month", 1..=31),
    ("month", 1..=12),
    ("day of a week", 0..=7),
];
