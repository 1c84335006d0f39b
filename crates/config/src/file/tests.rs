//! Holds together what is said in more than one place: the declarations in `keys` with the documents of `limits`,
//! `plan` and `configs/full.toml`.

mod answers;
mod variables;

use super::declared::{Known, Sub};
use super::keys;
use super::units::{DURATIONS, SIZES};

const FULL: &str = include_str!("../../../../configs/full.toml");
const PLAN: &str = include_str!("../plan.rs");
const CARE: &str = include_str!("../plan/care.rs");

#[test]
fn full_says_the_ranges() {
    for (name, Declared { range, .. }) in declared() {
        let key = FULL.find(&format!("\n{name} = ")).expect("full.toml says every key");
        let comment = said_above(&FULL[..key], "#");
        assert!(comment.contains(&range), "{name}: {range}\n{comment}");
    }
}

#[test]
fn the_plan_documents_the_defaults_and_ranges() {
    for (name, Declared { range, default }) in declared() {
        let field = format!("\n    pub {name}: ");
        let source = [CARE, PLAN].into_iter().find(|source| source.contains(&field)).expect("a field");
        let doc = said_above(&source[..source.find(&field).expect("a field for every key")], "///");
        let said = doc.split_once("(default ").and_then(|(_, rest)| rest.split([')', ';']).next());
        let said: Vec<String> =
            said.expect("a default").split(", ").flat_map(|part| part.split(" to ")).map(plain).collect();
        let (least, most) = range.split_once(" to ").expect("a range");
        assert_eq!(said, [plain(&default), plain(least), plain(most)], "{name}");
    }
}

struct Declared {
    range: String,
    default: String,
}

/// Every key that is declared in more than one place and bounds something, with its range and default as the schema says them.
fn declared() -> impl Iterator<Item = (&'static str, Declared)> {
    let tables: [&'static Sub; 2] = [&keys::DRAIN, &keys::care::HEALTH];
    let crowds: [&'static dyn Known; 6] = [
        &keys::care::TRY_TIMEOUT,
        &keys::care::RETRY_PERCENT,
        &keys::care::HANDSHAKE_RATE,
        &keys::care::HANDSHAKE_WAIT,
        &keys::care::FULL_WAIT,
        &keys::care::DOWN_WAIT,
    ];
    // What a probe asks has no range.
    let is_bounded = |key: &&'static dyn Known| !["probe", "path", "status"].contains(&key.name());
    let in_tables = tables.into_iter().flat_map(|table| table.section.keys.iter().copied());
    in_tables.chain(crowds).filter(is_bounded).filter_map(|key| {
        let schema = key.schema();
        let description = schema["description"].as_str().expect("a description");
        let (before, default) = description.rsplit_once(". Default: ")?;
        let (_, range) = before.rsplit_once(". ").expect("a range");
        let default = default.trim_end_matches('.').trim_matches('"');
        Some((key.name(), Declared { range: range.to_owned(), default: default.to_owned() }))
    })
}

/// The comment at the end of a text, on one line.
fn said_above(text: &str, mark: &str) -> String {
    let mut lines: Vec<&str> =
        text.lines().rev().map_while(|line| line.trim_start().strip_prefix(mark)).collect();
    lines.reverse();
    lines.join("").replace('\n', " ")
}

/// An amount as a bare number, however it is spelt.
fn plain(amount: &str) -> String {
    let text = amount.replace([' ', ','], "").replace("min", "m").replace("days", "d");
    DURATIONS.read(&text).or_else(|_| SIZES.read(&text)).map_or(text, |amount| amount.to_string())
}
