//! As much of a request's head as an origin needs that trusts its proxy.

use std::io;

/// What a head says.
#[derive(Debug, Default)]
pub(super) struct Head<'b> {
    pub(super) target: &'b str,
    pub(super) is_post: bool,
    pub(super) body_bytes: usize,
    pub(super) websocket_key: Option<&'b str>,
    pub(super) closes: bool,
    /// It sends for as long as it likes, in chunks.
    pub(super) is_endless: bool,
}

/// The body of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Wanted {
    Bytes(usize),
    Json(usize),
}

impl<'b> Head<'b> {
    pub(super) fn parse(bytes: &'b [u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let is_post = words.next() == Some("POST");
        let mut head = Self { is_post, target: words.next().unwrap_or_default(), ..Self::default() };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            // By length first: most lines are none of these.
            match name.len() {
                14 if name.eq_ignore_ascii_case("content-length") => {
                    head.body_bytes = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
                }
                17 if name.eq_ignore_ascii_case("transfer-encoding") => {
                    if head.target != SWALLOW {
                        return Err(io::ErrorKind::Unsupported.into());
                    }
                    head.is_endless = true;
                }
                17 if name.eq_ignore_ascii_case("sec-websocket-key") => head.websocket_key = Some(value),
                10 if name.eq_ignore_ascii_case("connection") => {
                    head.closes = value.eq_ignore_ascii_case("close");
                }
                _ => {}
            }
        }
        Ok(head)
    }

    /// N of `/json/N`, or of `/bytes/N`, and 128 bytes elsewhere.
    pub(super) fn wanted(&self) -> Wanted {
        let number = |prefix| self.target.strip_prefix(prefix).and_then(|number: &str| number.parse().ok());
        let capped = |number: usize| number.min(BYTES_MAX);
        match number("/json/") {
            Some(bytes) => Wanted::Json(capped(bytes)),
            None => Wanted::Bytes(capped(number("/bytes/").unwrap_or(BYTES))),
        }
    }
}

const SWALLOW: &str = "/swallow";
const BYTES: usize = 128;
const BYTES_MAX: usize = 64 << 20;
