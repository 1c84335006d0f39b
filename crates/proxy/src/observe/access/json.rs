//! One line of the access log as a JSON object, printed straight into the worker's buffer. By hand, because it is
//! on every request's path: through serde_json it was more than a quarter of all instructions that a request took.

use std::net::IpAddr;
use std::time::Duration;

use wire::forward::print_ip;

/// An object that is being printed.
pub(super) struct JsonLine<'a> {
    out: &'a mut Vec<u8>,
    /// What stands in front of the next key.
    separator: u8,
}

impl<'a> JsonLine<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    pub(super) fn end(self) {
        self.out.push(b'}');
    }

    /// A value of our own, which JSON takes as it is.
    pub(super) fn word(&mut self, key: &str, value: &str) {
        self.key(key);
        self.out.push(b'"');
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(b'"');
    }

    /// A value that somebody else may have chosen.
    pub(super) fn text(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.out.push(b'"');
        push_json_text(value, self.out);
        self.out.push(b'"');
    }

    /// Keys and values that are printed already.
    pub(super) fn members(&mut self, printed: &[u8]) {
        self.out.push(self.separator);
        self.out.extend_from_slice(printed);
        self.separator = b',';
    }

    pub(super) fn null(&mut self, key: &str) {
        self.key(key);
        self.out.extend_from_slice(b"null");
    }

    pub(super) fn number(&mut self, key: &str, value: u64) {
        self.key(key);
        push_number(value, self.out);
    }

    /// In milliseconds, to the microsecond.
    pub(super) fn milliseconds(&mut self, key: &str, value: Duration) {
        self.key(key);
        push_number(value.as_millis() as u64, self.out);
        let micros = value.subsec_micros() % 1000;
        let digit = |divisor: u32| b'0' + (micros / divisor % 10) as u8;
        self.out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
    }

    pub(super) fn ip(&mut self, key: &str, value: IpAddr) {
        self.key(key);
        self.out.push(b'"');
        print_ip(value, self.out);
        self.out.push(b'"');
    }

    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(&[self.separator, b'"']);
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.separator = b',';
    }
}

pub(super) fn push_number(value: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// What somebody else may have chosen, between quotes that stand already.
pub(super) fn push_json_text(value: &[u8], out: &mut Vec<u8>) {
    if is_plain(value) {
        out.extend_from_slice(value);
    } else {
        print_escaped(value, out);
    }
}

/// Returns whether JSON takes all of it as it is. Looks at every byte without a branch, so that it is done in wide steps.
fn is_plain(value: &[u8]) -> bool {
    value
        .iter()
        .fold(true, |plain, &byte| plain & (b' '..0x7f).contains(&byte) & (byte != b'"') & (byte != b'\\'))
}

/// A client's bytes as text. JSON escapes the control characters of ASCII but DEL; those behind it mean as much to a terminal.
#[cold]
fn print_escaped(value: &[u8], out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(value);
    let is_hidden = |character: char| character.is_control() && character >= '\u{7f}';
    let quoted = match text.contains(is_hidden) {
        true => serde_json::to_string(&text.replace(char::is_control, "\u{fffd}")),
        false => serde_json::to_string(&text),
    };
    let quoted = quoted.expect("a string, into memory");
    out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fill: impl FnOnce(&mut JsonLine<'_>), want: &str) {
        let mut out = Vec::new();
        let mut line = JsonLine::begin(&mut out);
        fill(&mut line);
        line.end();
        let got = String::from_utf8(out).unwrap();
        assert_eq!(got, want);
        serde_json::from_str::<serde_json::Value>(&got).unwrap();
    }

    #[test]
    fn values_are_json() {
        check(
            |line| {
                line.text("a", b"/x?y=z");
                line.number("b", 0);
                line.null("c");
                line.number("d", u64::MAX);
            },
            r#"{"a":"/x?y=z","b":0,"c":null,"d":18446744073709551615}"#,
        );
    }

    #[test]
    fn a_client_cannot_write_the_log() {
        check(|line| line.text("a", b"\",\"x\":1}\n\x1b[2J\\"), r#"{"a":"\",\"x\":1}\n\u001b[2J\\"}"#);
        check(|line| line.text("a", b"\xff"), "{\"a\":\"\u{fffd}\"}");
        check(|line| line.text("a", "\u{9b}2J\t".as_bytes()), "{\"a\":\"\u{fffd}2J\u{fffd}\"}");
        check(|line| line.text("a", b"a\x7f"), "{\"a\":\"a\u{fffd}\"}");
        check(|line| line.text("a", "é".as_bytes()), "{\"a\":\"é\"}");
    }

    #[test]
    fn times_are_milliseconds() {
        for (micros, want) in [(0, "0.000"), (7, "0.007"), (1_050, "1.050"), (61_000_999, "61000.999")] {
            check(
                |line| line.milliseconds("a", Duration::from_micros(micros)),
                &format!(r#"{{"a":{want}}}"#),
            );
        }
    }

    #[test]
    fn addresses_are_printed_as_they_are_written() {
        for address in ["127.0.0.1", "255.0.10.199", "2001:db8::1", "::ffff:1.2.3.4"] {
            check(|line| line.ip("a", address.parse().unwrap()), &format!(r#"{{"a":"{address}"}}"#));
        }
    }
}
