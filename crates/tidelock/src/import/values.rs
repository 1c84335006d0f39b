//! Values of PM2's, in the several ways that people write them. Pure.

use std::time::Duration;

use serde_json::Value;

use super::command::plain;

/// Whether it says nothing, as 0 does there.
pub(super) fn is_zero(value: &Value) -> bool {
    value.as_f64() == Some(0.0) || value.as_str().is_some_and(|text| text == "0" || text.is_empty())
}

/// Milliseconds, or text with a unit.
pub(super) fn millis(value: &Value) -> Option<Duration> {
    match value {
        Value::Number(millis) => millis.as_u64().map(Duration::from_millis),
        Value::String(text) => {
            text.parse().map(Duration::from_millis).ok().or_else(|| config::duration(text))
        }
        _ => None,
    }
}

/// A list, one, or a text with commas or blanks between them.
pub(super) fn exit_codes(value: &Value) -> Option<Vec<u8>> {
    let texts = match value {
        Value::Array(values) => values.iter().map(plain).collect(),
        other => plain(other).split([',', ' ']).map(str::to_owned).collect::<Vec<_>>(),
    };
    texts.iter().filter(|text| !text.is_empty()).map(|text| text.trim().parse().ok()).collect()
}

/// `300M` and bytes; PM2 means powers of 1,024.
pub(super) fn memory(value: &Value) -> Option<String> {
    let text = plain(value);
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" => 10,
        "M" | "MB" => 20,
        "G" | "GB" => 30,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(1 << shift)?;
    (1 << 20..=1 << 40)
        .contains(&bytes)
        .then(|| format!("{number}{}", ["B", "KiB", "MiB", "GiB"][shift / 10]))
}
