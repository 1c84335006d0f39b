//! What the guards of a route have found out about a request, for its answer, its tunnel and the log.

use std::rc::Rc;

use crate::net::rates::Held;

/// A part of the record, where a route has guards.
#[derive(Debug, Default)]
pub(crate) struct Guarded {
    /// Its limits have counted it. Another snapshot that decides it anew does not count it again.
    pub(crate) is_counted: bool,
    /// Counted as under way until this is dropped, which is at the end of its tunnel where it becomes one.
    pub(crate) held: Vec<Held>,
    /// It is copied, or was left out. Another snapshot does not copy it again.
    pub(crate) is_copied: bool,
    /// What limits did with it.
    pub(crate) limit: Option<LimitOutcome>,
    /// Who it is, where a password has proved it.
    pub(crate) user: Option<Rc<str>>,
    /// What was said of it by whoever let it pass.
    pub(crate) granted: Option<Rc<Granted>>,
    /// The id of the request, told to its tunnel.
    pub(crate) request_id: Option<Rc<str>>,
    /// Lines of the answer that says why it was refused.
    pub(crate) lines: Vec<(&'static str, String)>,
}

/// What somebody who was asked has said of a request that may pass.
#[derive(Debug)]
pub(crate) struct Granted {
    /// Lines for the node.
    pub(crate) copied: Vec<(String, Vec<u8>)>,
    /// Cookies for the client.
    pub(crate) cookies: Vec<Vec<u8>>,
}

/// What limits did with a request, the weaker first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LimitOutcome {
    /// It would have waited, if that limit were no dry run.
    WouldDelay,
    /// It would have been refused.
    WouldRefuse,
    Delayed,
    Refused,
}

impl LimitOutcome {
    /// In words for the log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::WouldDelay => "would delay",
            Self::WouldRefuse => "would refuse",
            Self::Delayed => "delayed",
            Self::Refused => "refused",
        }
    }

    /// Under what it is counted, beside the faults.
    pub(crate) fn counted_as(self) -> Option<&'static str> {
        match self {
            Self::WouldDelay => Some("would be delayed by a limit in its dry run"),
            Self::WouldRefuse => Some("would be refused by a limit in its dry run"),
            Self::Delayed => Some("delayed by a limit"),
            // A fault says it.
            Self::Refused => None,
        }
    }
}

impl Guarded {
    /// Notes what a limit did; what is stronger stays.
    pub(crate) fn note(&mut self, outcome: LimitOutcome) {
        self.limit = self.limit.max(Some(outcome));
    }
}
