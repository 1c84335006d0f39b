//! How much a task may move before others have their turn.

use std::task::{Context, Poll, Waker};

use tokio::task::coop::{has_budget_remaining, poll_proceed};

/// Takes what moving so many bytes is worth from what this task may do before others have their turn: tokio counts steps,
/// 128 of them, however long each takes.
pub(crate) fn spend(cx: &mut Context<'_>, bytes: usize) {
    for _ in 0..=bytes / STEP_BYTES {
        if !has_budget_remaining() {
            return;
        }
        if let Poll::Ready(budget) = poll_proceed(cx) {
            budget.made_progress();
        }
    }
}

/// The same for a walk over a great many pieces of next to no bytes. Nobody is woken for it: the next read is told.
pub(crate) fn spend_on_pieces(pieces: usize) {
    if pieces > FEW_PIECES {
        spend(&mut Context::from_waker(Waker::noop()), pieces * PIECE_BYTES);
    }
}

/// One of tokio's steps: a turn is 64 KiB.
const STEP_BYTES: usize = 512;
/// What a piece of a body takes, as if it were so many bytes: a chunk of one byte has two, and a turn a thousand of those, which
/// is one read. Bodies of chunks as they usually are have few in one read.
const PIECE_BYTES: usize = 32;
pub(super) const FEW_PIECES: usize = 32;
