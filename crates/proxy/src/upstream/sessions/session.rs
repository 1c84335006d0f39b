//! One session, and how it is on its way out.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::address::Address;
use crate::upstream::node::Node;
use crate::upstream::node::counted::{InSession, Overdue};

/// One session. There may be a million, and sweeping looks at each, so that it is kept small.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) sid: Box<[u8]>,
    pub(super) node: Arc<Node>,
    pub(super) links: Links,
    /// Counts it on its node, until it is closed there.
    pub(super) counted: Option<InSession>,
    pub(super) last_seen_us: u64,
    /// When it was first met.
    pub(super) since_us: u64,
    /// `pingInterval + pingTimeout`; 0 until it is known.
    pub(super) silence_ms: u32,
    pub(super) polls: u32,
    pub(super) posts: u32,
    pub(super) tunnels: u32,
    /// When its last POST has ended, in milliseconds since the session table began ([`wrapped_ms`]); 0 if there was none.
    pub(super) posted_ms: u32,
    pub(super) stage: Stage,
    /// Whether a poll has ended since its last POST began, which may have brought what was asked for.
    pub(super) has_fetched: bool,
    /// Whether it was used since its handshake.
    pub(super) was_used: bool,
    /// Whether it polls no more: a tunnel carries it.
    pub(super) has_come_over: bool,
    /// What closing it politely needs.
    pub(super) contact: Contact,
    /// The task of its poll that is under way.
    pub(super) poller: Option<Waker>,
    /// Its poll should have ended, and has not: it is answered here.
    pub(super) overdue: Option<Overdue>,
}

/// Who the client of a session is, and how its node is told of it.
#[derive(Debug, Clone)]
pub(crate) struct Contact {
    /// `None` where there are too many to remember.
    pub(crate) address: Option<Arc<Address>>,
    pub(crate) client: IpAddr,
    pub(crate) is_https: bool,
    /// Its client is pinned to the node, and would come back to it.
    pub(crate) is_pinned: bool,
}

/// How a session is being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Poll,
    Post,
    Tunnel,
}

/// What a request learns of its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begun {
    /// It goes on.
    Open {
        /// `pingInterval + pingTimeout`, once known.
        silence: Option<Duration>,
        /// See [`Contact::is_pinned`].
        is_pinned: bool,
    },
    /// It is closed on its node. The client must be told, not the node.
    Leaving,
    /// Nobody knows it here. It may be another tidelock's.
    Unknown,
}

/// Whether a session can be closed politely at this moment.
#[derive(Debug, Clone)]
pub(crate) enum Closing {
    /// It can, and from now on no request of it reaches the node.
    Now(Contact),
    /// A POST of its client is under way, and two at once would be an error; or one has just ended, and what it asked may not
    /// have been answered.
    Busy,
    /// It is over, or a tunnel carries it.
    Never,
}

/// At which moment of its client's conversation a session may be closed. What the client says after that and before it
/// hears of the close is lost, and so is what the node says while no poll waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It has just been answered. Whoever talks every now and then is silent for longest from here on.
    Answered,
    /// What it has just said has had the time to be answered, and a poll waits.
    Quiet,
    /// None of its POSTs is under way.
    Any,
}

/// A session's neighbours among those of its node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Links {
    pub(super) before: Option<u32>,
    pub(super) after: Option<u32>,
}

/// How far a session is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    /// It has a slot in a drain.
    Scheduled,
    /// It is being closed on its node, or is closed there; its client will be told by its next poll.
    Leaving,
}

impl Session {
    pub(super) fn new(
        sid: &[u8],
        in_session: InSession,
        silence: Option<Duration>,
        contact: Contact,
        now_us: u64,
    ) -> Self {
        let silence_ms = silence.map_or(0, |silence| u32::try_from(silence.as_millis()).unwrap_or(u32::MAX));
        Self {
            sid: sid.into(),
            node: in_session.node().clone(),
            links: Links::default(),
            counted: Some(in_session),
            silence_ms,
            last_seen_us: now_us,
            since_us: now_us,
            polls: 0,
            posts: 0,
            tunnels: 0,
            posted_ms: 0,
            stage: Stage::Open,
            has_fetched: false,
            was_used: false,
            has_come_over: false,
            contact,
            poller: None,
            overdue: None,
        }
    }

    pub(super) fn silence(&self) -> Option<Duration> {
        (self.silence_ms > 0).then(|| Duration::from_millis(u64::from(self.silence_ms)))
    }

    /// A request or a tunnel of it begins.
    pub(super) fn begin(&mut self, how: Use, now_us: u64) -> Begun {
        self.last_seen_us = now_us;
        self.was_used = true;
        if how == Use::Post {
            self.has_fetched = false;
        }
        *self.uses(how) += 1;
        match self.stage {
            Stage::Open | Stage::Scheduled => {
                Begun::Open { silence: self.silence(), is_pinned: self.contact.is_pinned }
            }
            Stage::Leaving => Begun::Leaving,
        }
    }

    /// Whether it has been silent for longer than a living one can be.
    pub(super) fn is_over(&self, now_us: u64) -> bool {
        let silence_ms = if self.silence_ms > 0 { self.silence_ms } else { SILENCE_DEFAULT_MS };
        let timeout_us = (u64::from(silence_ms) + SLACK_MS) * 1000;
        self.is_unused() && now_us >= self.last_seen_us + timeout_us
    }

    /// `may_tell` says whether an address is one that sessions are opened at.
    pub(super) fn begin_close(
        &mut self,
        may_tell: impl Fn(&Address) -> bool,
        moment: Moment,
        now_us: u64,
    ) -> Closing {
        if self.tunnels > 0 {
            // Once it has failed, if it was a probe, the session is scheduled again.
            self.stage = Stage::Open;
            return Closing::Never;
        }
        match &self.contact.address {
            Some(_) if !self.is_at(moment, now_us) => Closing::Busy,
            Some(address) if self.stage == Stage::Scheduled && may_tell(address) => {
                self.stage = Stage::Leaving;
                Closing::Now(self.contact.clone())
            }
            Some(_) | None => Closing::Never,
        }
    }

    /// Two POSTs at once are an error to Engine.IO, so that one of its own rules out every moment.
    fn is_at(&self, moment: Moment, now_us: u64) -> bool {
        let hears = self.polls > 0 || now_us.saturating_sub(self.last_seen_us) >= BETWEEN_POLLS_MAX_MS * 1000;
        let silent_ms = self.silent_ms(now_us);
        self.posts == 0
            && match moment {
                Moment::Any => true,
                Moment::Quiet => hears && silent_ms >= QUIET_MS,
                Moment::Answered => {
                    let since = if self.has_fetched { QUIET_MS } else { ANSWERED_WITHIN_MS };
                    hears && (since..since + ANSWERED_FOR_MS).contains(&silent_ms)
                }
            }
    }

    /// Whether its client has said something within `ms`.
    pub(super) fn has_talked_within(&self, ms: u64, now_us: u64) -> bool {
        self.posts > 0 || self.silent_ms(now_us) < ms
    }

    /// How long ago its last POST has ended. One of seven weeks ago counts as new, which costs a close a moment's
    /// wait.
    fn silent_ms(&self, now_us: u64) -> u64 {
        match self.posted_ms {
            0 => u64::MAX,
            posted_ms => wrapped_ms(now_us).wrapping_sub(posted_ms).into(),
        }
    }

    pub(super) fn uses(&mut self, how: Use) -> &mut u32 {
        match how {
            Use::Poll => &mut self.polls,
            Use::Post => &mut self.posts,
            Use::Tunnel => &mut self.tunnels,
        }
    }

    /// Whether a drain could close it, and has not been asked to.
    pub(super) fn polls_openly(&self) -> bool {
        self.tunnels == 0 && self.stage == Stage::Open && self.contact.address.is_some()
    }

    pub(super) fn is_unused(&self) -> bool {
        self.polls == 0 && self.posts == 0 && self.tunnels == 0
    }
}

/// Milliseconds, the last 32 bits of them.
pub(super) fn wrapped_ms(us: u64) -> u32 {
    (us / 1000) as u32
}

/// Engine.IO's own defaults, `25 s + 20 s`, for sessions whose handshake another tidelock saw.
const SILENCE_DEFAULT_MS: u32 = 45_000;
/// The network's share of a silence.
pub(super) const SLACK_MS: u64 = 5_000;
/// Most apps answer a message sooner than this after its POST.
const QUIET_MS: u64 = 100;
/// An app that has not answered within this time after a POST has nothing to say to it, or takes long.
const ANSWERED_WITHIN_MS: u64 = 300;
/// A client that was answered is as good as told to go for so long.
const ANSWERED_FOR_MS: u64 = 150;
/// A client is back with its next poll within this time, or it is not there.
const BETWEEN_POLLS_MAX_MS: u64 = 250;
