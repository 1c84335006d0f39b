//! Reads a JavaScript literal: JSON as people write it, with comments, commas at the end, names without quotes; also behind
//! `module.exports =` and the like. What would have to be run to be known is refused as such. Runs nothing.

use serde_json::{Map, Number, Value};

/// Why there is no value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NoLiteral {
    /// From 1.
    pub(super) line: usize,
    pub(super) what: &'static str,
}

/// What `text` holds. A file that exports `apps` by name gives an object that has them.
pub(super) fn read(text: &str) -> Result<Value, NoLiteral> {
    let mut reader = Reader { text, at: 0, depth: 0 };
    let exports = reader.exports()?;
    let value = reader.value()?;
    reader.blanks()?;
    reader.take(";");
    reader.blanks()?;
    match reader.rest().is_empty() {
        true => Ok(match exports {
            Exports::Whole => value,
            Exports::Apps => Value::Object(Map::from_iter([("apps".to_owned(), value)])),
        }),
        false => Err(reader.wrong(EXPRESSION)),
    }
}

enum Exports {
    Whole,
    Apps,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, word: &str) -> bool {
        let is_there = self.rest().starts_with(word);
        self.at += if is_there { word.len() } else { 0 };
        is_there
    }

    /// Takes a word of letters that is followed by none.
    fn take_word(&mut self, word: &str) -> bool {
        let is_word = self.rest().strip_prefix(word).is_some_and(|rest| !rest.starts_with(is_in_name));
        is_word && self.take(word)
    }

    fn wrong(&self, what: &'static str) -> NoLiteral {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        NoLiteral { line: before.bytes().filter(|&byte| byte == b'\n').count() + 1, what }
    }

    /// Blanks and comments.
    fn blanks(&mut self) -> Result<(), NoLiteral> {
        loop {
            let rest = self.rest();
            let blank =
                rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').len();
            self.at += blank;
            let rest = self.rest();
            if rest.starts_with("//") || (self.at == 0 && rest.starts_with("#!")) {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let end = rest.find("*/").ok_or_else(|| self.wrong("a comment does not end"))?;
                self.at += end + 2;
            } else if blank == 0 {
                return Ok(());
            }
        }
    }

    /// What stands before the value.
    fn exports(&mut self) -> Result<Exports, NoLiteral> {
        self.blanks()?;
        if self.take("\"use strict\"") || self.take("'use strict'") {
            self.blanks()?;
            self.take(";");
            self.blanks()?;
        }
        let began = self.at;
        for (words, exports) in [
            (&["export", "default"][..], Exports::Whole),
            (&["module", ".", "exports", ".", "apps", "="], Exports::Apps),
            (&["module", ".", "exports", "="], Exports::Whole),
            (&["exports", ".", "apps", "="], Exports::Apps),
            (&["export", "const", "apps", "="], Exports::Apps),
        ] {
            self.at = began;
            let mut is_it = true;
            for word in words {
                is_it = is_it
                    && if word.starts_with(is_in_name) { self.take_word(word) } else { self.take(word) };
                self.blanks()?;
            }
            if is_it {
                return Ok(exports);
            }
        }
        self.at = began;
        Ok(Exports::Whole)
    }

    fn value(&mut self) -> Result<Value, NoLiteral> {
        self.blanks()?;
        if self.depth >= DEPTH_MAX {
            return Err(self.wrong("it is nested too deeply"));
        }
        self.depth += 1;
        let value = match self.peek() {
            Some('{') => self.object(),
            Some('[') => self.array(),
            Some('"' | '\'' | '`') => self.string().map(Value::from),
            Some('(') => self.in_parentheses(),
            Some('-' | '+' | '.' | '0'..='9') => self.number(),
            _ => self.word(),
        };
        self.depth -= 1;
        value
    }

    fn word(&mut self) -> Result<Value, NoLiteral> {
        for (word, value) in [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::Null),
            ("undefined", Value::Null),
        ] {
            if self.take_word(word) {
                return Ok(value);
            }
        }
        Err(self.wrong(if self.rest().is_empty() { "it ends too early" } else { EXPRESSION }))
    }

    fn in_parentheses(&mut self) -> Result<Value, NoLiteral> {
        self.take("(");
        let value = self.value()?;
        self.blanks()?;
        if self.take(")") { Ok(value) } else { Err(self.wrong(EXPRESSION)) }
    }

    fn object(&mut self) -> Result<Value, NoLiteral> {
        self.take("{");
        let mut members = Map::new();
        loop {
            self.blanks()?;
            if self.take("}") {
                return Ok(Value::Object(members));
            }
            let name = self.name()?;
            self.blanks()?;
            if !self.take(":") {
                return Err(self.wrong(EXPRESSION));
            }
            let value = self.value()?;
            members.insert(name, value);
            self.comma('}')?;
        }
    }

    fn array(&mut self) -> Result<Value, NoLiteral> {
        self.take("[");
        let mut elements = Vec::new();
        loop {
            self.blanks()?;
            if self.take("]") {
                return Ok(Value::Array(elements));
            }
            elements.push(self.value()?);
            self.comma(']')?;
        }
    }

    fn comma(&mut self, end: char) -> Result<(), NoLiteral> {
        self.blanks()?;
        let is_right = self.take(",") || self.peek() == Some(end);
        if is_right { Ok(()) } else { Err(self.wrong(EXPRESSION)) }
    }

    fn name(&mut self) -> Result<String, NoLiteral> {
        if matches!(self.peek(), Some('"' | '\'')) {
            return self.string();
        }
        let rest = self.rest();
        let length = rest.find(|c| !is_in_name(c)).unwrap_or(rest.len());
        let name = rest[..length].to_owned();
        self.at += length;
        if name.is_empty() { Err(self.wrong(EXPRESSION)) } else { Ok(name) }
    }

    fn string(&mut self) -> Result<String, NoLiteral> {
        let began = self.at;
        let text = self.text;
        let mut rest = text.get(self.at..).unwrap_or_default().chars();
        let quote = rest.next();
        let mut string = String::new();
        while let Some(character) = rest.next() {
            match character {
                _ if Some(character) == quote => {
                    self.at = text.len() - rest.as_str().len();
                    return Ok(string);
                }
                '$' if quote == Some('`') && rest.as_str().starts_with('{') => {
                    return Err(self.wrong(EXPRESSION));
                }
                '\n' if quote != Some('`') => break,
                '\\' => match escaped(&mut rest) {
                    Some(more) => string.extend(more),
                    None => return Err(self.wrong("an escape in a string is none")),
                },
                other => string.push(other),
            }
        }
        self.at = began;
        Err(self.wrong("a string does not end"))
    }

    fn number(&mut self) -> Result<Value, NoLiteral> {
        let rest = self.rest();
        let length =
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "+-._".contains(c))).unwrap_or(rest.len());
        let text = rest[..length].replace('_', "");
        let digits = text.trim_start_matches('+');
        let number = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) => i64::from_str_radix(hex, 16).ok().map(Number::from),
            None => digits.parse::<i64>().map(Number::from).ok().or_else(|| {
                let float = digits.parse::<f64>().ok()?;
                // JavaScript has one kind of number: 1e3 is 1000.
                let whole = serde_json::from_str::<Number>(&format!("{float:.0}")).ok();
                whole
                    .filter(|_| float.fract() == 0.0 && float.abs() < 9e15)
                    .or_else(|| Number::from_f64(float))
            }),
        };
        let Some(number) = number else { return Err(self.wrong(EXPRESSION)) };
        self.at += length;
        Ok(Value::Number(number))
    }
}

/// What a backslash and what follows it stand for; nothing for the end of a line.
fn escaped(rest: &mut std::str::Chars<'_>) -> Option<Option<char>> {
    Some(Some(match rest.next()? {
        '\n' => return Some(None),
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'v' => '\u{b}',
        '0' => '\0',
        'x' => hex(rest, 2)?,
        'u' if rest.as_str().starts_with('{') => {
            let (digits, behind) = rest.as_str()[1..].split_once('}')?;
            let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
            *rest = behind.chars();
            character
        }
        'u' => hex(rest, 4)?,
        other => other,
    }))
}

/// Half of a pair stands for nothing.
fn hex(rest: &mut std::str::Chars<'_>, count: usize) -> Option<char> {
    let digits = rest.as_str().get(..count)?;
    let code = u32::from_str_radix(digits, 16).ok()?;
    *rest = rest.as_str()[count..].chars();
    Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
}

fn is_in_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_' || character == '$'
}

const EXPRESSION: &str = "there is an expression";
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn literals_are_read_as_javascript_reads_them() {
        for (text, value) in [
            (r#"{ "a": [1, -2.5, true, null] }"#, json!({ "a": [1, -2.5, true, null] })),
            (
                "\u{feff}// b\n{ /* c */ a: 'it\\'s', b: \"x\\u0041\\n\", }",
                json!({ "a": "it's", "b": "xA\n" }),
            ),
            (
                "'use strict';\nmodule.exports = { apps : [{ n: 0x10, m: 1e3, o: 1_000 }] };",
                json!({ "apps": [{ "n": 16, "m": 1000, "o": 1000 }] }),
            ),
            ("export default { apps: [] }", json!({ "apps": [] })),
            ("export const apps = [{}];\n", json!({ "apps": [{}] })),
            ("module.exports.apps = [`a b`,]", json!({ "apps": ["a b"] })),
            ("({ a: undefined })", json!({ "a": null })),
        ] {
            assert_eq!(read(text), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_has_to_be_run_is_refused_with_its_line() {
        for (text, line) in [
            ("module.exports = {\n  a: process.env.A,\n}", 2),
            ("const os = require('os')\nmodule.exports = {}", 1),
            ("{ a: `${b}` }", 1),
            ("{ a: 1024 * 1024 }", 1),
            ("{\n\n ...b }", 3),
            ("{ a() {} }", 1),
            ("{ a", 1),
            ("", 1),
            ("{} {}", 1),
        ] {
            assert_eq!(read(text).expect_err(text).line, line, "{text}");
        }
    }

    #[test]
    fn hostile_text_ends_in_an_error() {
        for text in [
            "[".repeat(1 << 20),
            "{a:".repeat(1 << 18),
            "(".repeat(1 << 20),
            "/*".into(),
            "'\\".into(),
            "'\\u{".into(),
            "'\\u12é'".into(),
            "-".into(),
            "0x".into(),
        ] {
            assert!(read(&text).is_err());
        }
    }
}
