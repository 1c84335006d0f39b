//! What a client is held to in a tunnel: how fast it may speak, and what its route counts for as long as it does. Pure.

use std::rc::Rc;
use std::time::Duration;

use config::limits::Limits;
use tokio::time::Instant;
use wire::frame::Kinds;

use crate::net::rates::Held;
use crate::observe::guarded::Guarded;

/// What its client is held to while it lives.
#[derive(Debug)]
pub(super) struct Bounds {
    rate: Option<Rate>,
    /// What limits of its route count.
    _held: Vec<Held>,
    /// The id of the request that has opened it.
    request_id: Option<Rc<str>>,
}

impl Bounds {
    /// `None` where nothing is bounded, and there is nothing to tell.
    pub(super) fn of(limits: &Limits, guarded: Option<Box<Guarded>>, now: Instant) -> Option<Box<Self>> {
        let rate = Some(limits.messages_per_second_max).filter(|&max| max > 0).map(|max| Rate::new(max, now));
        let (held, request_id) =
            guarded.map(|guarded| (guarded.held, guarded.request_id)).unwrap_or_default();
        (rate.is_some() || !held.is_empty() || request_id.is_some())
            .then(|| Box::new(Self { rate, _held: held, request_id }))
    }

    pub(super) fn request_id(&self) -> Option<Rc<str>> {
        self.request_id.clone()
    }

    pub(super) fn is_exceeded(&mut self, said: Kinds, now: Instant) -> bool {
        self.rate.as_mut().is_some_and(|rate| rate.is_exceeded(said, now))
    }
}

/// How fast the client may speak.
#[derive(Debug)]
struct Rate {
    /// Messages a second.
    max: u32,
    second_begun: Instant,
    before: Kinds,
}

impl Rate {
    fn new(max: u32, now: Instant) -> Self {
        Self { max, second_begun: now, before: Kinds::default() }
    }

    /// Whether `said`, all there ever was, is too much for the second that this moment is in. A message counts
    /// once, however many frames it has. What is no message has bounds of its own, far above what any library
    /// sends.
    fn is_exceeded(&mut self, said: Kinds, now: Instant) -> bool {
        if now.duration_since(self.second_begun) >= Duration::from_secs(1) {
            (self.second_begun, self.before) = (now, said);
        }
        let since = |now: u32, before: u32| now.wrapping_sub(before);
        since(said.messages, self.before.messages) > self.max
            || since(said.controls, self.before.controls) > self.max.saturating_mul(10).max(CONTROLS_MIN)
            || since(said.fragments, self.before.fragments) > self.max.saturating_mul(100).max(FRAGMENTS_MIN)
    }
}

/// What may come in a second beside messages, whatever the limit on those is: pings and pongs, and parts of messages.
const CONTROLS_MIN: u32 = 100;
const FRAGMENTS_MIN: u32 = 10_000;
