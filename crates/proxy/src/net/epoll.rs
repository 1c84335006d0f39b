//! An epoll of our own inside of the runtime's: parked connections and plain tunnels are watched by one each.

use std::io;
use std::os::fd::BorrowedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// An epoll is readable when something that it watches is.
#[expect(
    deprecated,
    reason = "unsound for types whose file can change under it, which a BorrowedFd's cannot"
)]
pub(crate) fn watch(epoll: BorrowedFd<'_>) -> io::Result<AsyncFd<BorrowedFd<'_>>> {
    AsyncFd::with_interest(epoll, Interest::READABLE)
}
