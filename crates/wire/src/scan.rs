//! Finds the end of a head in bytes that arrive in any pieces. Each byte is looked at once, and what can never
//! become a head is refused before its end has come: a client that speaks TLS to a plain port, or ends its lines
//! in LF alone, gets its answer at once instead of after the head timeout. A node may end its lines in LF alone.

use memchr::memchr;

use crate::malformed::Malformed;
use crate::span::HeadBounds;

/// Whose head is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// A request line first.
    Request,
    /// A status line first.
    Answer,
}

/// How far the search has come. Call [`HeadScan::advance`] with the whole buffer whenever it has grown.
#[derive(Debug)]
pub struct HeadScan {
    side: Side,
    /// Bytes already looked at.
    scanned: usize,
    /// Where the line that is being read begins.
    line_start: usize,
    /// Empty lines before the first line are ignored, but not without end (RFC 9112 section 2.2).
    leading: usize,
}

impl HeadScan {
    /// At the first byte of a message.
    pub fn new(side: Side) -> Self {
        Self { side, scanned: 0, line_start: 0, leading: 0 }
    }

    /// Whether nothing of a message has come yet. Empty lines in front of it do not count (RFC 9112 section 2.2).
    pub fn is_at_start(&self) -> bool {
        self.scanned == self.leading
    }

    /// Looks at the bytes that are new in `bytes`. `Some(n)` once the first `n` of them are a whole head.
    ///
    /// # Errors
    /// If the head is longer, or has more lines, than `bounds` allows.
    pub fn advance(&mut self, bytes: &[u8], bounds: &HeadBounds) -> Result<Option<usize>, Malformed> {
        while let Some(offset) = memchr(b'\n', &bytes[self.scanned..]) {
            let lf = self.scanned + offset;
            self.scanned = lf + 1;
            let line = &bytes[self.line_start..lf];
            let line = match (line.strip_suffix(b"\r"), self.side) {
                (Some(line), _) => line,
                // Nobody is behind a node who could read another end into it, and the client gets CRLF.
                (None, Side::Answer) => line,
                (None, Side::Request) => return Err(Malformed::BareLf),
            };
            let is_first = self.line_start == self.leading;
            self.line_start = lf + 1;
            match (line.is_empty(), is_first) {
                (true, true) if self.side == Side::Request && self.leading < LEADING_BYTES_MAX => {
                    self.leading = self.line_start;
                }
                (true, true) => return Err(Malformed::FirstLine),
                (true, false) if self.scanned > bounds.head_bytes_max => return Err(Malformed::HeadTooLong),
                (true, false) => return Ok(Some(self.scanned)),
                (false, true) => self.check_first_line(line, bounds)?,
                (false, false) => {}
            }
        }
        self.scanned = bytes.len();
        self.check_unfinished(bytes, bounds)?;
        Ok(None)
    }

    fn check_first_line(&self, line: &[u8], bounds: &HeadBounds) -> Result<(), Malformed> {
        match self.side {
            Side::Request => check_request_line(line, bounds),
            Side::Answer if line.starts_with(b"HTTP/1.1 ") || line.starts_with(b"HTTP/1.0 ") => Ok(()),
            Side::Answer if line.starts_with(b"HTTP/") => Err(Malformed::Version),
            Side::Answer => Err(Malformed::FirstLine),
        }
    }

    /// What an unfinished head already shows.
    fn check_unfinished(&self, bytes: &[u8], bounds: &HeadBounds) -> Result<(), Malformed> {
        let begun = &bytes[self.leading..];
        let in_first_line = self.line_start == self.leading;
        let is_hopeless = match self.side {
            // A lone CR may be half of an empty line.
            Side::Request => begun.first().is_some_and(|&first| first != b'\r' && !is_token_byte(first)),
            Side::Answer => begun.iter().zip(b"HTTP/1.").any(|(have, want)| have != want),
        };
        if is_hopeless {
            return Err(Malformed::FirstLine);
        }
        if in_first_line
            && self.side == Side::Request
            && begun.len() > bounds.target_bytes_max + AROUND_TARGET_BYTES
        {
            return Err(Malformed::TargetTooLong);
        }
        if bytes.len() >= bounds.head_bytes_max {
            return Err(Malformed::HeadTooLong);
        }
        Ok(())
    }
}

/// The line must be `method SP target SP HTTP/1.x`; its parts are read later, when the head is whole.
fn check_request_line(line: &[u8], bounds: &HeadBounds) -> Result<(), Malformed> {
    let version_at = line.len().saturating_sub(VERSION_BYTES);
    let (before, version) = line.split_at(version_at);
    if line.len() > bounds.target_bytes_max + AROUND_TARGET_BYTES {
        return Err(Malformed::TargetTooLong);
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" if before.ends_with(b" ") => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Err(Malformed::Version)
        }
        _ => Err(Malformed::FirstLine),
    }
}

/// RFC 9110 section 5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

const VERSION_BYTES: usize = "HTTP/1.1".len();
/// Method, two spaces and version around a target; longer methods count against the target.
const AROUND_TARGET_BYTES: usize = 32;
/// Two empty lines.
const LEADING_BYTES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: HeadBounds = HeadBounds { target_bytes_max: 64, head_bytes_max: 256, lines_max: 16 };

    /// Feeds `bytes` in pieces of every size and wants the same outcome each time. A refusal may come earlier
    /// in smaller pieces, but must be the same one.
    fn check(side: Side, bytes: &[u8], want: Result<Option<usize>, Malformed>) {
        for piece in 1..=bytes.len() {
            let mut scan = HeadScan::new(side);
            let mut got = Ok(None);
            for end in (piece..bytes.len() + piece).step_by(piece) {
                got = scan.advance(&bytes[..end.min(bytes.len())], &BOUNDS);
                if !matches!(got, Ok(None)) {
                    break;
                }
            }
            assert_eq!(got, want, "pieces of {piece}: {}", bytes.escape_ascii());
        }
    }

    #[test]
    fn finds_the_end() {
        check(Side::Request, b"GET / HTTP/1.1\r\nHost: x\r\n\r\nrest", Ok(Some(27)));
        check(Side::Request, b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", Ok(Some(29)));
        check(Side::Request, b"GET / HTTP/1.1\r\nHost: x\r\n", Ok(None));
        check(Side::Answer, b"HTTP/1.1 200 OK\r\n\r\n", Ok(Some(19)));
        check(Side::Answer, b"HTTP/1.1 200 OK\n\nrest", Ok(Some(17)));
        check(Side::Answer, b"HTTP/1.1 200 OK\nA: b\r\n\nrest", Ok(Some(23)));
        check(Side::Answer, b"HTTP/1.1 200 OK\r\nA: b\n\r\nrest", Ok(Some(24)));
    }

    #[test]
    fn refuses_what_can_never_be_a_head() {
        check(Side::Request, b"GET / HTTP/1.1\nHost: x\n\n", Err(Malformed::BareLf));
        check(Side::Request, b"GET / HTTP/1.1\r\nHost: x\n\r\n", Err(Malformed::BareLf));
        check(Side::Request, b"\x16\x03\x01\x02\x00", Err(Malformed::FirstLine));
        check(Side::Request, b"GET /\r\n", Err(Malformed::FirstLine));
        check(Side::Request, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(Malformed::Version));
        check(Side::Request, b"GET / HTTP/1.2\r\n", Err(Malformed::Version));
        check(Side::Request, b"\r\n\r\n\r\nGET / HTTP/1.1\r\n", Err(Malformed::FirstLine));
        check(Side::Answer, b"SSH-2.0-OpenSSH_9\r\n", Err(Malformed::FirstLine));
        check(Side::Answer, b"\r\nHTTP/1.1 200 OK\r\n\r\n", Err(Malformed::FirstLine));
    }

    #[test]
    fn bounds_hold() {
        let target = [b"GET /".as_slice(), &[b'a'; 100], b" HTTP/1.1\r\n\r\n"].concat();
        check(Side::Request, &target, Err(Malformed::TargetTooLong));
        let head = [b"GET / HTTP/1.1\r\nA: ".as_slice(), &[b'a'; 300], b"\r\n\r\n"].concat();
        check(Side::Request, &head, Err(Malformed::HeadTooLong));
    }
}
