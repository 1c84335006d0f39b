//! What waits to be written to one client. Small frames are copied together, so that a burst becomes one write; a long
//! one is shared by all who hear it.

use std::{collections::VecDeque, io, io::IoSlice};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// From here on a frame is shared and not copied.
const SHARED_MIN: usize = 8 << 10;

/// Slices in one write. The kernel takes up to 1,024.
const SLICES_MAX: usize = 64;

#[derive(Default)]
pub(crate) struct Outbox {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    /// Frames in it, for the bound.
    pub(crate) frames: usize,
    /// Nothing follows.
    pub(crate) is_last: bool,
}

impl Outbox {
    pub(crate) fn push(&mut self, frame: &Bytes) {
        self.frames += 1;
        if frame.len() < SHARED_MIN {
            self.tail.extend_from_slice(frame);
            return;
        }
        self.seal();
        self.pieces.push_back(frame.clone());
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.tail.is_empty()
    }

    /// Writes everything and tells `settle` of each part that is gone. Gives memory back to be filled again.
    pub(crate) async fn write(
        mut self,
        writer: &mut (impl AsyncWrite + Unpin),
        mut settle: impl FnMut(usize),
    ) -> io::Result<BytesMut> {
        if self.pieces.is_empty() {
            // As nearly always: one piece, whose memory is used again.
            let is_kept = self.tail.len() <= KEPT_MAX;
            while self.tail.has_remaining() {
                settle(gone(writer.write_buf(&mut self.tail).await?)?);
            }
            return Ok(if is_kept { self.tail } else { BytesMut::new() });
        }
        self.seal();
        while !self.pieces.is_empty() {
            let slices: Vec<IoSlice<'_>> =
                self.pieces.iter().take(SLICES_MAX).map(|piece| IoSlice::new(piece)).collect();
            let written = gone(writer.write_vectored(&slices).await?)?;
            settle(written);
            self.advance(written);
        }
        Ok(BytesMut::new())
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(first) = self.pieces.front_mut() {
            if first.len() > written {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.pieces.pop_front();
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// All of it. What follows goes into `memory`, which an earlier write gave back.
    pub(crate) fn take(&mut self, memory: BytesMut) -> Self {
        let next = Self { tail: memory, is_last: self.is_last, ..Self::default() };
        std::mem::replace(self, next)
    }
}

/// What one client may keep between two bursts.
const KEPT_MAX: usize = 64 << 10;

fn gone(written: usize) -> io::Result<usize> {
    if written == 0 {
        return Err(io::ErrorKind::WriteZero.into());
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::{Outbox, SHARED_MIN};
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, duplex};

    #[tokio::test]
    async fn short_and_long_frames_come_out_in_their_order() {
        let frames = [1, SHARED_MIN, 3, SHARED_MIN - 1, 2 * SHARED_MIN, 7].map(|length| vec![b'a'; length]);
        let mut outbox = Outbox::default();
        let mut expected = Vec::new();
        for (number, mut frame) in frames.into_iter().enumerate() {
            frame.fill(b'a' + number as u8);
            expected.extend_from_slice(&frame);
            outbox.push(&Bytes::from(frame));
        }
        assert_eq!(outbox.frames, 6);
        // Little room in between, so that writes end in the midst of pieces.
        let (mut writer, mut reader) = duplex(1000);
        let written = tokio::spawn(async move {
            let mut settled = 0;
            outbox.write(&mut writer, |bytes| settled += bytes).await.unwrap();
            settled
        });
        let mut heard = Vec::new();
        reader.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, expected);
        assert_eq!(written.await.unwrap(), expected.len());
    }
}
