//! Leaving: who is told, who is waited for, and until when. Every connection and every tunnel holds a [`Live`] from
//! its accept to its end, so that none is forgotten.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use config::limits::Limits;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::net::places::{ClientKey, Place, Refused};
use crate::observe::counters::Counters;

/// Where the process is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    /// No connection is accepted any more; what runs may finish until then.
    Leaving {
        until: Instant,
    },
}

/// Told once, heard by all.
#[derive(Debug)]
pub(crate) struct Drain {
    phase: watch::Sender<Phase>,
    /// The same for those who only want to know, not to wait.
    is_leaving: AtomicBool,
    /// It will leave, and those who ask whether it is ready are told so first.
    is_announced: AtomicBool,
}

impl Drain {
    pub(crate) fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Serving),
            is_leaving: AtomicBool::new(false),
            is_announced: AtomicBool::new(false),
        }
    }

    /// Starts to leave; again, it moves the deadline.
    pub(crate) fn leave(&self, until: Instant) {
        self.is_leaving.store(true, Relaxed);
        self.phase.send_replace(Phase::Leaving { until });
    }

    /// From now on it is not ready any more. Everything is served as before.
    pub(crate) fn announce(&self) {
        self.is_announced.store(true, Relaxed);
    }

    /// Whether a balancer in front should send clients here.
    pub(crate) fn is_welcoming(&self) -> bool {
        !self.is_announced.load(Relaxed) && !self.is_leaving()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Relaxed)
    }

    pub(crate) fn listen(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}

/// One client connection, or the tunnel it became, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Live {
    counters: Arc<Counters>,
    place: Place,
}

impl Live {
    /// Counted for the worker whose counters these are, from the moment it is chosen.
    pub(crate) fn new(counters: Arc<Counters>, place: Place) -> Self {
        counters.connections.fetch_add(1, Relaxed);
        counters.live.fetch_add(1, Relaxed);
        Self { counters, place }
    }

    /// It is this client's, which was not known when it came in. It counts as one of that client's, if that may have it.
    pub(crate) fn is_of(&mut self, client: ClientKey, limits: &Limits) -> Result<(), Refused> {
        self.place.is_of(client, limits)
    }

    /// The place that it has.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

/// By what a connection lives: itself, or the connection of HTTP/2 that it is a stream of.
#[derive(Debug)]
pub(crate) enum Lives {
    Alone(Live),
    OnAStream(#[expect(dead_code, reason = "held until it is dropped")] Rc<Live>),
}

impl Drop for Live {
    fn drop(&mut self) {
        self.counters.live.fetch_sub(1, Relaxed);
        self.counters.ended.notify_one();
    }
}
