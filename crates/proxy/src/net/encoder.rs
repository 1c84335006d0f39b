//! Compresses bytes as they go by. Knows codings, and nothing of whose bytes they are.

use std::cell::Cell;
use std::fmt::{self, Debug, Formatter};
use std::io::{self, Write};
use std::rc::Rc;

use brotli::CompressorWriter;
use config::routing::Coding;
use flate2::Compression;
use flate2::write::GzEncoder;
use zstd::zstd_safe::CParameter;

/// The places that a worker has for encoders: each takes up to a megabyte for as long as its answer lasts, and clients say
/// how long that is.
#[derive(Debug, Default, Clone)]
pub(crate) struct EncoderPlaces(Rc<Cell<usize>>);

/// One stream of bytes that is compressed.
pub(crate) struct Encoder {
    coder: Coder,
    /// Something was taken that may not have come out.
    holds: bool,
    places: EncoderPlaces,
}

enum Coder {
    Gzip(GzEncoder<Vec<u8>>),
    // Boxed, for it is by far the largest.
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    /// It has ended.
    Done(Vec<u8>),
}

impl EncoderPlaces {
    /// An encoder, if there is a place for one.
    pub(crate) fn take(&self, coding: Coding) -> Option<Encoder> {
        if self.0.get() >= PLACES {
            return None;
        }
        let coder = match coding {
            Coding::Gzip => Coder::Gzip(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL))),
            Coding::Brotli => {
                let writer = CompressorWriter::new(Vec::new(), STEP_BYTES, BROTLI_LEVEL, WINDOW_BITS);
                Coder::Brotli(Box::new(writer))
            }
            Coding::Zstd => {
                let mut encoder = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL).ok()?;
                encoder.set_parameter(CParameter::WindowLog(WINDOW_BITS)).ok()?;
                Coder::Zstd(encoder)
            }
        };
        self.0.set(self.0.get() + 1);
        Some(Encoder { coder, holds: false, places: self.clone() })
    }
}

impl Encoder {
    /// Takes bytes. Something of them, or nothing, comes out.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.holds |= !bytes.is_empty();
        self.writer().write_all(bytes)
    }

    /// Lets out all that was taken, so that whoever decodes it has it whole.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.holds) {
            self.writer().flush()?;
        }
        Ok(())
    }

    /// What has come out so far; whoever sends it clears it.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        match &mut self.coder {
            Coder::Gzip(encoder) => encoder.get_mut(),
            Coder::Brotli(encoder) => encoder.get_mut(),
            Coder::Zstd(encoder) => encoder.get_mut(),
            Coder::Done(out) => out,
        }
    }

    /// Ends the stream: what has come out and was not cleared, and the rest.
    pub(crate) fn finish(mut self) -> io::Result<Vec<u8>> {
        match std::mem::replace(&mut self.coder, Coder::Done(Vec::new())) {
            Coder::Gzip(encoder) => encoder.finish(),
            Coder::Brotli(encoder) => Ok(encoder.into_inner()),
            Coder::Zstd(encoder) => encoder.finish(),
            Coder::Done(out) => Ok(out),
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match &mut self.coder {
            Coder::Gzip(encoder) => encoder,
            Coder::Brotli(encoder) => encoder,
            Coder::Zstd(encoder) => encoder,
            Coder::Done(out) => out,
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let EncoderPlaces(taken) = &self.places;
        taken.set(taken.get().saturating_sub(1));
    }
}

impl Debug for Encoder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("holds", &self.holds).finish_non_exhaustive()
    }
}

const PLACES: usize = 128;
/// What most answers fit into, and RFC 9659 has clients decode.
const WINDOW_BITS: u32 = 18;
/// Levels behind which a tenth less of bytes costs more than half as much again of time.
const GZIP_LEVEL: u32 = 5;
const BROTLI_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;
const STEP_BYTES: usize = 8192;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// What can be decoded of a stream that may be cut, and whether it has its end.
    fn decoded(coding: Coding, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut out = Vec::new();
        let read = match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
            Coding::Zstd => zstd::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_end(&mut out)),
        };
        (out, read.is_ok())
    }

    #[test]
    fn what_is_flushed_can_be_read_and_the_whole_is_whole() {
        let places = EncoderPlaces::default();
        for coding in Coding::ALL {
            let mut encoder = places.take(coding).expect("a place");
            let mut sent = Vec::new();
            for part in ["one ".repeat(3000), "two".to_owned()] {
                encoder.take(part.as_bytes()).unwrap();
                assert!(encoder.holds);
                encoder.flush().unwrap();
                assert!(!encoder.holds);
                sent.append(encoder.out());
                let (read, is_whole) = decoded(coding, &sent);
                assert!(read.ends_with(part.as_bytes()) && !is_whole, "{coding:?}");
            }
            // Nothing new is nothing to send.
            encoder.flush().unwrap();
            assert!(encoder.out().is_empty(), "{coding:?}");
            sent.append(&mut encoder.finish().unwrap());
            let whole = ["one ".repeat(3000).as_bytes(), b"two"].concat();
            assert_eq!(decoded(coding, &sent), (whole, true), "{coding:?}");
            assert!(sent.len() < 300, "{coding:?}: {}", sent.len());
        }
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let places = EncoderPlaces::default();
        let taken: Vec<_> = (0..PLACES).map(|_| places.take(Coding::Gzip).expect("a place")).collect();
        assert!(places.take(Coding::Gzip).is_none());
        drop(taken);
        let encoder = places.take(Coding::Zstd).expect("a place");
        encoder.finish().unwrap();
        assert_eq!(places.0.get(), 0);
    }
}
