//! What a machine is on its way to: what somebody waits for, and the roll under way.

use tokio::time::Instant;

use super::slot::Spec;

/// Something that somebody waits for.
#[derive(Debug)]
pub(super) struct Goal {
    pub(super) ticket: u64,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// All slots, or one, have a ready instance of a later generation than this, and nothing leaves there.
    Up { after: u64, only: Option<u32> },
    /// Nothing runs.
    Down,
    /// As many run as are wanted.
    Scaled,
    /// The roll to this revision has ended, and as many run as are wanted.
    Rolled { revision: u64 },
    /// There is nothing to be done.
    Done,
    /// It cannot be done, and nothing was changed.
    Impossible(&'static str),
}

/// All instances are being replaced by ones of a new revision.
#[derive(Debug)]
pub(super) struct Roll {
    pub(super) revision: u64,
    /// What the app is again if not one of the new revision gets ready.
    pub(super) before: Spec,
    /// One has got ready.
    pub(super) is_proven: bool,
    /// The end of its budget, if it has one.
    pub(super) until: Option<Instant>,
}
