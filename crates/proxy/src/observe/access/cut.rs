//! What a query proves is not for the log: a session's id opens the session to whoever knows it, and a token what it is for.

use std::borrow::Cow;

/// Keys whose values are never written whole.
#[derive(Debug)]
pub(super) struct Cut {
    keys: Vec<Box<[u8]>>,
}

impl Cut {
    /// These, and that of Engine.IO, in whatever case.
    pub(super) fn of(keys: Option<&[String]>) -> Self {
        let usual = || USUAL.map(str::to_owned).to_vec();
        let mut keys = keys.map_or_else(usual, <[String]>::to_vec);
        keys.push("sid".to_owned());
        Self { keys: keys.into_iter().map(|key| key.into_bytes().into()).collect() }
    }

    /// A target, or a URL that is said in a header line.
    pub(super) fn url<'u>(&self, url: &'u [u8]) -> Cow<'u, [u8]> {
        match memchr::memchr(b'?', url) {
            Some(at) => self.from(url, at + 1),
            None => Cow::Borrowed(url),
        }
    }

    /// A query without its question mark.
    pub(super) fn query<'q>(&self, query: &'q [u8]) -> Cow<'q, [u8]> {
        self.from(query, 0)
    }

    /// The value of a key.
    pub(super) fn value<'v>(&self, key: &[u8], value: &'v [u8]) -> Cow<'v, [u8]> {
        match self.has(key) && !value.is_empty() {
            true => [shown(value), DOTS].concat().into(),
            false => Cow::Borrowed(value),
        }
    }

    /// Looks at what may be taken for a key, whoever reads it: some take semicolons for ampersands, and some pass a URL on
    /// within a query as it is. A value ends where all agree.
    fn from<'t>(&self, text: &'t [u8], start: usize) -> Cow<'t, [u8]> {
        let (mut out, mut done, mut at) = (Vec::new(), 0, start);
        while let Some(length) = text[at..].iter().position(|byte| b"=&;?".contains(byte)) {
            let end = at + length;
            if text[end] == b'=' && self.has(&text[at..end]) {
                let rest = &text[end + 1..];
                let value = &rest[..memchr::memchr2(b'&', b'#', rest).unwrap_or(rest.len())];
                if !value.is_empty() {
                    out.extend_from_slice(&text[done..=end]);
                    out.extend_from_slice(shown(value));
                    out.extend_from_slice(DOTS);
                    done = end + 1 + value.len();
                }
                at = end + 1 + value.len();
            } else {
                at = end + 1;
            }
        }
        if done == 0 {
            return Cow::Borrowed(text);
        }
        out.extend_from_slice(&text[done..]);
        out.into()
    }

    fn has(&self, key: &[u8]) -> bool {
        // Spelt otherwise it is the same to the app; and what stands in brackets makes a list of it.
        let is_plain = !key.iter().any(|byte| matches!(byte, b'%' | b'['));
        self.keys.iter().any(|ours| match is_plain {
            true => ours.eq_ignore_ascii_case(key),
            false => {
                let name =
                    decoded(key).take_while(|&byte| byte != b'[').map(|byte| byte.to_ascii_lowercase());
                name.eq(ours.iter().map(u8::to_ascii_lowercase))
            }
        })
    }
}

/// Enough to follow a session through a log, too little to join it; nothing of what is so short that it would be guessed.
fn shown(value: &[u8]) -> &[u8] {
    if value.len() < SHORT_BYTES { &[] } else { &value[..BYTES_SHOWN] }
}

/// Without its percent signs, where they spell something.
fn decoded(key: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |at: usize| char::from(*key.get(at)?).to_digit(16);
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *key.get(at)?;
        let spelt = (byte == b'%').then(|| Some(digit(at + 1)? * 16 + digit(at + 2)?)).flatten();
        at += if spelt.is_some() { 3 } else { 1 };
        Some(spelt.map_or(byte, |spelt| spelt as u8))
    })
}

const USUAL: [&str; 2] = ["token", "access_token"];
const BYTES_SHOWN: usize = 4;
const SHORT_BYTES: usize = 16;
const DOTS: &[u8] = b"...";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, want: &str) {
        let cut = Cut::of(None);
        assert_eq!(cut.url(url.as_bytes()).escape_ascii().to_string(), want, "{url}");
    }

    #[test]
    fn secrets_are_cut() {
        check("/a/sid=0123456789abcdef", "/a/sid=0123456789abcdef");
        check("/?a=b&sids=x&xsid=y&sid", "/?a=b&sids=x&xsid=y&sid");
        check("/?sid=0123456789abcdef", "/?sid=0123...");
        check("/?sid=0123456789abcdef&b=c", "/?sid=0123...&b=c");
        check("/?sid=0123456789abcde&sid=&sid=x", "/?sid=...&sid=&sid=...");
        check("/?a=b&Token=secret#f", "/?a=b&Token=...#f");
        check("/?s%69d=0123456789abcdef&access%5ftoken=x", "/?s%69d=0123...&access%5ftoken=...");
        check("/?token[]=a&token%5Bb%5D=c&token%zz=d", "/?token[]=...&token%5Bb%5D=...&token%zz=d");
        // Whoever parts at semicolons sees a key, and whoever does not sees a value that goes on.
        check("/?a=1;token=x;y&b", "/?a=1;token=...&b");
        check("/?to=/b?token=x=y", "/?to=/b?token=...");
        check("/?token", "/?token");
        check("/?=&&&=&?", "/?=&&&=&?");
    }

    #[test]
    fn keys_are_the_files_own() {
        let cut = Cut::of(Some(&["Key".to_owned()]));
        assert_eq!(&*cut.query(b"token=a&key=b&sid=c"), b"token=a&key=...&sid=...");
        assert_eq!(&*cut.value(b"KEY", b"b"), b"...");
        assert_eq!(&*cut.value(b"token", b"b"), b"b");
    }
}
