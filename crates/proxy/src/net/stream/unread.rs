//! What the kernel has of a socket that nobody has read.

use std::os::fd::BorrowedFd;

/// Returns whether the kernel has neither bytes nor the end.
pub(super) fn has_nothing_to_read(socket: BorrowedFd<'_>) -> bool {
    peek(socket) == Err(rustix::io::Errno::AGAIN)
}

/// Returns how many of one byte there are to read, leaving it there.
pub(super) fn peek(socket: BorrowedFd<'_>) -> rustix::io::Result<usize> {
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    rustix::net::recv(socket, &mut [0_u8; 1], flags).map(|(received, _)| received)
}
