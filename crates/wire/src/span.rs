//! What the heads of requests and answers have in common: their bounds, their version, and pieces of their bytes.

/// Bounds of one head. Beyond them the head is refused, never cut.
#[derive(Debug, Clone, Copy)]
pub struct HeadBounds {
    /// Longest request target, in bytes (RFC 9112 section 3 recommends at least 8000).
    pub target_bytes_max: usize,
    /// Longest head, in bytes, with every CRLF.
    pub head_bytes_max: usize,
    /// Most header lines; [`HeadBounds::LINES_MAX`] is the most that can be asked for.
    pub lines_max: usize,
}

impl HeadBounds {
    /// The parser's own table of lines, which lives on the stack.
    pub const LINES_MAX: usize = 256;
}

/// The version of HTTP that a message names. Anything else is refused (RFC 9110 section 2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no 1xx, Host may be absent.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// A piece of a head's buffer, as offsets, so that a head owns its bytes and borrows nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    /// The offsets `start..end`.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        // Heads are bounded to 1 MiB by configuration, far below what 32 bits hold.
        Self { start: start as u32, end: end as u32 }
    }

    /// Where `part`, a slice of `whole`, lies in it. Any other slice would give nonsense.
    pub(crate) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self::new(start, start + part.len())
    }

    /// The bytes it names in `whole`.
    pub fn of_bytes<'a>(&self, whole: &'a [u8]) -> &'a [u8] {
        &whole[self.start as usize..self.end as usize]
    }

    /// The offset of the first byte behind it.
    pub fn end(&self) -> usize {
        self.end as usize
    }

    /// True if it names no byte.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The number of bytes that it names.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }
}
