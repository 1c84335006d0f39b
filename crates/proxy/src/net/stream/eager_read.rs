//! Reads from a connection when it is accepted, where those before it came with their first request.

use std::cell::Cell;
use std::net::TcpStream;

use bytes::BytesMut;
use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::RecvFlags;

use crate::net::buffers::{Buffers, ReadBuffer};
use crate::net::stream::duplex::Io;
use crate::net::stream::socket::Stream;

/// Whether connections come with their first request, as far as those that came lately tell. A look in vain costs a system
/// call, and where clients are far away most would be.
#[derive(Debug, Default)]
pub(crate) struct EagerRead {
    /// Looks in vain that there may be yet before there is not one for each connection.
    credit: Cell<u8>,
    /// Counts connections, round and round.
    count: Cell<u8>,
}

impl EagerRead {
    /// A connection that was just accepted, with what its client has said by now; `None` if it has left already.
    pub(crate) fn try_first_read(&self, tcp: TcpStream, buffers: &Buffers) -> Option<(Io, BytesMut)> {
        let count = self.count.replace(self.count.get().wrapping_add(1));
        let credit = self.credit.get();
        if credit == 0 && !count.is_multiple_of(LOOKS_EVERY) {
            return Some((known(tcp)?, BytesMut::new()));
        }
        let mut said = buffers.take_for_frames();
        let received = rustix::net::recv(&tcp, spare_capacity(&mut said), RecvFlags::DONTWAIT);
        let mut inbound = BytesMut::new();
        let io = match received {
            Ok((1.., _)) => {
                self.credit.set(CREDIT_MAX);
                buffers.make_room(&mut inbound);
                inbound.extend_from_slice(&said);
                // What has filled the buffer may not be all.
                if said.is_full() { known(tcp) } else { Some(Io::unregistered(tcp)) }
            }
            Err(Errno::AGAIN) => {
                self.credit.set(credit.saturating_sub(1));
                known(tcp)
            }
            Ok((0, _)) | Err(_) => None,
        };
        buffers.give_for_frames(said);
        Some((io?, inbound))
    }
}

/// One that the runtime knows of.
fn known(tcp: TcpStream) -> Option<Io> {
    Some(Io::new(Stream::Plain(tokio::net::TcpStream::from_std(tcp).ok()?)))
}

const CREDIT_MAX: u8 = 8;
const LOOKS_EVERY: u8 = 16;

#[cfg(test)]
mod tests {
    use crate::net::memory::Memory;
    use std::io::Write;
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// Connections to itself.
    struct Both(TcpListener);

    impl Both {
        /// One whose client has said so much by now, heard; and the client.
        fn try_first_read(&self, eager_read: &EagerRead, said: &[u8]) -> (Option<(Io, BytesMut)>, TcpStream) {
            let mut client = TcpStream::connect(self.0.local_addr().unwrap()).unwrap();
            client.write_all(said).unwrap();
            let (tcp, _) = self.0.accept().unwrap();
            if !said.is_empty() {
                until_readable(&tcp);
            }
            tcp.set_nonblocking(true).unwrap();
            (eager_read.try_first_read(tcp, &Buffers::new(64, Memory::new())), client)
        }
    }

    /// What was sent may take the kernel a moment, also to itself.
    fn until_readable(socket: impl AsFd) {
        let mut polled = [PollFd::new(&socket, PollFlags::IN)];
        let timeout = Timespec { tv_sec: 30, tv_nsec: 0 };
        assert_eq!(poll(&mut polled, Some(&timeout)), Ok(1), "nothing comes");
    }

    fn both() -> Both {
        Both(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    #[tokio::test]
    async fn the_runtime_is_not_told_of_one_that_has_said_all() {
        let (both, eager_read) = (both(), EagerRead::default());
        let (heard, _client) = both.try_first_read(&eager_read, b"GET /");
        let (io, inbound) = heard.unwrap();
        assert!(!io.is_registered());
        assert_eq!(&*inbound, b"GET /");
        // It fills the buffer, and there is more.
        let (heard, _client) = both.try_first_read(&eager_read, &[b'x'; 65]);
        let (io, inbound) = heard.unwrap();
        assert!(io.is_registered());
        assert_eq!(inbound.len(), 64);
    }

    #[tokio::test]
    async fn who_has_said_more_is_not_quiet() {
        let (heard, mut client) = both().try_first_read(&EagerRead::default(), b"GET /");
        let (io, _) = heard.unwrap();
        assert!(io.is_quiet());
        client.write_all(b"\r\n").unwrap();
        while io.is_quiet_for_sure() {
            std::thread::yield_now();
        }
        assert!(!io.is_quiet());
    }

    #[tokio::test]
    async fn who_left_without_a_word_is_let_go() {
        let (both, eager_read) = (both(), EagerRead::default());
        let client = TcpStream::connect(both.0.local_addr().unwrap()).unwrap();
        let (tcp, _) = both.0.accept().unwrap();
        drop(client);
        until_readable(&tcp);
        assert!(eager_read.try_first_read(tcp, &Buffers::new(64, Memory::new())).is_none());
    }

    #[tokio::test]
    async fn where_clients_are_slow_few_are_asked() {
        let (both, eager_read) = (both(), EagerRead::default());
        drop(both.try_first_read(&eager_read, b"GET /"));
        for _ in 0..CREDIT_MAX {
            drop(both.try_first_read(&eager_read, b""));
        }
        let mut asked = 0;
        for _ in 0..4 * usize::from(LOOKS_EVERY) {
            // Those that are asked in vain count, too, so that all of them say something, and none is believed.
            let (heard, _client) = both.try_first_read(&eager_read, b"GET /");
            asked += usize::from(!heard.unwrap().0.is_registered());
            eager_read.credit.set(0);
        }
        assert_eq!(asked, 4);
    }
}
