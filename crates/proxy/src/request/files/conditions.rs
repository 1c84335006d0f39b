//! What of a file a request wants: conditions first, then ranges (RFC 9110 sections 13 and 14). Pure.

use std::ops::Range;

use wire::request::RequestHead;

/// What a request says of conditions and ranges.
#[derive(Debug, Default)]
pub(super) struct Preconditions<'a> {
    pub(super) if_match: Option<&'a [u8]>,
    pub(super) if_none_match: Option<&'a [u8]>,
    pub(super) if_modified_since: Option<&'a [u8]>,
    pub(super) if_unmodified_since: Option<&'a [u8]>,
    pub(super) if_range: Option<&'a [u8]>,
    pub(super) range: Option<&'a [u8]>,
}

/// What is answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Whole,
    /// One or several, none of them empty.
    Parts(Vec<Range<u64>>),
    NotModified,
    PreconditionFailed,
    Unsatisfiable,
}

impl<'a> Preconditions<'a> {
    pub(super) fn of(head: &'a RequestHead) -> Self {
        Self {
            if_match: head.header("if-match"),
            if_none_match: head.header("if-none-match"),
            if_modified_since: head.header("if-modified-since"),
            if_unmodified_since: head.header("if-unmodified-since"),
            if_range: head.header("if-range"),
            range: head.header("range"),
        }
    }
}

/// Decides for a file of so many bytes, of that time and tag (RFC 9110 section 13.2.2).
pub(super) fn decide(asked: &Preconditions<'_>, bytes: u64, modified_s: u64, etag: &str) -> Decision {
    let is_same = |date: &[u8]| seconds(date) == Some(modified_s);
    let is_newer = |date: &[u8]| seconds(date).is_some_and(|date| modified_s > date);
    match (asked.if_match, asked.if_unmodified_since) {
        (Some(tags), _) if !holds(tags, etag, true) => return Decision::PreconditionFailed,
        (None, Some(date)) if is_newer(date) => return Decision::PreconditionFailed,
        _ => {}
    }
    match (asked.if_none_match, asked.if_modified_since) {
        (Some(tags), _) if holds(tags, etag, false) => return Decision::NotModified,
        (None, Some(date)) if seconds(date).is_some_and(|date| modified_s <= date) => {
            return Decision::NotModified;
        }
        _ => {}
    }
    let is_current = match asked.if_range {
        // A tag in quotes, or else a date.
        Some(tag) if tag.starts_with(b"\"") => tag == etag.as_bytes(),
        Some(date) => is_same(date),
        None => true,
    };
    match asked.range.filter(|_| is_current) {
        Some(range) => ranges(range, bytes),
        None => Decision::Whole,
    }
}

/// Whether a list of tags holds this one, or is a star. In the strong comparison a weak tag is never the same (RFC
/// 9110 section 8.8.3.2).
fn holds(tags: &[u8], etag: &str, strongly: bool) -> bool {
    if tags.trim_ascii() == b"*" {
        return true;
    }
    tags.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).any(|tag| match tag.strip_prefix(b"W/") {
        Some(_) if strongly => false,
        Some(tag) => tag == etag.as_bytes(),
        None => tag == etag.as_bytes(),
    })
}

/// The parts that a Range asks for. One that cannot be read is 416, as in nginx; more than the file, or too many,
/// is the whole of it.
fn ranges(range: &[u8], bytes: u64) -> Decision {
    let Some(list) = strip_unit(range) else { return Decision::Whole };
    let mut parts = Vec::new();
    for part in list.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
        let Some(dash) = part.iter().position(|&byte| byte == b'-') else { return Decision::Unsatisfiable };
        let (first, last) = (number(&part[..dash]), number(&part[dash + 1..]));
        let part = match (first, last) {
            (Some(Some(first)), Some(None)) => first..bytes,
            (Some(Some(first)), Some(Some(last))) if first <= last => {
                first..bytes.min(last.saturating_add(1))
            }
            (Some(None), Some(Some(length))) => bytes.saturating_sub(length)..bytes,
            _ => return Decision::Unsatisfiable,
        };
        if part.start < part.end {
            parts.push(part);
        }
    }
    let asked: u64 = parts.iter().map(|part| part.end - part.start).fold(0, u64::saturating_add);
    match parts.len() {
        0 => Decision::Unsatisfiable,
        1 if asked == bytes && bytes > 0 && parts[0] == (0..bytes) => Decision::Parts(parts),
        1..=PARTS_MAX if asked <= bytes => Decision::Parts(parts),
        _ => Decision::Whole,
    }
}

/// There is no unit but bytes; a range in another one is as if it were not there (RFC 9110 section 14.2).
fn strip_unit(range: &[u8]) -> Option<&[u8]> {
    let (unit, list) = range.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(list)
}

/// A number, or nothing where nothing stands; `None` if it is neither.
fn number(digits: &[u8]) -> Option<Option<u64>> {
    let digits = digits.trim_ascii();
    if digits.is_empty() {
        return Some(None);
    }
    let digits =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    // One beyond what can be counted is beyond every file.
    Some(Some(digits.parse().unwrap_or(u64::MAX)))
}

/// The seconds of a date (RFC 9110 section 5.6.7).
fn seconds(date: &[u8]) -> Option<u64> {
    let date = httpdate::parse_http_date(std::str::from_utf8(date).ok()?.trim()).ok()?;
    date.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// More parts than that are asked for to do harm.
const PARTS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"a-64\"";
    /// Sun, 06 Nov 1994 08:49:37 GMT.
    const MODIFIED_S: u64 = 784_111_777;

    fn check(asked: Preconditions<'_>, want: Decision) {
        let got = decide(&asked, 100, MODIFIED_S, ETAG);
        assert_eq!(got, want, "{asked:?}");
    }

    #[test]
    fn conditions_are_asked_in_their_order() {
        let (same, before, after): (&[u8], &[u8], &[u8]) = (
            b"Sun, 06 Nov 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:36 GMT",
            b"Sunday, 06-Nov-94 08:49:38 GMT",
        );
        let none = |tags: &'static str| Preconditions {
            if_none_match: Some(tags.as_bytes()),
            ..Preconditions::default()
        };
        for tags in ["\"a-64\"", "W/\"a-64\"", "\"x\", \"a-64\"", "*"] {
            check(none(tags), Decision::NotModified);
        }
        check(none("\"x\""), Decision::Whole);
        let since = |date| Preconditions { if_modified_since: Some(date), ..Preconditions::default() };
        check(since(same), Decision::NotModified);
        check(since(after), Decision::NotModified);
        check(since(before), Decision::Whole);
        check(since(b"yesterday"), Decision::Whole);
        // A tag says it better than a date.
        check(Preconditions { if_modified_since: Some(same), ..none("\"x\"") }, Decision::Whole);
        let matches = |tags: &'static str| Preconditions {
            if_match: Some(tags.as_bytes()),
            ..Preconditions::default()
        };
        check(matches("\"a-64\""), Decision::Whole);
        check(matches("*"), Decision::Whole);
        check(matches("W/\"a-64\""), Decision::PreconditionFailed);
        check(
            Preconditions { if_unmodified_since: Some(before), ..Preconditions::default() },
            Decision::PreconditionFailed,
        );
        check(Preconditions { if_unmodified_since: Some(same), ..Preconditions::default() }, Decision::Whole);
    }

    #[test]
    fn ranges_are_cut_to_the_file() {
        let parts =
            |parts: &[(u64, u64)]| Decision::Parts(parts.iter().map(|&(start, end)| start..end).collect());
        for (range, want) in [
            ("bytes=0-9", parts(&[(0, 10)])),
            ("bytes=90-", parts(&[(90, 100)])),
            ("bytes=-10", parts(&[(90, 100)])),
            ("bytes=-1000", parts(&[(0, 100)])),
            ("bytes=0-", parts(&[(0, 100)])),
            ("Bytes=0-1000", parts(&[(0, 100)])),
            ("bytes=0-1, 5-6", parts(&[(0, 2), (5, 7)])),
            ("bytes=0-1,200-", parts(&[(0, 2)])),
            ("bytes=100-", Decision::Unsatisfiable),
            ("bytes=99999999999999999999999-", Decision::Unsatisfiable),
            ("bytes=-0", Decision::Unsatisfiable),
            ("bytes=5-2", Decision::Unsatisfiable),
            ("bytes=a-b", Decision::Unsatisfiable),
            ("bytes=", Decision::Unsatisfiable),
            ("bytes=0-,0-", Decision::Whole),
            ("lines=0-9", Decision::Whole),
        ] {
            check(Preconditions { range: Some(range.as_bytes()), ..Preconditions::default() }, want);
        }
        let many = format!("bytes={}", (0..17).map(|at| format!("{at}-{at}")).collect::<Vec<_>>().join(","));
        check(Preconditions { range: Some(many.as_bytes()), ..Preconditions::default() }, Decision::Whole);
        let with = |if_range: &'static str| Preconditions {
            range: Some(b"bytes=0-0"),
            if_range: Some(if_range.as_bytes()),
            ..Preconditions::default()
        };
        check(with("\"a-64\""), parts(&[(0, 1)]));
        check(with("W/\"a-64\""), Decision::Whole);
        check(with("Sun, 06 Nov 1994 08:49:37 GMT"), parts(&[(0, 1)]));
        check(with("Sun, 06 Nov 1994 08:49:38 GMT"), Decision::Whole);
        assert_eq!(
            decide(&Preconditions { range: Some(b"bytes=0-"), ..Preconditions::default() }, 0, 0, ETAG),
            Decision::Unsatisfiable
        );
    }
}
