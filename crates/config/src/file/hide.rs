//! What reports show of a file: its text without the secrets in it. A report goes to terminals, logs and whoever asked for a
//! reload. Every span still fits.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kinds::secrets::SECRET_FILE;

/// `text` with stars in the place of each value whose key says that it is a secret, wherever it stands. What is in another
/// file or in the environment is only named here, and stays.
pub(crate) fn without_secrets(text: &str, table: &DeTable<'_>) -> String {
    let mut spans = Vec::new();
    in_table(table, &mut spans);
    // What cannot be parsed is in no table, or in the wrong one.
    in_lines(text, &mut spans);
    let mut shown = text.as_bytes().to_vec();
    for span in spans {
        for byte in shown.get_mut(span).unwrap_or_default() {
            if *byte != b'\n' {
                *byte = b'*';
            }
        }
    }
    // Only whole characters were replaced, by as many bytes of ASCII.
    String::from_utf8(shown).unwrap_or_default()
}

/// Whether a value under this key is not to be shown, judged by a word in the key's name: so keys of apps'
/// environments are covered, too.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_WORDS.iter().any(|word| key.contains(word))
}

fn in_table(table: &DeTable<'_>, spans: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        if is_secret(key.get_ref()) {
            strings(value, spans);
        } else {
            below(value, spans);
        }
    }
}

fn below(value: &Spanned<DeValue<'_>>, spans: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => in_table(table, spans),
        DeValue::Array(values) => values.iter().for_each(|value| below(value, spans)),
        DeValue::String(text) if has_password(text) => spans.push(value.span()),
        _ => {}
    }
}

fn strings(value: &Spanned<DeValue<'_>>, spans: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::String(text) if !is_elsewhere(text) => spans.push(value.span()),
        DeValue::Table(table) => table.values().for_each(|value| strings(value, spans)),
        DeValue::Array(values) => values.iter().for_each(|value| strings(value, spans)),
        _ => {}
    }
}

/// Whether a text only says where the secret is, and so may be shown. A variable with a default would show a
/// secret: the default.
fn is_elsewhere(text: &str) -> bool {
    let is_variable = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    text.starts_with(SECRET_FILE) || is_variable.is_some_and(|name| !name.contains(['}', ':']))
}

/// Whether a text is a URL with a password in it that does not stand elsewhere.
fn has_password(text: &str) -> bool {
    let authority =
        text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let credentials = authority.and_then(|authority| authority.rsplit_once('@'));
    let password = credentials.and_then(|(credentials, _)| credentials.split_once(':'));
    password.is_some_and(|(_, password)| !is_elsewhere(password))
}

/// The rest of each line that begins with such a key, and of those below it while a list is open, as far as it can be told
/// without understanding them.
fn in_lines(text: &str, spans: &mut Vec<Range<usize>>) {
    let mut start = 0;
    let mut is_in_list = false;
    for line in text.split_inclusive('\n') {
        let key_bytes = line.find(['=', ':']).filter(|&at| is_key(&line[..at]) && is_secret(&line[..at]));
        let value = match key_bytes {
            Some(at) => Some(at + 1),
            None => is_in_list.then_some(0),
        };
        if let Some(at) = value {
            let value = line[at..].trim();
            let bare = value.trim_matches(['"', '\'', '[', ']', ',', ' ']);
            if !bare.is_empty() && !is_elsewhere(bare) && !is_elsewhere(value.trim_matches('"')) {
                let from = start + at + line[at..].find(bare).unwrap_or_default();
                spans.push(from..from + bare.len());
            }
            is_in_list = (is_in_list || value.starts_with('[')) && !value.ends_with(']');
        }
        start += line.len();
    }
}

fn is_key(text: &str) -> bool {
    text.trim().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.\"' ".contains(&byte))
}

const SECRET_WORDS: [&str; 5] = ["secret", "password", "passwd", "token", "api_key"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        for text in [
            "sticky_secret = \"hunter2hunter2\"",
            "sticky_secret = [\"hunter2\", \"hunter2\"]",
            "sticky_secret = [\n  \"hunter2\",\n  'hunter2',\n]",
            "sticky_secret = \"\"\"\nhunter2\nhunter2\"\"\"",
            "sticky_secret = \"hunter2\"",
            "[drain]\nsticky_secret = \"hunter2\"",
            "[app.a]\nenv = { DB_PASSWORD = \"hunter2\" }",
            "[app.a.env]\nAPI_TOKEN = \"hunter2\"",
            "sticky_secret = \"${SECRET:-hunter2}\"",
            "[redis]\nurl = \"redis://:hunter2@localhost/1\"",
            // What does not parse.
            "sticky_secret = hunter2",
            "sticky_secret = \"hunter2",
            "sticky_secret: hunter2",
            "sticky_secret = [\n\"hunter2\n\"hunter2\"",
            "sticky_secret = \"h\u{e4}hunter2\"",
        ] {
            let (table, _) = DeTable::parse_recoverable(text);
            let shown = without_secrets(text, table.get_ref());
            assert_eq!(shown.len(), text.len(), "{text}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[test]
    fn what_only_says_where_it_is_stays() {
        for text in [
            "sticky_secret = \"file:/run/secrets/sticky\"",
            "sticky_secret = [\"file:new\", \"file:old\"]",
            "sticky_secret = \"${SECRET}\"",
            "workers = 2 # no secret: nothing",
            "url = \"redis://me:${PASSWORD}@localhost\"",
            "nodes = [\"http://[::1]:3000\", \"http://a@b:1/c@d\"]",
            "[log]\naccess = \"stdout\"",
        ] {
            let (table, _) = DeTable::parse_recoverable(text);
            assert_eq!(without_secrets(text, table.get_ref()), text);
        }
    }
}
