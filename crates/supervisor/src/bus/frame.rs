//! A frame as it goes over the wire: twelve bytes, and a payload that nobody here reads. `js/messages.cjs` says what is where.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

/// A whole frame, shared by all who wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame(Arc<Vec<u8>>);

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind(u8);

/// Reads frames from one instance.
#[derive(Debug)]
pub(super) struct Reader<R> {
    from: BufReader<R>,
}

impl Kind {
    /// From one instance to others.
    pub(super) const MESSAGE: Self = Self(1);
    /// To tidelock: whether its rooms are shared.
    pub(super) const ROOMS: Self = Self(3);
    /// An instance is gone.
    const LEFT: Self = Self(2);
}

impl Frame {
    /// Says that an instance is gone.
    pub(super) fn left(generation: u64) -> Self {
        Self(Arc::new(header(0, Kind::LEFT, generation).to_vec()))
    }

    pub(super) fn payload(&self) -> &[u8] {
        self.0.get(HEADER_BYTES..).unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from: BufReader::with_capacity(READ_BYTES, from) }
    }

    /// The next frame, with its kind and whom it is for, and `sender` in the place of that. `None` at the end, or
    /// if it is longer than any may be. Not cancel-safe: half a frame may have been read.
    pub(super) async fn next(&mut self, sender: u64) -> Option<(Kind, u64, Frame)> {
        let mut head = [0; HEADER_BYTES];
        self.from.read_exact(&mut head).await.ok()?;
        let [l0, l1, l2, l3, kind, _, p0, p1, p2, p3, p4, p5] = head;
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let to = u64::from_be_bytes([0, 0, p0, p1, p2, p3, p4, p5]);
        if length > FRAME_BYTES_MAX {
            return None;
        }
        let kind = Kind(kind);
        let whole = HEADER_BYTES + usize::try_from(length).ok()?;
        // Memory is taken for what has come, not for what was announced.
        let mut bytes = Vec::with_capacity(whole.min(READ_BYTES));
        bytes.extend(header(length, kind, sender));
        (&mut self.from).take(u64::from(length)).read_to_end(&mut bytes).await.ok()?;
        (bytes.len() == whole).then(|| (kind, to, Frame(Arc::new(bytes))))
    }
}

fn header(length: u32, Kind(kind): Kind, peer: u64) -> [u8; HEADER_BYTES] {
    let [l0, l1, l2, l3] = length.to_be_bytes();
    let [_, _, p0, p1, p2, p3, p4, p5] = peer.to_be_bytes();
    [l0, l1, l2, l3, kind, 0, p0, p1, p2, p3, p4, p5]
}

const HEADER_BYTES: usize = 12;
const READ_BYTES: usize = 64 << 10;
/// As in `js/messages.cjs`.
const FRAME_BYTES_MAX: u32 = 32 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what is read of `bytes`, which come whole, and in two parts split anywhere.
    async fn check(bytes: &[u8], expected: &[(Kind, u64, &[u8])]) {
        for split in 0..=bytes.len() {
            let (begin, end) = bytes.split_at(split);
            let mut reader = Reader::new(begin.chain(end));
            for &(kind, to, frame) in expected {
                let read = reader.next(7).await;
                assert_eq!(read, Some((kind, to, Frame(Arc::new(frame.to_vec())))), "split at {split}");
            }
            assert_eq!(reader.next(7).await, None, "split at {split}");
        }
    }

    #[tokio::test]
    async fn a_frame_goes_on_with_its_sender_in_it() {
        let said = [header(3, Kind::MESSAGE, 2).as_slice(), b"abc", &header(0, Kind(9), 0)].concat();
        let goes_on = [header(3, Kind::MESSAGE, 7).as_slice(), b"abc"].concat();
        check(&said, &[(Kind::MESSAGE, 2, &goes_on), (Kind(9), 0, &header(0, Kind(9), 7))]).await;
    }

    #[tokio::test]
    async fn what_is_torn_or_too_long_ends_it() {
        check(&[0, 0], &[]).await;
        check(&[header(3, Kind::MESSAGE, 0).as_slice(), b"ab"].concat(), &[]).await;
        check(&header(FRAME_BYTES_MAX + 1, Kind::MESSAGE, 0), &[]).await;
        check(&[0xff; 40], &[]).await;
    }
}
