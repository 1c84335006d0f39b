//! What rests for hours is counted in bytes: thousands of these are alive at once, and most of them are asleep.
//!
//! The bounds are sizes that the allocator has (…, 384, 448, 512, 640, …), so that a byte more costs the way to the next.
//! If one of these tests fails, find out what has grown by `RUSTC_BOOTSTRAP=1 cargo rustc -p tidelock-proxy --lib --
//! -Zprint-type-sizes`, and box what is there only while something moves, or while it ends. `benches/results/history.md` has the
//! bytes of everything that rests.

use std::mem::size_of;

use crate::net::clock::by_clock;
use crate::worker::{connection, idle};
use crate::{tunnel, worker};

/// The bytes of the future that a function returns.
fn future_of<A, B, F: Future>(_: impl FnOnce(A, B) -> F) -> usize {
    size_of::<F>()
}

#[test]
#[cfg(target_pointer_width = "64")]
fn what_rests_is_small() {
    let check = |what, bytes, bytes_max| {
        assert!(
            bytes <= bytes_max,
            "{what} takes {bytes} bytes, {bytes_max} at most; see the head of this file"
        );
    };
    // tokio's own part of a task is 96 bytes beside this, and together they are rounded up to 128, 256, 384, …
    check("a connection's task", future_of(by_clock::<()>), 24);
    check("a tunnel", size_of::<tunnel::TunnelEntry>(), 448);
    check("a tunnel that the runtime looks after", future_of(tunnel::run), 448);
    check("a connection that waits for a request", future_of(worker::serve), 448);
    // Nobody rests with it, but each request has one, and beyond this the allocator takes its slow path.
    check("a request under way", future_of(connection::one_request), 4096);
    // A map has eleven of these in a piece, which is about as often half as full as full.
    check("a parked connection", size_of::<idle::IdleConnection>(), 56);
}
