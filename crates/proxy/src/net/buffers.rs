//! A worker's buffers. Whoever waits holds none; whoever reads borrows one and gives it back.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};

use crate::net::memory::{Ledger, Memory};

/// The buffers that a worker's connections share.
#[derive(Debug)]
pub(crate) struct Buffers {
    free: RefCell<Vec<BytesMut>>,
    bytes: Cell<usize>,
    /// Where heads are printed. It is away only while one is being sent.
    for_heads: RefCell<Vec<u8>>,
    /// Where frames are read to. It is away only while a tunnel looks at its sockets.
    for_frames: RefCell<Vec<u8>>,
    /// What is made here, and what the worker gets otherwise.
    pub(crate) ledger: Ledger,
}

impl Buffers {
    /// Buffers of so many bytes each, and of fewer while `memory` is short.
    pub(crate) fn new(bytes: usize, memory: Arc<Memory>) -> Self {
        Self {
            free: RefCell::new(Vec::with_capacity(FREE_MAX)),
            bytes: Cell::new(bytes),
            for_heads: RefCell::default(),
            for_frames: RefCell::default(),
            ledger: Ledger::new(memory),
        }
    }

    /// The size of one.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Buffers from now on have so many bytes; those under way keep theirs.
    pub(crate) fn resize(&self, bytes: usize) {
        if bytes != self.bytes.replace(bytes) {
            self.free.borrow_mut().clear();
        }
    }

    pub(crate) fn take(&self) -> BytesMut {
        self.free.borrow_mut().pop().unwrap_or_else(|| self.make())
    }

    #[cold]
    fn make(&self) -> BytesMut {
        BytesMut::with_capacity(self.charge_one())
    }

    /// The size of the next one that is made.
    fn charge_one(&self) -> usize {
        let bytes = self.bytes.get();
        let bytes = if self.ledger.is_short() { bytes.min(SMALL) } else { bytes };
        self.ledger.charge(bytes);
        bytes
    }

    /// Lets go of all that nobody has.
    pub(crate) fn forget(&self) {
        self.free.borrow_mut().clear();
        self.for_heads.take();
        self.for_frames.take();
    }

    /// Puts the little that waits for more into a buffer of its own size, and takes the big one back: who sends a head byte
    /// by byte, or a byte of the next request, does not hold as much as who sends a body.
    pub(crate) fn shrink(&self, buffer: &mut BytesMut) {
        if !buffer.is_empty() && buffer.len() <= SMALL / 2 && buffer.capacity() > SMALL {
            let mut small = self.small();
            small.extend_from_slice(buffer);
            self.give(std::mem::replace(buffer, small));
        }
    }

    /// One for what is only kept.
    pub(crate) fn small(&self) -> BytesMut {
        self.ledger.charge(SMALL);
        BytesMut::with_capacity(SMALL)
    }

    /// Makes sure that a read into `buffer` has somewhere to go, without letting it grow beyond its size for as
    /// long as it has room at all.
    pub(crate) fn make_room(&self, buffer: &mut BytesMut) {
        if buffer.capacity() == 0 {
            *buffer = self.take();
        } else if buffer.capacity() == buffer.len() {
            buffer.reserve(self.charge_one());
        }
    }

    pub(crate) fn give_back_if_empty(&self, buffer: &mut BytesMut) {
        if buffer.is_empty() && buffer.capacity() > 0 {
            self.give(std::mem::take(buffer));
        }
    }

    /// Somewhere to print a head.
    pub(crate) fn take_for_head(&self) -> Vec<u8> {
        std::mem::take(&mut *self.for_heads.borrow_mut())
    }

    /// A head was sent.
    pub(crate) fn give_for_head(&self, mut printed: Vec<u8>) {
        if printed.capacity() <= HEAD_KEPT_MAX {
            printed.clear();
            *self.for_heads.borrow_mut() = printed;
        }
    }

    /// Somewhere to read frames to.
    pub(crate) fn take_for_frames(&self) -> Vec<u8> {
        let mut frames = std::mem::take(&mut *self.for_frames.borrow_mut());
        frames.reserve_exact(self.bytes.get());
        frames
    }

    /// What was read has gone on.
    pub(crate) fn give_for_frames(&self, mut frames: Vec<u8>) {
        if frames.capacity() <= self.bytes.get() {
            frames.clear();
            *self.for_frames.borrow_mut() = frames;
        }
    }

    /// Takes a buffer back if it is whole again, that is, if no part that was split off lives on.
    pub(crate) fn give(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut free = self.free.borrow_mut();
        if free.len() < FREE_MAX && buffer.try_reclaim(self.bytes.get()) {
            free.push(buffer);
        }
    }
}

/// What a socket is read into.
pub(crate) trait ReadBuffer: BufMut {
    /// Makes sure that a read has somewhere to go.
    fn make_room(&mut self, buffers: &Buffers);

    /// A read has brought nothing, maybe.
    fn give_back_if_empty(&mut self, buffers: &Buffers);

    /// Whether a read has left no room, so that there may be more to read.
    fn is_full(&self) -> bool;
}

impl ReadBuffer for BytesMut {
    fn make_room(&mut self, buffers: &Buffers) {
        buffers.make_room(self);
    }

    fn give_back_if_empty(&mut self, buffers: &Buffers) {
        buffers.give_back_if_empty(self);
    }

    fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }
}

/// Those that [`Buffers::take_for_frames`] has lent. Who has it gives it back.
impl ReadBuffer for Vec<u8> {
    fn make_room(&mut self, buffers: &Buffers) {
        if self.len() == self.capacity() {
            self.reserve(buffers.bytes());
        }
    }

    fn give_back_if_empty(&mut self, _buffers: &Buffers) {}

    fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }
}

/// Takes so many bytes from the front. A buffer from which all was taken is whole again at once, which it would
/// otherwise only be once it is reclaimed.
pub(crate) fn consume(buffer: &mut BytesMut, taken: usize) {
    if taken == buffer.len() {
        buffer.clear();
    } else {
        buffer.advance(taken);
    }
}

/// Enough for a burst; the rest goes back to the allocator.
const FREE_MAX: usize = 64;
/// In which little waits for more.
pub(crate) const SMALL: usize = 4 << 10;
/// The longest head that comes in, and what we add to it.
const HEAD_KEPT_MAX: usize = 128 * 1024;
