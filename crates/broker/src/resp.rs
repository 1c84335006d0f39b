//! Commands in, replies out, in Redis' protocol (RESP2, and the parts of RESP3 that pub/sub needs).
//! <https://redis.io/docs/latest/develop/reference/protocol-spec/>
//!
//! Our own, since a server needs little of a codec but its bounds: the crates at hand hold a message to a fixed
//! 512 MB, or keep everything that was announced.

use bytes::{Buf, Bytes, BytesMut};

use crate::settings::Limits;

/// Longest `*…\r\n` or `$…\r\n` line: a sign and the digits of any length, with room to spare.
const LINE_MAX: usize = 32;

/// Why a client is told off and closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProtocolError(pub(crate) &'static str);

/// Takes one command off the front of `buffer`, or says that it is not whole yet.
///
/// Announced lengths are checked before anything waits for them, so that `buffer` need never hold more than
/// [`Limits::command_bytes_max`] and the lines between.
pub(crate) fn take_command(
    buffer: &mut BytesMut,
    limits: &Limits,
) -> Result<Option<Vec<Bytes>>, ProtocolError> {
    let Some((count, mut at)) = line(buffer, 0, b'*', "expected a command, an array of bulk strings")? else {
        return Ok(None);
    };
    if count > limits.arguments_max {
        return Err(ProtocolError("too many arguments"));
    }
    let mut spans = Vec::with_capacity(count);
    let mut total = 0_usize;
    for _ in 0..count {
        let Some((length, start)) = line(buffer, at, b'$', "expected a bulk string")? else {
            return Ok(None);
        };
        total = total.saturating_add(length);
        if total > limits.command_bytes_max {
            return Err(ProtocolError("command too long"));
        }
        let end = start + length;
        match buffer.get(end..end + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err(ProtocolError("a bulk string does not end where it should")),
            None => return Ok(None),
        }
        spans.push(start..end);
        at = end + 2;
    }
    let command = buffer.split_to(at).freeze();
    Ok(Some(spans.into_iter().map(|span| command.slice(span)).collect()))
}

/// The number on the line at `at` and where the next line begins.
fn line(
    buffer: &[u8],
    at: usize,
    kind: u8,
    expected: &'static str,
) -> Result<Option<(usize, usize)>, ProtocolError> {
    let Some(rest) = buffer.get(at..).filter(|rest| !rest.is_empty()) else { return Ok(None) };
    if rest[0] != kind {
        return Err(ProtocolError(expected));
    }
    let Some(end) = memchr::memchr(b'\r', &rest[..rest.len().min(LINE_MAX)]) else {
        return if rest.len() < LINE_MAX { Ok(None) } else { Err(ProtocolError("a length too long")) };
    };
    match rest.get(end + 1) {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) => return Err(ProtocolError("a line that does not end in CRLF")),
    }
    let digits = &rest[1..end];
    // Negative lengths mean null in replies; a command has no use for them.
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ProtocolError("an invalid length"));
    }
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    let number: usize = number.ok_or(ProtocolError("an invalid length"))?;
    Ok(Some((number, at + end + 2)))
}

/// What a client understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    Resp2,
    Resp3,
}

/// Writes replies.
pub(crate) struct Reply(BytesMut);

impl Reply {
    pub(crate) fn new() -> Self {
        Self(BytesMut::new())
    }

    pub(crate) fn simple(text: &str) -> Bytes {
        let mut reply = Self::new();
        reply.line('+', text);
        reply.done()
    }

    /// `text` begins with a code such as `ERR`. It may quote the client and must stay on one line.
    pub(crate) fn error(text: &str) -> Bytes {
        let mut reply = Self::new();
        reply.line('-', text.replace(['\r', '\n'], " "));
        reply.done()
    }

    pub(crate) fn done(self) -> Bytes {
        self.0.freeze()
    }

    pub(crate) fn array(&mut self, length: usize) -> &mut Self {
        self.line('*', length)
    }

    pub(crate) fn map(&mut self, version: Version, pairs: usize) -> &mut Self {
        match version {
            Version::Resp2 => self.line('*', pairs * 2),
            Version::Resp3 => self.line('%', pairs),
        }
    }

    /// What is not an answer: a message, or a subscription's confirmation.
    pub(crate) fn push(&mut self, version: Version, length: usize) -> &mut Self {
        match version {
            Version::Resp2 => self.line('*', length),
            Version::Resp3 => self.line('>', length),
        }
    }

    pub(crate) fn integer(&mut self, value: usize) -> &mut Self {
        self.line(':', value)
    }

    pub(crate) fn null(&mut self, version: Version) -> &mut Self {
        self.0.extend_from_slice(match version {
            Version::Resp2 => b"$-1\r\n",
            Version::Resp3 => b"_\r\n",
        });
        self
    }

    pub(crate) fn bulk(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.reserve(bytes.len() + LINE_MAX);
        self.line('$', bytes.len());
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    fn line(&mut self, kind: char, value: impl std::fmt::Display) -> &mut Self {
        use std::fmt::Write;
        // Writing into memory that grows cannot fail.
        let _ = write!(self.0, "{kind}{value}\r\n");
        self
    }
}

/// Gives memory back once a burst is over.
pub(crate) fn shrink(buffer: &mut BytesMut) {
    const KEPT: usize = 64 << 10;
    if buffer.capacity() > KEPT && buffer.remaining() == 0 {
        *buffer = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::{ProtocolError, take_command};
    use crate::settings::Limits;
    use bytes::BytesMut;
    use proptest::prelude::{any, prop, proptest};

    fn limits() -> Limits {
        Limits { command_bytes_max: 100, arguments_max: 4, ..Limits::default() }
    }

    /// Feeds `input` whole and byte by byte; both must come to the same commands and the same end.
    fn check(input: &[u8], commands: &[&[&str]], end: Option<&'static str>) {
        for step in [input.len().max(1), 1] {
            let (mut buffer, mut seen, mut error) = (BytesMut::new(), Vec::new(), None);
            for chunk in input.chunks(step) {
                buffer.extend_from_slice(chunk);
                loop {
                    match take_command(&mut buffer, &limits()) {
                        Ok(Some(command)) => seen.push(command),
                        Ok(None) => break,
                        Err(ProtocolError(text)) => {
                            error = Some(text);
                            break;
                        }
                    }
                }
                if error.is_some() {
                    break;
                }
            }
            assert_eq!(seen, commands, "{:?}", input.escape_ascii().to_string());
            assert_eq!(error, end, "{:?}", input.escape_ascii().to_string());
        }
    }

    #[test]
    fn commands_and_what_is_none() {
        check(b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", &[&["PING"], &["ECHO", ""]], None);
        check(b"*0\r\n", &[&[]], None);
        check(b"*1\r\n$3\r\na\r\n\r\n", &[&["a\r\n"]], None);
        check(b"*1\r\n$4\r\nPI", &[], None);
        check(b"PING\r\n", &[], Some("expected a command, an array of bulk strings"));
        check(b"GET / HTTP/1.1\r\n", &[], Some("expected a command, an array of bulk strings"));
        check(b"*-1\r\n", &[], Some("an invalid length"));
        check(b"*1\r\n$-1\r\n", &[], Some("an invalid length"));
        check(b"*\r\n", &[], Some("an invalid length"));
        check(b"*+1\r\n", &[], Some("an invalid length"));
        check(b"*1\r\n:1\r\n", &[], Some("expected a bulk string"));
        check(b"*1\r\n$1\r\nab\r\n", &[], Some("a bulk string does not end where it should"));
        check(b"*1\rx", &[], Some("a line that does not end in CRLF"));
        check(b"*5\r\n", &[], Some("too many arguments"));
        check(b"*1\r\n$101\r\n", &[], Some("command too long"));
        check(b"*2\r\n$60\r\n", &[], None);
        check(b"*99999999999999999999999\r\n", &[], Some("an invalid length"));
        check(&[b'*'; 40], &[], Some("a length too long"));
    }

    proptest! {
        #[test]
        fn what_redis_rs_sends_comes_out_again(arguments in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..4), split in any::<prop::sample::Index>()) {
            let mut command = redis::Cmd::new();
            for argument in &arguments {
                command.arg(argument);
            }
            let bytes = command.get_packed_command();
            let (head, tail) = bytes.split_at(split.index(bytes.len()));
            let mut buffer = BytesMut::from(head);
            assert_eq!(take_command(&mut buffer, &limits()), Ok(None));
            buffer.extend_from_slice(tail);
            assert_eq!(take_command(&mut buffer, &limits()).unwrap().unwrap(), arguments);
            assert!(buffer.is_empty());
        }

        #[test]
        fn random_bytes_never_panic_and_are_never_kept_waiting_for_much(bytes in prop::collection::vec(prop::sample::select(b"*$0129\r\nab-:".to_vec()), 0..400)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take_command(&mut buffer, &limits()) {}
            if take_command(&mut buffer, &limits()) == Ok(None) {
                assert!(buffer.len() <= 100 + 5 * super::LINE_MAX);
            }
        }
    }
}
