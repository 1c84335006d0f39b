//! One direction of a tunnel between two pairs of Unix sockets, for the benches: no wire, and no TLS.

use std::future::poll_fn;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use super::direction::Direction;
use super::end::{End, IoBudget, Way};
use crate::net::buffers::Buffers;
use crate::net::memory::Memory;
use crate::net::stream::{Reader, Stream};

/// What passes through it comes out at the other end.
#[derive(Debug)]
pub struct Passing {
    runtime: Runtime,
    client: UnixStream,
    ends: (End, End),
    node: UnixStream,
    direction: Direction,
    buffers: Buffers,
    read: Vec<u8>,
}

impl Passing {
    /// A tunnel through which nothing has passed.
    ///
    /// # Errors
    /// If the system has no sockets.
    pub fn new() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let entered = runtime.enter();
        let (client, source) = UnixStream::pair()?;
        let (sink, node) = UnixStream::pair()?;
        drop(entered);
        let end = |socket| End::InRuntime(Box::new(Reader::new(Stream::Unix(Box::new(socket)))));
        let ends = (end(source), end(sink));
        let (direction, buffers) = (Direction::new(u64::MAX), Buffers::new(BUFFER_BYTES, Memory::new()));
        Ok(Self { runtime, client, ends, node, direction, buffers, read: Vec::with_capacity(BUFFER_BYTES) })
    }

    /// Passes `frames`, which fit into a socket, and waits until they have come out.
    ///
    /// # Errors
    /// If a socket breaks.
    pub fn pass(&mut self, frames: &[u8]) -> io::Result<()> {
        let Self { runtime, client, ends: (source, sink), node, direction, buffers, read } = self;
        runtime.block_on(async {
            client.write_all(frames).await?;
            let passing = poll_fn(|cx| {
                let way = Way { source: &mut *source, sink: &mut *sink };
                direction.poll(cx, way, buffers, &mut IoBudget::new()).map(|_| ())
            });
            let coming_out = async {
                let mut left = frames.len();
                while left > 0 {
                    read.clear();
                    left -= node.read_buf(read).await?;
                }
                Ok(())
            };
            tokio::select! {
                biased;
                () = passing => Err(io::ErrorKind::BrokenPipe.into()),
                done = coming_out => done,
            }
        })
    }
}

/// The default of `limits.buffer_bytes`.
const BUFFER_BYTES: usize = 64 << 10;
