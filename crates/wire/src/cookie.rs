//! Cookies, as far as a proxy reads them: in a request (RFC 6265 section 5.4) the value of one, and the line without it;
//! in an answer (section 4.1) for how long a cookie is set, and for whom. Names and values are compared as they are sent.

use crate::request::RequestHead;
use crate::tag::Pin;

/// The value of the first cookie with this name.
pub fn find<'a>(head: &'a RequestHead, name: &[u8]) -> Option<&'a [u8]> {
    lines(head).flat_map(pairs).find_map(|pair| value_of(pair, name))
}

/// A Set-Cookie line's value with `pin` behind the cookie's own.
pub(crate) fn print_with_pin(line: &[u8], pin: &Pin, out: &mut Vec<u8>) {
    let pair_end = memchr::memchr(b';', line).unwrap_or(line.len());
    let pair = line[..pair_end].trim_ascii_end();
    let (front, quote) = match pair.strip_suffix(b"\"") {
        Some(front) => (front, &b"\""[..]),
        None => (pair, &b""[..]),
    };
    for part in [front, &[Pin::MARK], pin.as_bytes(), quote, &line[pair_end..]] {
        out.extend_from_slice(part);
    }
}

/// The values of the Cookie lines: one, says the RFC; any number, says HTTP/2 to whoever stands in front of us.
fn lines(head: &RequestHead) -> impl Iterator<Item = &[u8]> {
    head.cookies()
}

fn pairs(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    Parts(Some(value)).map(<[u8]>::trim_ascii)
}

/// What stands between the semicolons. The values of cookies are long: byte by byte it took most of the time that a pin costs.
struct Parts<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.take()?;
        let Some(end) = memchr::memchr(b';', rest) else { return Some(rest) };
        self.0 = Some(&rest[end + 1..]);
        Some(&rest[..end])
    }
}

fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    Some(unquoted(pair.strip_prefix(name)?.strip_prefix(b"=")?))
}

/// Quotes are allowed around a value and are no part of it.
pub(crate) fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// One Set-Cookie line, read as browsers read it (RFC 6265 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SetCookie<'a> {
    /// The name, which is a token; compared with its case.
    pub name: &'a [u8],
    /// The value as it was sent, without the quotes around it.
    pub value: &'a [u8],
    /// By Max-Age, or else by Expires.
    pub lifetime: Lifetime<'a>,
    /// For which hosts, without the dot in front; `None` for the one that was asked alone.
    pub domain: Option<&'a [u8]>,
    /// For which paths; `None` for the folder of the one that was asked.
    pub path: Option<&'a [u8]>,
    /// Over HTTPS alone.
    pub is_secure: bool,
    /// Hidden from scripts.
    pub is_http_only: bool,
    /// Kept apart for each site that embeds the page.
    pub is_partitioned: bool,
    /// With which requests of other sites it goes.
    pub same_site: SameSite,
}

/// Where the value of Path begins in a Set-Cookie line, if it has one.
pub(crate) fn path_at(line: &[u8]) -> Option<usize> {
    let mut at = line.iter().position(|&byte| byte == b';')?;
    loop {
        let part = line[at + 1..].split(|&byte| byte == b';').next()?;
        let blanks = part.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let value = part[blanks..].get(..5).filter(|name| name.eq_ignore_ascii_case(b"path="));
        if value.is_some() {
            return Some(at + 1 + blanks + 5);
        }
        at += 1 + part.len();
        line.get(at)?;
    }
}

/// How long a cookie lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime<'a> {
    /// As long as the browser does.
    Session,
    /// Max-Age, in seconds; 0 or less deletes the cookie.
    Seconds(i64),
    /// Until a date, as it is written.
    Until(&'a [u8]),
}

/// With which requests of other sites a cookie goes, the strictest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SameSite {
    /// No request that another site causes carries it.
    Strict,
    /// Links that are followed; what browsers take for granted where nothing is said.
    Lax,
    /// Every request carries it, whichever site causes the request.
    None,
}

impl<'a> SetCookie<'a> {
    /// Reads the value of a Set-Cookie line as browsers do (RFC 6265 section 5.2): what is not understood is passed over.
    /// `None` if it has no name.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let first = Parts(Some(line)).next()?;
        let name_end = first.iter().position(|&byte| byte == b'=')?;
        let mut cookie = Self {
            name: first[..name_end].trim_ascii(),
            value: unquoted(first[name_end + 1..].trim_ascii()),
            lifetime: Lifetime::Session,
            domain: None,
            path: None,
            is_secure: false,
            is_http_only: false,
            is_partitioned: false,
            same_site: SameSite::Lax,
        };
        // Attributes are short: a search would cost more than it finds.
        let mut rest = &line[first.len()..];
        while let [_, part @ ..] = rest {
            let key_end = part.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(part.len());
            let (key, after) = part.split_at(key_end);
            let value_end = match after {
                [b'=', ..] => after.iter().position(|&byte| byte == b';').unwrap_or(after.len()),
                _ => 0,
            };
            cookie.note(key.trim_ascii(), after[value_end.min(1)..value_end].trim_ascii());
            rest = &after[value_end..];
        }
        (!cookie.name.is_empty()).then_some(cookie)
    }

    fn note(&mut self, key: &[u8], value: &'a [u8]) {
        let is = |known: &str| key.eq_ignore_ascii_case(known.as_bytes());
        let says = |known: &str| value.eq_ignore_ascii_case(known.as_bytes());
        match key.len() {
            6 if is("secure") => self.is_secure = true,
            8 if is("httponly") => self.is_http_only = true,
            11 if is("partitioned") => self.is_partitioned = true,
            4 if is("path") => self.path = Some(value).filter(|path| path.starts_with(b"/")),
            6 if is("domain") => {
                let domain = value.strip_prefix(b".").unwrap_or(value);
                self.domain = Some(domain).filter(|domain| !domain.is_empty());
            }
            7 if is("max-age") => {
                if let Some(seconds) = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
                    self.lifetime = Lifetime::Seconds(seconds);
                }
            }
            // Max-Age says it better, in whichever order they come.
            7 if is("expires") && !matches!(self.lifetime, Lifetime::Seconds(_)) => {
                self.lifetime = Lifetime::Until(value);
            }
            8 if is("samesite") && says("none") => self.same_site = SameSite::None,
            8 if is("samesite") && says("strict") => self.same_site = SameSite::Strict,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HeadBounds;

    #[test]
    fn the_path_of_a_cookie_is_found() {
        for (line, want) in [
            ("a=b; Path=/x", Some("/x")),
            ("a=b;path=/", Some("/")),
            ("a=b; HttpOnly; PATH=/y; Secure", Some("/y; Secure")),
            ("a=path=/; Secure", None),
            ("a=b", None),
            ("a=b;", None),
        ] {
            let got = path_at(line.as_bytes()).map(|at| &line[at..]);
            assert_eq!(got, want, "{line}");
        }
    }

    #[test]
    fn a_line_is_taken_apart_at_its_semicolons() {
        for line in ["", ";", "a", "a;", ";a", "a;b", " a ; ;b;;", "a=1; b=\"x;y\"; c"] {
            let slow: Vec<_> = line.as_bytes().split(|&byte| byte == b';').collect();
            assert_eq!(Parts(Some(line.as_bytes())).collect::<Vec<_>>(), slow, "{line}");
        }
    }

    fn head(lines: &str) -> RequestHead {
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let bounds = HeadBounds { target_bytes_max: 100, head_bytes_max: 1000, lines_max: 20 };
        RequestHead::parse(head.as_bytes(), &bounds).unwrap()
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let cases = [
            ("Cookie: a=1\r\n", Some("1")),
            ("Cookie: b=2; a=1; a=3\r\n", Some("1")),
            ("cookie: b=2;a=1\r\n", Some("1")),
            ("Cookie: a=\"1\"\r\n", Some("1")),
            ("Cookie: b=2\r\nCookie: a=1\r\n", Some("1")),
            ("Cookie: a=\r\n", Some("")),
            ("Cookie: a=x=y\r\n", Some("x=y")),
            ("Cookie: A=1; aa=2; xa=3; a\r\n", None),
            ("Cookie: b=\"a=1\"\r\n", None),
            ("X: a=1\r\n", None),
            ("Cookie: \r\n", None),
        ];
        for (lines, value) in cases {
            assert_eq!(find(&head(lines), b"a"), value.map(str::as_bytes), "{lines}");
        }
    }

    #[test]
    fn a_pin_goes_behind_a_nodes_value() {
        let (_, pin) = Pin::split(b"41KtHgeeIcT5").unwrap();
        for (line, with) in [
            ("a=dark", "a=dark.41KtHgeeIcT5"),
            ("a=dark ; Path=/", "a=dark.41KtHgeeIcT5; Path=/"),
            ("a=\"x y\"; Path=/; X=\"\"", "a=\"x y.41KtHgeeIcT5\"; Path=/; X=\"\""),
        ] {
            let mut out = Vec::new();
            print_with_pin(line.as_bytes(), &pin, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), with);
        }
    }

    #[test]
    fn what_an_answer_sets() {
        let read = |line: &'static str| SetCookie::read(line.as_bytes());
        let plain = SetCookie {
            name: b"sid",
            value: b"x=y",
            lifetime: Lifetime::Session,
            domain: None,
            path: None,
            is_secure: false,
            is_http_only: false,
            is_partitioned: false,
            same_site: SameSite::Lax,
        };
        assert_eq!(read("sid=x=y"), Some(plain));
        assert_eq!(read(" sid = \"x=y\" ;"), Some(plain));
        let all = SetCookie {
            lifetime: Lifetime::Seconds(60),
            domain: Some(b"example.com"),
            path: Some(b"/"),
            is_secure: true,
            is_http_only: true,
            is_partitioned: true,
            same_site: SameSite::None,
            ..plain
        };
        let written = "sid=x=y; Path=/; expires=Wed, 21 Oct 2026 07:28:00 GMT; MAX-AGE=60; Domain=.example.com; Secure; \
                       HttpOnly;SameSite=none; Partitioned; Priority=High";
        assert_eq!(read(written), Some(all));
        assert_eq!(
            read("sid=x=y; Max-Age=60; Expires=x").map(|cookie| cookie.lifetime),
            Some(Lifetime::Seconds(60))
        );
        assert_eq!(
            read("sid=x=y; Expires=x; Max-Age=y").map(|cookie| cookie.lifetime),
            Some(Lifetime::Until(b"x"))
        );
        assert_eq!(read("sid=x; SameSite=Strict").map(|cookie| cookie.same_site), Some(SameSite::Strict));
        assert_eq!((read("sid"), read("=x"), read("")), (None, None, None));
    }
}
