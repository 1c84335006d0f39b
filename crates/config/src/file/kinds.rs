//! What a key may hold, the plain ones: counts, sizes, durations, words.
//! Each kind says how it is read, how it is written and what its JSON schema is.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::declared::{Kind, Written};
use super::given::{Given, type_of};
use super::units::{DURATIONS, NotAnAmount, SIZES, Units};
use crate::suggest::nearest;

pub(crate) mod acme;
pub(crate) mod app;
pub(crate) mod auth;
pub(crate) mod choices;
pub(crate) mod compress;
pub(crate) mod headers;
pub(crate) mod hosts;
pub(crate) mod limit;
pub(crate) mod log;
pub(crate) mod mirror;
pub(crate) mod node_address;
pub(crate) mod nodes;
pub(crate) mod pages;
pub(crate) mod paths;
pub(crate) mod policy;
pub(crate) mod probe;
pub(crate) mod proxies;
pub(crate) mod ready;
pub(crate) mod redis;
pub(crate) mod route;
pub(crate) mod sample;
pub(crate) mod secrets;
pub(crate) mod split;

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

impl Kind for Count {
    type Read = u64;

    fn read(&self, given: Given<'_>) -> Option<u64> {
        let count = match (given.value.get_ref(), given.set_by_environment()) {
            (DeValue::Integer(integer), _) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            (_, Some(text)) => text.parse().ok(),
            _ => return self.refuse(given),
        };
        match count.filter(|count| (self.least..=self.most).contains(count)) {
            Some(count) => Some(count),
            None => given.out_of_range(&format!("{} to {}", self.least, self.most)),
        }
    }

    fn range(&self) -> Option<String> {
        Some(format!("{} to {}", self.least, self.most))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "integer", "minimum": self.least, "maximum": self.most }))
    }
}

impl Count {
    /// Tells that it is no bare number, with the number that was meant or those that there are.
    fn refuse(&self, given: Given<'_>) -> Option<u64> {
        let meant = match given.value.get_ref() {
            DeValue::String(text) => number_meant(text),
            _ => None,
        };
        match meant.filter(|meant| (self.least..=self.most).contains(meant)) {
            Some(meant) => given.wrong_type("a bare number", meant.to_string()),
            None => given.refuse(
                format!("`{}` wants a bare number, not {}", given.name, type_of(given.value.get_ref())),
                Some(format!("it may be {} to {}, without quotes", self.least, self.most)),
            ),
        }
    }
}

/// `"4"`, `"10k"`, `"10,000"`.
fn number_meant(text: &str) -> Option<u64> {
    let text = text.trim().replace([',', '_', ' '], "").to_lowercase();
    let (digits, thousands) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1_000),
        None => text.strip_suffix('m').map_or((&*text, 1), |digits| (digits, 1_000_000)),
    };
    digits.parse::<u64>().ok()?.checked_mul(thousands)
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
            // 0 may be an amount like any other.
            value if is_boundless(value) && given.read_quietly(&self.0).is_none() => given.refuse(
                format!("`{}` has another word for no bound", given.name),
                Some(format!("write `{} = \"{NONE}\"`", given.name)),
            ),
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

/// Whether somebody says in the words of another program that there is no bound: `false`, 0, -1, `inf` and the
/// like.
fn is_boundless(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Boolean(flag) => !flag,
        DeValue::Integer(number) => matches!(number.as_str(), "0" | "-1"),
        DeValue::Float(number) => number.as_str().ends_with("inf"),
        DeValue::String(text) => NO_BOUND.contains(&&*text.trim().to_lowercase()),
        _ => false,
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
            value => {
                let word = match value {
                    DeValue::String(text) => text.trim().to_lowercase(),
                    DeValue::Integer(number) => number.as_str().to_owned(),
                    _ => String::new(),
                };
                match given.set_by_environment().and_then(|_| word.parse().ok()) {
                    Some(flag) => Some(flag),
                    None => {
                        let is_no = ["false", "no", "off", "0", "disabled", "none", "n"].contains(&&*word);
                        given.wrong_type("`true` or `false`", (!is_no).to_string())
                    }
                }
            }
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

impl Written for Name {
    fn written(&self, value: &String) -> Json {
        json!(value)
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

/// A string with something in it.
pub(crate) fn text(given: Given<'_>, wanted: &str, example: &str) -> Option<String> {
    let text = given.text(wanted, || quote(example))?;
    if text.contains('\0') {
        return given.refuse(format!("`{}` has a NUL in it", given.name), None);
    }
    // An empty argument is one; an empty path or name is none.
    if text.is_empty() && wanted != "a string" {
        return given.refuse(format!("`{}` is empty", given.name), None);
    }
    Some(text.to_owned())
}

fn amount(given: Given<'_>, units: &Units, bounds: RangeInclusive<u64>) -> Option<u64> {
    let (text, is_bare) = match given.value.get_ref() {
        DeValue::String(text) => (text.trim(), false),
        DeValue::Integer(number) => (number.as_str(), true),
        DeValue::Float(number) => (number.as_str(), true),
        _ => return given.wrong_type(&format!("{} in quotes", units.of), quote(&units.write(*bounds.end()))),
    };
    let read = if is_bare { Err(NotAnAmount::Bare) } else { units.read(text) };
    match read {
        Ok(amount) if bounds.contains(&amount) => Some(amount),
        Ok(_) | Err(NotAnAmount::TooMuch) => given.out_of_range(&range(units, &bounds)),
        Err(NotAnAmount::Bare) => given.refuse(
            format!("`{}` wants {} with its unit", given.name, units.of),
            Some(bare_hint(given.name, units, text, &bounds)),
        ),
        Err(NotAnAmount::Unreadable) => {
            let hint = match units.meant(text) {
                Some(meant) if bounds.contains(&meant) => {
                    format!("write `{} = \"{}\"`", given.name, units.write(meant))
                }
                Some(meant) => {
                    format!("that is \"{}\", and it may be {}", units.write(meant), range(units, &bounds))
                }
                None => format!("units are {}, as in \"{}\"", units.names(), units.write(*bounds.end())),
            };
            given.refuse(
                format!("`{}` wants {}, a whole number and its unit", given.name, units.of),
                Some(hint),
            )
        }
    }
}

/// What to write for a number without a unit; a fraction is one of the unit that is meant most.
fn bare_hint(name: &str, units: &Units, number: &str, bounds: &RangeInclusive<u64>) -> String {
    let fraction = number.contains('.').then(|| units.meant(&format!("{number}s"))).flatten();
    if let Some(meant) = fraction.filter(|meant| bounds.contains(meant)) {
        return format!("write `{name} = \"{}\"`", units.write(meant));
    }
    match &units.guess(number, bounds)[..] {
        [likely, other, ..] => format!("write `{name} = \"{likely}\"`, or \"{other}\" if that is meant"),
        guesses => format!("write `{name} = \"{}\"`", guesses.concat()),
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
/// What other programs say in its place.
const NO_BOUND: [&str; 13] = [
    "0",
    "-1",
    "off",
    "no",
    "never",
    "false",
    "null",
    "unlimited",
    "infinity",
    "infinite",
    "inf",
    "disabled",
    "\u{221e}",
];
