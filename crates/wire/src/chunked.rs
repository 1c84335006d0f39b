//! The chunked coding (RFC 9112 section 7.1), walked strictly and passed on as it came: the same chunks, without
//! their extensions and what nodes pad their sizes with, and with the trailers that may travel.

use memchr::memchr;

use crate::lines::{LENGTH_MAX, Name};
use crate::malformed::Malformed;
use crate::scan::{Side, is_token_byte};

/// Where in a chunked body the walk is.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    /// Extensions cost us work and the origin nothing; all of a body's together are bounded.
    extension_bytes: usize,
    trailer_bytes: usize,
    side: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At a chunk's first line.
    Size,
    /// Inside of a chunk, with so many bytes of data to come.
    Data(u64),
    /// At the CRLF behind the data.
    DataEnd,
    /// Behind the last chunk, at a trailer line or the empty line that ends them.
    Trailer,
    End,
}

/// The next piece of a chunked body, at the start of the bytes that were given.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// More bytes are needed to tell.
    Unfinished,
    /// So many bytes of content.
    Data(usize),
    /// The coding's own bytes: the first are passed on, the others up to `taken` are not, and `tail` more are.
    Frame { kept: usize, dropped: usize, tail: usize },
    /// The body has ended.
    End,
}

impl Chunked {
    /// At the first chunk of a request or an answer.
    pub(crate) fn of(side: Side) -> Self {
        Self { state: State::Size, extension_bytes: 0, trailer_bytes: 0, side }
    }

    /// Whether the last chunk is behind it, and the end is not.
    pub(crate) fn is_at_trailers(&self) -> bool {
        self.state == State::Trailer
    }

    pub(crate) fn is_in_data(&self) -> bool {
        matches!(self.state, State::Data(_))
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.state == State::End
    }

    /// Takes the piece that `bytes` begin with; whoever asks drops as many bytes before asking again.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "called for each chunk: a call costs a quarter of the walk")]
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Result<Piece, Malformed> {
        match self.state {
            State::Size => self.size(bytes),
            State::Data(_) if bytes.is_empty() => Ok(Piece::Unfinished),
            State::Data(left) => {
                let here = left.min(bytes.len() as u64);
                self.state = if here == left { State::DataEnd } else { State::Data(left - here) };
                Ok(Piece::Data(here as usize))
            }
            State::DataEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.state = State::Size;
                    Ok(Piece::Frame { kept: 2, dropped: 0, tail: 0 })
                }
                [] | [b'\r'] => Ok(Piece::Unfinished),
                _ => Err(Malformed::ChunkEnd),
            },
            State::Trailer => self.trailer(bytes),
            State::End => Ok(Piece::End),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the same")]
    fn size(&mut self, bytes: &[u8]) -> Result<Piece, Malformed> {
        let Some(line) = line(bytes, SIZE_LINE_BYTES_MAX, Malformed::ChunkSize)? else {
            return Ok(Piece::Unfinished);
        };
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let extension = &line[digits..];
        // Some servers pad sizes. What they mean is plain, and the blanks go no further; a client has no reason to.
        let blanks = match self.side {
            Side::Request => 0,
            Side::Answer => extension.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count(),
        };
        if digits == 0 || digits > SIZE_DIGITS_MAX || !matches!(extension[blanks..], [] | [b';', ..]) {
            return Err(Malformed::ChunkSize);
        }
        if extension.iter().any(|&byte| is_control(byte)) {
            return Err(Malformed::ChunkExtension);
        }
        self.extension_bytes += extension.len();
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err(Malformed::ChunkExtension);
        }
        let size = line[..digits].iter().fold(0_u64, |size, &digit| {
            size << 4 | u64::from(char::from(digit).to_digit(16).unwrap_or_default())
        });
        self.state = match size {
            0 => State::Trailer,
            1..=LENGTH_MAX => State::Data(size),
            _ => return Err(Malformed::ChunkSize),
        };
        Ok(Piece::Frame { kept: digits, dropped: extension.len(), tail: 2 })
    }

    fn trailer(&mut self, bytes: &[u8]) -> Result<Piece, Malformed> {
        let bytes_left = TRAILER_BYTES_MAX - self.trailer_bytes;
        let Some(line) = line(bytes, bytes_left, Malformed::Trailer)? else { return Ok(Piece::Unfinished) };
        if line.is_empty() {
            self.state = State::End;
            return Ok(Piece::Frame { kept: 2, dropped: 0, tail: 0 });
        }
        self.trailer_bytes += line.len() + 2;
        let colon = memchr(b':', line).ok_or(Malformed::Trailer)?;
        let (name, value) = line.split_at(colon);
        if name.is_empty()
            || !name.iter().all(|&byte| is_token_byte(byte))
            || value.iter().any(|&byte| is_control(byte))
        {
            return Err(Malformed::Trailer);
        }
        let length = line.len() + 2;
        if may_trail(name) {
            Ok(Piece::Frame { kept: length, dropped: 0, tail: 0 })
        } else {
            Ok(Piece::Frame { kept: 0, dropped: length, tail: 0 })
        }
    }
}

/// The line at the start of `bytes`, without its CRLF.
fn line(bytes: &[u8], bytes_max: usize, too_long: Malformed) -> Result<Option<&[u8]>, Malformed> {
    match memchr(b'\n', bytes) {
        Some(lf) if lf + 1 > bytes_max => Err(too_long),
        Some(lf) if lf > 0 && bytes[lf - 1] == b'\r' => {
            let line = &bytes[..lf - 1];
            if memchr(b'\r', line).is_some() { Err(too_long) } else { Ok(Some(line)) }
        }
        Some(_) => Err(Malformed::BareLf),
        None if bytes.len() >= bytes_max => Err(too_long),
        None => Ok(None),
    }
}

/// Fields that frame, route or authenticate a message mean nothing behind it, and harm where they are merged into
/// its head (RFC 9110 section 6.5.1).
fn may_trail(name: &[u8]) -> bool {
    const NEVER: [&str; 6] =
        ["authorization", "cache-control", "content-range", "cookie", "set-cookie", "trailer"];
    Name::of(name) == Name::Other && !NEVER.iter().any(|never| name.eq_ignore_ascii_case(never.as_bytes()))
}

fn is_control(byte: u8) -> bool {
    (byte < b' ' && byte != b'\t') || byte == 0x7f
}

/// As many hexadecimal digits as 64 bits have.
const SIZE_DIGITS_MAX: usize = 16;
/// Longest size line, with its extensions.
const SIZE_LINE_BYTES_MAX: usize = 1024;
/// Most bytes of chunk extensions in one body, which nobody reads.
const EXTENSION_BYTES_MAX: usize = 8 * 1024;
/// Most bytes of trailer lines in one body, with every CRLF.
const TRAILER_BYTES_MAX: usize = 8 * 1024;
