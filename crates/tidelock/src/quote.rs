//! Keys and strings as TOML has them.

/// The key of a table as TOML has it: without quotes, where it can be.
pub(crate) fn key(text: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_bare) { text.to_owned() } else { quoted(text) }
}

/// As TOML has it, which is as JSON has it but for one character.
pub(crate) fn quoted(text: &str) -> String {
    // What was typed is meant as it is: the shell has put variables in already.
    serde_json::Value::from(config::literal(text)).to_string().replace('\u{7f}', "\\u007f")
}
