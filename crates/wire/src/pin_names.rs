//! The cookies that carry pins: what they are called, and where they stand in a Cookie line.
//!
//! Nearly every request of a browser has cookies, and most have none of ours. So a line is not taken apart: what all our names
//! begin with is searched for in it, and only what stands there is looked at.

use std::ops::Range;

use memchr::memmem::Finder;

use crate::cookie::unquoted;
use crate::request::RequestHead;
use crate::span::Span;
use crate::tag::{Key, Pin};

/// The names of the cookie that pins the clients of one upstream, one for each key; the first one is set.
#[derive(Debug)]
pub struct PinNames {
    /// What all names begin with.
    front: Finder<'static>,
    /// What stands behind it in each: the key's own name. A name that the file gives has nothing behind it.
    ends: Vec<Vec<u8>>,
}

impl PinNames {
    /// Names that begin with `front` and tell the key, so that two sites under one domain do not overwrite each other's.
    pub fn telling(front: &str, keys: &[Key]) -> Self {
        Self::with_ends(front, keys.iter().map(|key| key.name().to_vec()).collect())
    }

    /// One name under every key.
    pub fn only(name: &str) -> Self {
        Self::with_ends(name, vec![Vec::new()])
    }

    fn with_ends(front: &str, ends: Vec<Vec<u8>>) -> Self {
        Self { front: Finder::new(front).into_owned(), ends }
    }

    /// The name that is set, in two parts.
    pub fn first(&self) -> [&[u8]; 2] {
        [self.front.needle(), self.ends.first().map_or(&[], Vec::as_slice)]
    }

    /// Compared byte by byte: names of cookies have case (RFC 6265 section 5.3).
    pub fn has(&self, name: &[u8]) -> bool {
        let end = name.strip_prefix(self.front.needle());
        end.is_some_and(|end| self.ends.iter().any(|own| own == end))
    }

    /// The cookies of a request that have one of these names, or could have it under another key.
    pub fn of_request<'a>(&'a self, head: &'a RequestHead) -> impl Iterator<Item = PinCookie<'a>> {
        head.cookie_spans().flat_map(|line| self.of_line(line.of_bytes(&head.bytes), line.start as usize))
    }

    /// The same for the value of one Cookie line, which begins at `line_at` of its head.
    fn of_line<'a>(&'a self, line: &'a [u8], line_at: usize) -> impl Iterator<Item = PinCookie<'a>> {
        let mut from = 0;
        std::iter::from_fn(move || {
            // Behind the last pair nothing is long enough, and a search would cost as much as the first one.
            while line.len() - from > self.front.needle().len() {
                let start = from + self.front.find(&line[from..])?;
                let pair_end = start + memchr::memchr(b';', &line[start..]).unwrap_or(line.len() - start);
                // Past one byte at least, whatever a name is.
                from = pair_end.max(start + 1);
                if let Some(found) = self.of_pair(line, start..pair_end) {
                    return Some(PinCookie { line_at, ..found });
                }
            }
            None
        })
    }

    /// A pair that seems to begin at `pair.start`; `None` if that is in the middle of another one.
    fn of_pair<'a>(&'a self, line: &'a [u8], pair: Range<usize>) -> Option<PinCookie<'a>> {
        let is_begin = match &line[..pair.start] {
            [] | [.., b';', b' '] => true,
            before => matches!(before.trim_ascii_end(), [] | [.., b';']),
        };
        let end_at = pair.start + self.front.needle().len();
        let rest = line.get(end_at..pair.end).filter(|_| is_begin)?.trim_ascii_end();
        let end_bytes = rest.iter().position(|&byte| byte == b'=')?;
        let (end, sent) = (&rest[..end_bytes], &rest[end_bytes + 1..]);
        let value = unquoted(sent);
        let value_at = end_at + end_bytes + 1 + (sent.len() - value.len()) / 2;
        let key = self.ends.iter().position(|own| own == end);
        Some(PinCookie { key, end, value, value_at, pair, line, line_at: 0 })
    }

    /// Prints the value of a Cookie line without the pins in it; nothing if nothing else was in it.
    pub(crate) fn print_without_pins(&self, line: &[u8], out: &mut Vec<u8>) {
        let before = out.len();
        let mut from = 0;
        for cookie in self.of_line(line, 0).filter(|cookie| cookie.key.is_some()) {
            let Some((own, _)) = cookie.split() else { continue };
            let own_end = cookie.value_at + own.len();
            let taken = if own.is_empty() { cookie.alone() } else { own_end..own_end + 1 + Pin::BYTES };
            // The last of several takes the separator along that the one before it has already taken.
            out.extend_from_slice(&line[from.min(taken.start)..taken.start]);
            from = taken.end;
        }
        out.extend_from_slice(&line[from..]);
        while from > 0 && out.len() > before && matches!(out.last(), Some(b';' | b' ' | b'\t')) {
            out.pop();
        }
    }
}

/// A cookie of a request that has one of the names, or could have it under another key.
#[derive(Debug, PartialEq, Eq)]
pub struct PinCookie<'a> {
    /// The number of its name, and so of the key; `None` for another name.
    pub key: Option<usize>,
    /// What stands in its name behind that which all names begin with.
    pub end: &'a [u8],
    /// The value without quotes around it.
    pub value: &'a [u8],
    /// Where the value, and the pair, lie in the line.
    value_at: usize,
    pair: Range<usize>,
    line: &'a [u8],
    /// Where the line's value lies in its head.
    line_at: usize,
}

impl<'a> PinCookie<'a> {
    /// The node's own value and the pin, if it ends in one.
    pub fn split(&self) -> Option<(&'a [u8], Pin)> {
        Pin::split(self.value)
    }

    /// What is taken out of the head so that a node does not see the cookie at all.
    pub fn whole(&self) -> Span {
        let alone = self.alone();
        Span::new(self.line_at + alone.start, self.line_at + alone.end)
    }

    /// The pair with the separator that it does not leave behind: the one after it, or at the end the one before.
    fn alone(&self) -> Range<usize> {
        let after = self.line[self.pair.end..].trim_ascii_start();
        let after = after.strip_prefix(b";").unwrap_or(after).trim_ascii_start();
        if !after.is_empty() {
            return self.pair.start..self.line.len() - after.len();
        }
        let before = &self.line[..self.pair.start];
        let ends = |&&byte: &&u8| matches!(byte, b';' | b' ' | b'\t');
        before.len() - before.iter().rev().take_while(ends).count()..self.line.len()
    }
}

/// Which pins in a request's cookies are left out of what its node gets.
#[derive(Debug, Clone, Copy, Default)]
pub enum StripPins<'a> {
    /// None: there are none.
    #[default]
    None,
    /// One, and this is all that goes with it.
    One(Span),
    /// All in cookies of these names, which are looked for again.
    All(&'a PinNames),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeadBounds;

    fn head(lines: &str) -> RequestHead {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let bounds = HeadBounds { target_bytes_max: 100, head_bytes_max: 1000, lines_max: 20 };
        RequestHead::parse(head.as_bytes(), &bounds).unwrap()
    }

    #[test]
    fn a_node_sees_its_own_values_and_no_pin() {
        let names = PinNames::only("a");
        let cases = [
            ("a=41KtHgeeIcT5", ""),
            ("a=41KtHgeeIcT5; b=2", "b=2"),
            ("b=2; a=41KtHgeeIcT5", "b=2"),
            ("b=2;a=41KtHgeeIcT5;c=3", "b=2;c=3"),
            ("b=2; a=41KtHgeeIcT5; c=3; a=\"41KtHgeeIcT5\"", "b=2; c=3"),
            ("b=2;c; aa=41KtHgeeIcT5", "b=2;c; aa=41KtHgeeIcT5"),
            ("a; aa; a=41KtHgeeIcT5; xa=41KtHgeeIcT5", "a; aa; xa=41KtHgeeIcT5"),
            (";; a=41KtHgeeIcT5;", ""),
            ("a=dark.41KtHgeeIcT5; b=2", "a=dark; b=2"),
            ("a=\"x y.41KtHgeeIcT5\"; a=41KtHgeeIcT5", "a=\"x y\""),
            ("a=dark; b=41KtHgeeIcT5", "a=dark; b=41KtHgeeIcT5"),
            ("a=dark; ", "a=dark; "),
            ("b=\"a=41KtHgeeIcT5\"", "b=\"a=41KtHgeeIcT5\""),
        ];
        for (line, without) in cases {
            let mut out = b"Cookie: ".to_vec();
            names.print_without_pins(line.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("Cookie: {without}"), "{line}");
        }
    }

    /// Where there is one, which is nearly always, it is cut out where it was found.
    #[test]
    fn one_pin_is_taken_out_in_one_piece() {
        let names = PinNames::only("a");
        for line in [
            "a=41KtHgeeIcT5",
            "a=41KtHgeeIcT5;",
            "a=41KtHgeeIcT5; b=2",
            "b=2; a=41KtHgeeIcT5",
            "b=2;a=41KtHgeeIcT5;c=3",
            "b=2; ; a=\"41KtHgeeIcT5\" ; ",
            "; a=41KtHgeeIcT5 ;; b",
        ] {
            let mut want = Vec::new();
            names.print_without_pins(line.as_bytes(), &mut want);
            let head = head(&format!("Cookie: {line}\r\n"));
            let taken = names.of_request(&head).next().expect("there").whole();
            let value = head.cookie_spans().next().expect("there");
            let (front, back) = (value.start as usize..taken.start as usize, taken.end()..value.end());
            assert_eq!([&head.bytes[front], &head.bytes[back]].concat(), want, "{line}");
        }
    }

    #[test]
    fn names_tell_their_key() {
        let keys = [Key::new(b"new"), Key::new(b"old")];
        let names = PinNames::telling("tidelock-n-", &keys);
        let [new, old] = keys.each_ref().map(|key| String::from_utf8(key.name().to_vec()).unwrap());
        assert_eq!(names.first().concat(), format!("tidelock-n-{new}").into_bytes());
        let lines = format!(
            "Cookie: x=tidelock-n-{new}=no; tidelock-n-{old}=\"1\"\r\nCookie: tidelock-n-{new}=2 ; tidelock-n-????=3; tidelock-n-\r\n"
        );
        let head = head(&lines);
        let found: Vec<_> = names.of_request(&head).map(|found| (found.key, found.value)).collect();
        assert_eq!(found, [(Some(1), &b"1"[..]), (Some(0), b"2"), (None, b"3")]);
        assert!(names.has(format!("tidelock-n-{old}").as_bytes()));
        assert!(!names.has(b"tidelock-n-"));
    }
}
