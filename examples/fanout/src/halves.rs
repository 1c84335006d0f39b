//! Halves of surrogate pairs. A string in JavaScript may hold one, as does text that was cut off in the middle of an emoji, and
//! `JSON.stringify` writes it as `\ud83d`. Text in Rust cannot hold it, and serde_json refuses the whole message.

/// The same JSON with U+FFFD in the place of each half, if there are any.
pub(crate) fn mended(json: &[u8]) -> Option<Vec<u8>> {
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &json[at..]) {
        at += found;
        // Whatever else is escaped is one byte.
        let Some(unit) = escaped_unit(&json[at..]) else {
            at = (at + 2).min(json.len());
            continue;
        };
        let is_pair = (0xd800..0xdc00).contains(&unit)
            && escaped_unit(&json[at + UNIT..]).is_some_and(|next| (0xdc00..0xe000).contains(&next));
        if !is_pair && (0xd800..0xe000).contains(&unit) {
            out.get_or_insert_with(|| json.to_vec())[at..at + UNIT].copy_from_slice(br"\ufffd");
        }
        at += if is_pair { 2 * UNIT } else { UNIT };
    }
    out
}

/// The bytes of `\ud83d`.
const UNIT: usize = 6;

fn escaped_unit(json: &[u8]) -> Option<u32> {
    let digits = json.strip_prefix(br"\u")?.get(..4)?;
    // Signs are no digits.
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::mended;
    use proptest::prelude::{any, prop, proptest};
    use serde_json::Value as Json;

    fn check(json: &str, expected: Option<&str>) {
        let found = mended(json.as_bytes()).map(|mended| String::from_utf8(mended).unwrap());
        assert_eq!(found.as_deref(), expected, "{json}");
        let readable = expected.unwrap_or(json);
        assert!(serde_json::from_str::<Json>(readable).is_ok(), "{json}");
        assert_eq!(serde_json::from_str::<Json>(json).is_err(), expected.is_some(), "{json}");
    }

    #[test]
    fn halves_are_replaced_and_nothing_else() {
        check(r#""\ud83d""#, Some(r#""\ufffd""#));
        check(
            r#"{"\udc00a":["\ud83d\ud83d\ude00\uD83D"]}"#,
            Some(r#"{"\ufffda":["\ufffd\ud83d\ude00\ufffd"]}"#),
        );
        check(r#""\ude00\ud83d""#, Some(r#""\ufffd\ufffd""#));
        check(r#""\ud83d\n\\ud83d""#, Some(r#""\ufffd\n\\ud83d""#));
        check(r#"["\ud83d\ude00","\\ud83d","\u00e4","plain","\"\\"]"#, None);
    }

    proptest! {
        #[test]
        fn anything_is_as_long_as_before(bytes in prop::collection::vec(any::<u8>(), 0..60), text in r#"[\\ud83c0-9 "]{0,40}"#) {
            for json in [&bytes[..], text.as_bytes()] {
                if let Some(mended) = mended(json) {
                    assert_eq!(mended.len(), json.len());
                    assert!(super::mended(&mended).is_none());
                }
            }
        }
    }
}
