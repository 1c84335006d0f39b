//! Reads YAML as js-yaml does for PM2: one document, with anchors and merged mappings. What a file can grow to by its
//! aliases is bounded.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

/// What `text` holds; `Err` is why nothing, in words.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let mut composer = Composer { parser: Parser::new_from_str(text), anchors: HashMap::new(), values: 0 };
    let mut value = None;
    while let Some(event) = composer.next()? {
        match event {
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::Nothing => {}
            _ if value.is_some() => return Err("there are several documents in it".to_owned()),
            event => value = Some(composer.value(event, 0)?),
        }
    }
    Ok(value.unwrap_or(Value::Null))
}

struct Composer<'t> {
    parser: Parser<'t, saphyr_parser::StrInput<'t>>,
    anchors: HashMap<usize, Value>,
    values: usize,
}

impl<'t> Composer<'t> {
    fn next(&mut self) -> Result<Option<Event<'t>>, String> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok((event, _))) => Ok(Some(event)),
            Some(Err(error)) => Err(format!("it is not YAML: {error}")),
        }
    }

    fn inner(&mut self) -> Result<Event<'t>, String> {
        self.next()?.ok_or_else(|| "it ends too early".to_owned())
    }

    fn count(&mut self, more: usize) -> Result<(), String> {
        self.values = self.values.saturating_add(more);
        if self.values > VALUES_MAX { Err("there is too much in it".to_owned()) } else { Ok(()) }
    }

    fn value(&mut self, event: Event<'t>, depth: usize) -> Result<Value, String> {
        if depth > DEPTH_MAX {
            return Err("it is nested too deeply".to_owned());
        }
        self.count(1)?;
        let (value, anchor) = match event {
            Event::Scalar(text, ScalarStyle::Plain, anchor, tag) => match tag {
                Some(tag) if tag.suffix == "str" => (Value::from(text.into_owned()), anchor),
                _ => (plain(&text), anchor),
            },
            Event::Scalar(text, _, anchor, _) => (Value::from(text.into_owned()), anchor),
            Event::Alias(anchor) => {
                let value = self.anchors.get(&anchor).cloned().ok_or("an alias in it has no anchor")?;
                self.count(size(&value))?;
                (value, 0)
            }
            Event::SequenceStart(anchor, _) => (self.sequence(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            _ => return Err("it is not YAML".to_owned()),
        };
        if anchor != 0 {
            self.count(size(&value))?;
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, depth: usize) -> Result<Value, String> {
        let mut elements = Vec::new();
        loop {
            match self.inner()? {
                Event::SequenceEnd => return Ok(Value::Array(elements)),
                event => elements.push(self.value(event, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Value, String> {
        let (mut members, mut merged) = (Map::new(), Vec::new());
        loop {
            let key = match self.inner()? {
                Event::MappingEnd => break,
                event => self.value(event, depth + 1)?,
            };
            let event = self.inner()?;
            let value = self.value(event, depth + 1)?;
            match key {
                Value::String(key) if key == "<<" => merged.push(value),
                Value::String(key) => drop(members.insert(key, value)),
                Value::Number(_) | Value::Bool(_) => drop(members.insert(key.to_string(), value)),
                _ => return Err("a key in it is no word".to_owned()),
            }
        }
        for value in merged {
            let all = if let Value::Array(all) = value { all } else { vec![value] };
            for (key, value) in all
                .into_iter()
                .filter_map(|one| if let Value::Object(one) = one { Some(one) } else { None })
                .flatten()
            {
                members.entry(key).or_insert(value);
            }
        }
        Ok(Value::Object(members))
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(size).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

/// By the core schema, which js-yaml follows: `yes` and `on` are words.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix('+').unwrap_or(text);
    let is_number =
        digits.strip_prefix('-').unwrap_or(digits).starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let number = match digits.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).ok().map(Number::from),
        None => {
            let whole = digits.parse::<i64>().ok().map(Number::from);
            whole.or_else(|| Number::from_f64(digits.parse().ok()?)).filter(|_| is_number)
        }
    };
    number.map_or_else(|| Value::from(text), Value::Number)
}

const DEPTH_MAX: usize = 64;
/// A thousand apps of a hundred keys.
const VALUES_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_ecosystem_is_read() {
        let text = "# mine\napps:\n  - &one\n    name: chat\n    script: ./index.js\n    instances: 4\n    watch: no\n    env:\n      PORT: \"3000\"\n      DEPTH: 0x10\n  - <<: *one\n    name: mails\n    time: true\n    args: [a, 'b c', 1.5, ~]\n";
        let apps = json!([
            { "name": "chat", "script": "./index.js", "instances": 4, "watch": "no", "env": { "PORT": "3000", "DEPTH": 16 } },
            { "name": "mails", "script": "./index.js", "instances": 4, "watch": "no", "env": { "PORT": "3000", "DEPTH": 16 },
              "time": true, "args": ["a", "b c", 1.5, null] },
        ]);
        assert_eq!(read(text), Ok(json!({ "apps": apps })));
    }

    #[test]
    fn hostile_text_ends_in_an_error() {
        let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}, ", level - 1).repeat(10);
            laughs += &format!("a{level}: &a{level} [{before}]\n");
        }
        let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
        for text in [
            laughs,
            deep,
            "a: *b".into(),
            "a: &a [*a]".into(),
            "\t- :\n\t".into(),
            "--- a\n--- b".into(),
            "[a".into(),
        ] {
            assert!(read(&text).is_err(), "{text:.60}");
        }
    }
}
