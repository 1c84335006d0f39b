//! When there is something to do for a tunnel though no byte moves: it is left, it is stuck, it has not upgraded in time.

use std::time::Duration;

use tokio::time::Instant;

use super::{HALF_CLOSED, Ordered, Stage, Tunnel};
use crate::observe::record::EndedBy;
use crate::request::upgrade::TunnelSession;
use crate::upstream::close_signal::{CloseOrder, CloseReason};

impl Tunnel {
    /// Its next deadline: what has to be done then even if no byte moves.
    pub(super) fn wakes_at(&mut self) -> Instant {
        let idle = match self.is_to_look() {
            true => self.idle_at().min(self.alarm.now() + LOOK_AGAIN),
            false => self.idle_at(),
        };
        match &self.stage {
            Stage::Open => idle,
            Stage::Ordered(told) => idle.min(told.order.at),
            Stage::Closing(closing) => idle.min(closing.until),
        }
    }

    /// When the tunnel ends for want of life: it has been left, or one end has taken nothing of what there is for
    /// it for too long.
    pub(super) fn idle_at(&mut self) -> Instant {
        let now = self.alarm.now();
        let stuck = [self.to_origin.stuck_since(now), self.to_client.stuck_since(now)];
        let stuck = stuck.into_iter().flatten().min();
        let idle = Duration::from_millis(self.idle_ms.into());
        let left = self.last_moved
            + match self.is_half_closed {
                false => idle,
                true if stuck.is_some() => idle.min(STUCK_ALONE),
                true => idle.min(HALF_CLOSED),
            };
        stuck.map_or(left, |since| left.min(since + STUCK))
    }

    /// Whether an end has to be asked now and then if it has left, since nobody tells.
    pub(super) fn is_to_look(&self) -> bool {
        !self.is_half_closed
            && ((self.to_origin.is_stuck() && self.client.ends_untold())
                || (self.to_client.is_stuck() && self.origin.ends_untold()))
    }

    /// Does what is due. Says who ended the tunnel, if its time is up.
    pub(super) fn time_has_come(&mut self, now: Instant) -> Option<EndedBy> {
        let idle_at = self.idle_at();
        match &self.stage {
            Stage::Ordered(told) if now >= told.order.at => {
                let Ordered { order, age } = **told;
                if let Some(at) = self.upgrading_until(now).filter(|_| now < order.until) {
                    self.stage = Stage::Ordered(Box::new(Ordered {
                        order: CloseOrder { at: at.min(order.until), ..order },
                        age,
                    }));
                } else if order.reason == CloseReason::Restart && !self.signal.node().is_draining() {
                    self.stage = age.map_or(Stage::Open, Stage::aging);
                    self.signal.stays();
                } else {
                    self.say_close_at_turn(order);
                }
                None
            }
            Stage::Closing(closing) if now >= closing.until => {
                let reason = closing.reason;
                // What a message's end was waited for is said at a frame's, or not at all.
                self.to_client.say_close(reason, true);
                self.to_origin.say_close(reason, true);
                Some(self.ended_first.unwrap_or(EndedBy::Us(reason)))
            }
            Stage::Open | Stage::Ordered(_) | Stage::Closing(_) if now >= idle_at => {
                Some(self.who_is_silent())
            }
            Stage::Open | Stage::Ordered(_) | Stage::Closing(_) => None,
        }
    }

    /// When to look again, while a session that has polled is on its way to this tunnel. The client is about to
    /// stop polling, or has just done so: if its tunnel ended now it would be deaf until a ping times out, and what
    /// it has kept for the tunnel has not been said.
    pub(super) fn upgrading_until(&self, now: Instant) -> Option<Instant> {
        let Some(TunnelSession::Registered { .. }) = &self.session else { return None };
        let age = now.saturating_duration_since(self.begun);
        let is_under_way = match self.to_origin.frames() {
            // A probe, and then the upgrade.
            0 | 1 => age < UPGRADES_WITHIN,
            _ => age < SETTLES_WITHIN && now < self.client_spoke + UPGRADE_STEP,
        };
        is_under_way.then(|| now + UPGRADE_STEP)
    }
}

/// After so long Engine.IO gives up an upgrade (`upgradeTimeout`).
const UPGRADES_WITHIN: Duration = Duration::from_secs(10);
/// A client that has just upgraded says what it has kept meanwhile, and hears the answers; but not for ever.
const SETTLES_WITHIN: Duration = Duration::from_secs(1);
const UPGRADE_STEP: Duration = Duration::from_millis(100);
/// The same if the other takes nothing of what there is for it: nobody waits for it any more.
const STUCK_ALONE: Duration = Duration::from_secs(10);
/// How long an end may take nothing of what there is for it. An end that has left behind much that was not read cannot say
/// so: its FIN waits behind that. nginx has the same 60 s (`proxy_send_timeout`, `send_timeout`).
const STUCK: Duration = Duration::from_secs(60);
/// How often an end is asked whether it has left, while nothing is read from it.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
