//! What the kernel has of a socket that nobody has read.

use std::os::fd::BorrowedFd;

/// Asks the kernel: there are neither bytes nor the end of the stream.
pub(super) fn has_nothing_to_read(socket: BorrowedFd<'_>) -> bool {
    peek(socket) == Err(rustix::io::Errno::AGAIN)
}

/// Looks at the first byte and leaves it there: 1, or 0 at the end of the stream.
pub(super) fn peek(socket: BorrowedFd<'_>) -> rustix::io::Result<usize> {
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    rustix::net::recv(socket, &mut [0_u8; 1], flags).map(|(received, _)| received)
}
