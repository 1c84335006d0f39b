//! Who ended a tunnel, and how: what its record says.

use std::time::Duration;

use super::{SLACK, Stage, Tunnel};
use crate::observe::record::EndedBy;

impl Tunnel {
    /// Somebody wants the end, and it is remembered who was the first. A node that gives up on a client from which
    /// nothing has come for as long as a ping may take has not been the first.
    pub(super) fn end_first(&mut self, by: EndedBy) {
        let (Stage::Open | Stage::Ordered(_), None) = (&self.stage, self.ended_first) else { return };
        let is_missing = by == EndedBy::Origin && self.is_client_missing();
        self.ended_first = Some(if is_missing { EndedBy::ClientSilent } else { by });
    }

    /// Whether a client that has pings to answer, or to send, has said nothing for so long that its node gives it
    /// up.
    pub(super) fn is_client_missing(&self) -> bool {
        let silence = Duration::from_millis(self.idle_ms.into()).saturating_sub(SLACK);
        // Its last word came a while after the ping that it answers.
        self.has_pings && self.alarm.now().duration_since(self.client_spoke) >= silence / 8 * 7
    }

    pub(super) fn ended_by(&self) -> EndedBy {
        match (&self.stage, self.ended_first) {
            (_, Some(by)) => by,
            (Stage::Closing(closing), None) => EndedBy::Us(closing.reason),
            (Stage::Open | Stage::Ordered(_), None) => EndedBy::Client,
        }
    }

    /// Nothing moves any more: by whose fault.
    pub(super) fn who_is_silent(&self) -> EndedBy {
        if let Some(by) = self.ended_first {
            return by;
        }
        match (self.to_origin.is_stuck(), self.to_client.is_stuck()) {
            (true, true) => EndedBy::Idle,
            (true, false) => EndedBy::OriginSilent,
            (false, true) => EndedBy::ClientSilent,
            (false, false) if !self.has_pings => EndedBy::Idle,
            // Who has spoken last waits for the other one's word.
            (false, false) if self.client_spoke == self.last_moved => EndedBy::OriginSilent,
            (false, false) => EndedBy::ClientSilent,
        }
    }

    /// The code that ended it: ours, or that of whoever said Close.
    pub(super) fn close_code(&self, ended_by: EndedBy) -> Option<u16> {
        match ended_by {
            EndedBy::Us(reason) => Some(reason.code()),
            EndedBy::Origin | EndedBy::OriginSilent => {
                self.to_client.close_code().or(self.to_origin.close_code())
            }
            EndedBy::Client | EndedBy::ClientSilent | EndedBy::Idle => {
                self.to_origin.close_code().or(self.to_client.close_code())
            }
        }
    }
}
