//! MessagePack as notepack.io writes it: a cursor over received bytes and the few encodings we send.
//! Knows nothing of Socket.IO. A length is believed only after that many bytes are known to be there.

use std::borrow::Cow;

use crate::error::Malformed;

/// Deepest nesting read or written. serde_json stops at the same depth, so that nothing
/// passes one side of the transcoder and fails on the other.
pub(crate) const DEPTH_MAX: usize = 127;

/// One token. Containers say how many elements follow (a map: how many pairs).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Token<'a> {
    Nil,
    Bool(bool),
    Uint(u64),
    Int(i64),
    Float(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Ext(i8, &'a [u8]),
    Array(usize),
    Map(usize),
}

/// Reads tokens off the front of a slice.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read yet: of a field's value nothing else lies there.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn token(&mut self) -> Result<Token<'a>, Malformed> {
        let marker = self.uint(1)? as u8;
        Ok(match marker {
            0x00..=0x7f => Token::Uint(u64::from(marker)),
            0x80..=0x8f => Token::Map(usize::from(marker & 0x0f)),
            0x90..=0x9f => Token::Array(usize::from(marker & 0x0f)),
            0xa0..=0xbf => Token::Str(self.take(usize::from(marker & 0x1f))?),
            0xc0 => Token::Nil,
            0xc1 => return Err(Malformed("MessagePack marker 0xc1")),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4..=0xc6 => Token::Bin(self.sized(marker - 0xc4)?),
            0xc7..=0xc9 => {
                let length = self.uint(1 << (marker - 0xc7))? as usize;
                Token::Ext(self.uint(1)? as u8 as i8, self.take(length)?)
            }
            0xca => Token::Float(f64::from(f32::from_bits(self.uint(4)? as u32))),
            0xcb => Token::Float(f64::from_bits(self.uint(8)?)),
            0xcc..=0xcf => Token::Uint(self.uint(1 << (marker - 0xcc))?),
            0xd0 => Token::Int(i64::from(self.uint(1)? as u8 as i8)),
            0xd1 => Token::Int(i64::from(self.uint(2)? as u16 as i16)),
            0xd2 => Token::Int(i64::from(self.uint(4)? as u32 as i32)),
            0xd3 => Token::Int(self.uint(8)? as i64),
            0xd4..=0xd8 => Token::Ext(self.uint(1)? as u8 as i8, self.take(1 << (marker - 0xd4))?),
            0xd9..=0xdb => Token::Str(self.sized(marker - 0xd9)?),
            0xdc | 0xdd => Token::Array(self.uint(2 << (marker - 0xdc))? as usize),
            0xde | 0xdf => Token::Map(self.uint(2 << (marker - 0xde))? as usize),
            0xe0..=0xff => Token::Int(i64::from(marker as i8)),
        })
    }

    /// The number of elements of the array that must come next.
    pub(crate) fn array(&mut self) -> Result<usize, Malformed> {
        match self.token()? {
            Token::Array(length) => Ok(length),
            _ => Err(Malformed("expected an array")),
        }
    }

    /// Calls `field` with each key of the map that must come next, and with its value's bytes alone.
    pub(crate) fn fields(
        &mut self,
        mut field: impl FnMut(&[u8], Reader<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let Token::Map(pairs) = self.token()? else { return Err(Malformed("expected a map")) };
        for _ in 0..pairs {
            let Token::Str(key) = self.token()? else { return Err(Malformed("expected a string")) };
            let value = self.value()?;
            field(key, Reader::new(value))?;
        }
        Ok(())
    }

    /// A string that must come next; bytes that are not UTF-8 are replaced, since JavaScript
    /// strings may hold half a surrogate pair.
    pub(crate) fn text(&mut self) -> Result<Cow<'a, str>, Malformed> {
        match self.token()? {
            Token::Str(bytes) => Ok(utf8(bytes)),
            _ => Err(Malformed("expected a string")),
        }
    }

    /// The bytes of one whole value, which is stepped over.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.rest;
        // A counter instead of recursion: what a stranger nests must not reach our stack.
        let mut left: usize = 1;
        while left > 0 {
            left -= 1;
            let more = match self.token()? {
                Token::Array(length) => length,
                Token::Map(pairs) => pairs.saturating_mul(2),
                _ => 0,
            };
            left = left.saturating_add(more);
            // Every value takes at least a byte, so a longer promise is a lie.
            if left > self.rest.len() {
                return Err(Malformed("MessagePack ends early"));
            }
        }
        Ok(&start[..start.len() - self.rest.len()])
    }

    fn sized(&mut self, width_log2: u8) -> Result<&'a [u8], Malformed> {
        let length = self.uint(1 << width_log2)?;
        self.take(length as usize)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Malformed("MessagePack ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn uint(&mut self, width: usize) -> Result<u64, Malformed> {
        Ok(self.take(width)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }
}

/// As `String::from_utf8_lossy`, which takes several times as long for text that is UTF-8, as nearly all is.
pub(crate) fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

pub(crate) fn put_nil(out: &mut Vec<u8>) {
    out.push(0xc0);
}

pub(crate) fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

pub(crate) fn put_uint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xff => out.extend_from_slice(&[0xcc, value as u8]),
        0x100..=0xffff => put_wide(out, 0xcd, &(value as u16).to_be_bytes()),
        0x1_0000..=0xffff_ffff => put_wide(out, 0xce, &(value as u32).to_be_bytes()),
        _ => put_wide(out, 0xcf, &value.to_be_bytes()),
    }
}

pub(crate) fn put_int(out: &mut Vec<u8>, value: i64) {
    match value {
        0.. => put_uint(out, value as u64),
        -0x20..0 => out.push(value as u8),
        -0x80..-0x20 => out.extend_from_slice(&[0xd0, value as u8]),
        -0x8000..-0x80 => put_wide(out, 0xd1, &(value as i16).to_be_bytes()),
        -0x8000_0000..-0x8000 => put_wide(out, 0xd2, &(value as i32).to_be_bytes()),
        _ => put_wide(out, 0xd3, &value.to_be_bytes()),
    }
}

pub(crate) fn put_float(out: &mut Vec<u8>, value: f64) {
    put_wide(out, 0xcb, &value.to_be_bytes());
}

pub(crate) fn put_str(out: &mut Vec<u8>, value: &str) {
    match value.len() {
        length @ 0..=0x1f => out.push(0xa0 | length as u8),
        length @ 0x20..=0xff => out.extend_from_slice(&[0xd9, length as u8]),
        length => put_length(out, 0xda, length),
    }
    out.extend_from_slice(value.as_bytes());
}

pub(crate) fn put_bin(out: &mut Vec<u8>, value: &[u8]) {
    match value.len() {
        length @ 0..=0xff => out.extend_from_slice(&[0xc4, length as u8]),
        length => put_length(out, 0xc5, length),
    }
    out.extend_from_slice(value);
}

pub(crate) fn put_array(out: &mut Vec<u8>, length: usize) {
    match length {
        0..=0x0f => out.push(0x90 | length as u8),
        _ => put_length(out, 0xdc, length),
    }
}

pub(crate) fn put_map(out: &mut Vec<u8>, pairs: usize) {
    match pairs {
        0..=0x0f => out.push(0x80 | pairs as u8),
        _ => put_length(out, 0xde, pairs),
    }
}

/// A 16-bit length under `marker`, or a 32-bit one under the marker after it.
fn put_length(out: &mut Vec<u8>, marker: u8, length: usize) {
    match u16::try_from(length) {
        Ok(length) => put_wide(out, marker, &length.to_be_bytes()),
        Err(_) => put_wide(out, marker + 1, &(length as u32).to_be_bytes()),
    }
}

fn put_wide(out: &mut Vec<u8>, marker: u8, bytes: &[u8]) {
    out.push(marker);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::{Reader, Token, put_bin, put_int, put_str, put_uint};
    use proptest::prelude::{any, prop, proptest};
    use rmpv::Value;

    /// Ours against rmpv's, whole and cut off at every byte.
    fn check(value: &Value) {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, value).unwrap();
        assert_eq!(Reader::new(&bytes).value().unwrap(), bytes, "{value}");
        for cut in 0..bytes.len() {
            assert!(Reader::new(&bytes[..cut]).value().is_err(), "{value} cut at {cut}");
        }
    }

    #[test]
    fn every_width_is_stepped_over_whole() {
        for length in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
            let bytes = vec![b'a'; length];
            let text = Value::from(String::from_utf8(bytes.clone()).unwrap());
            if length < 300 {
                check(&text);
                check(&Value::Binary(bytes.clone()));
                check(&Value::Ext(7, bytes));
                check(&Value::Array(vec![Value::Nil; length]));
                check(&Value::Map(vec![(Value::from("k"), Value::from(-1)); length]));
            } else {
                let mut encoded = Vec::new();
                rmpv::encode::write_value(&mut encoded, &text).unwrap();
                assert_eq!(Reader::new(&encoded).value().unwrap(), encoded);
            }
        }
    }

    #[test]
    fn a_length_that_lies_is_refused_before_anything_is_reserved() {
        for bytes in [
            &[0xdd, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdf, 0xff, 0xff, 0xff, 0xff],
            &[0xdb, 0xff, 0xff, 0xff, 0xff, b'x'],
        ] {
            assert!(Reader::new(bytes).value().is_err());
        }
        let nested = vec![0x91; 1 << 20];
        assert!(Reader::new(&nested).value().is_err());
    }

    proptest! {
        #[test]
        fn what_we_write_rmpv_reads(int in any::<i64>(), uint in any::<u64>(), text in ".*", bin in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            put_int(&mut out, int);
            put_uint(&mut out, uint);
            put_str(&mut out, &text);
            put_bin(&mut out, &bin);
            let mut rest = &out[..];
            let mut next = || rmpv::decode::read_value(&mut rest).unwrap();
            assert_eq!([next(), next(), next(), next()], [Value::from(int), Value::from(uint), Value::from(text), Value::Binary(bin)]);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Reader::new(&bytes).value();
            let mut reader = Reader::new(&bytes);
            while let Ok(token) = reader.token() {
                if let Token::Str(text) = token { assert!(text.len() <= bytes.len()); }
            }
        }
    }
}
