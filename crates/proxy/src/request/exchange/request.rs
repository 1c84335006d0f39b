//! What an exchange is given, and what follows it.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use config::plan::Timeouts;
use config::routing::NodeTimeouts;
use tokio::time::Instant;
use wire::forward::LineEdits;
use wire::request::{RequestBody, RequestHead};

use crate::net::encoder::Encoder;
use crate::request::downstream::ReplySink;
use crate::request::edits::Changed;
use crate::request::exchange::lasting::Lasting;
use crate::request::sticky::SentPin;
use crate::request::upgrade::{OriginEnd, TunnelSession};
use crate::state::local::{Current, Local};
use crate::upstream::Upstream;
use crate::upstream::node::Node;
use crate::upstream::node::counted::InSession;
use crate::upstream::sessions::{Contact, Entering, SessionTable, SessionUse, Use};

/// What stays the same from attempt to attempt.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) reply: &'a ReplySink<'a>,
    pub(crate) upstream: &'a Upstream,
    pub(crate) snapshot: &'a Current,
    pub(crate) worker: &'a Local,
    /// What its route changes, if anything.
    pub(crate) changed: Option<&'a Changed>,
    /// The pin in its cookies.
    pub(crate) sent_pin: SentPin,
    /// How soon the answer must begin while there is another node to ask.
    pub(crate) answer_within: Cell<Option<Duration>>,
}

impl Request<'_> {
    /// Whether the request may be sent again after a node may have got it. Its method must be safe, and it has no
    /// body, since that is not kept.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.head.method().is_safe() && self.head.body() == RequestBody::None
    }

    /// The same for another attempt, whose changes may be other ones.
    pub(crate) fn again(&self) -> Self {
        Self { answer_within: self.answer_within.clone(), ..*self }
    }

    /// Those of its route where it has any, and else its upstream's.
    pub(crate) fn timeouts(&self) -> NodeTimeouts {
        let Timeouts { connect, body, answer, tunnel, .. } = self.upstream.plan.timeouts;
        let own = self.changed.and_then(|changed| changed.timeouts.as_deref().copied());
        own.unwrap_or(NodeTimeouts { connect, body, answer, tunnel })
    }

    /// A reload, or a name that was asked for again, has put other nodes there since the request came.
    pub(crate) fn is_outdated(&self) -> bool {
        !self.worker.is_newest(self.snapshot)
    }
}

/// What an exchange is for, as far as sessions go.
#[derive(Debug)]
pub(crate) enum ExchangeKind {
    /// None, or one that lives and ends with its tunnel.
    Plain { session: Option<TunnelSession> },
    /// Its answer may tell of a new session.
    Handshake { tags: bool, in_session: InSession },
    /// It belongs to one.
    Session(Session),
}

impl ExchangeKind {
    /// Whether this is a poll that is answered here, because its node does not end it.
    pub(super) fn is_overdue_poll(&self) -> bool {
        let Self::Session(Session { registered, .. }) = self else { return false };
        let poll = registered.in_use().filter(|in_use| in_use.how == Use::Poll);
        poll.is_some_and(|in_use| in_use.session_table.is_overdue(&in_use.sid))
    }
}

/// The session that a request belongs to.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) registered: Registered,
    pub(crate) is_tagged: bool,
    /// `pingInterval + pingTimeout`.
    pub(crate) silence: Option<Duration>,
    /// Its client is pinned to the node.
    pub(crate) is_pinned: bool,
}

/// Whether the session table knows a session.
#[derive(Debug)]
pub(crate) enum Registered {
    Known(SessionUse),
    /// Another tidelock may have opened it. It comes in once its node has answered it, and not before.
    NotYet {
        session_table: Arc<SessionTable>,
        sid: Arc<[u8]>,
        how: Use,
    },
}

impl Registered {
    pub(crate) fn in_use(&self) -> Option<&SessionUse> {
        match self {
            Self::Known(in_use) => Some(in_use),
            Self::NotYet { .. } => None,
        }
    }

    /// Its node has answered with `status`, which shows whether there is such a session.
    pub(super) fn answered(
        &mut self,
        status: u16,
        node: &Arc<Node>,
        contact: impl FnOnce() -> Contact,
        now: Instant,
    ) {
        let Self::NotYet { session_table, sid, how } = self else { return };
        if !matches!(status, 101 | 200..=299) {
            return;
        }
        let silence = node.silence_ms().map(Duration::from_millis);
        session_table.enter(Entering { sid, silence, contact: contact() }, node, *how, now);
        *self = Self::Known(SessionUse {
            session_table: session_table.clone(),
            hash: session_table.hashed(sid).hash,
            sid: sid.clone(),
            how: *how,
        });
    }
}

/// What follows an exchange.
#[derive(Debug)]
pub(crate) enum Exchanged {
    KeepAlive,
    Close,
    /// The answer was cut, or there was nobody to give it to: an end with ceremony would make it look whole.
    Cut,
    Upgraded(Box<OriginEnd>),
}

/// What came of a route that asks no node, or not at first.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answered(Exchanged),
    /// There is no such file, and the route has an upstream for that.
    NotHere,
}

/// What the two directions tell each other.
#[derive(Debug)]
pub(super) struct Progress {
    /// What was sent at once has been taken, and more may follow it.
    pub(super) head_sent: bool,
    pub(super) request_sent: Cell<bool>,
    /// The request's body, now whole, held an Engine.IO close packet.
    pub(super) said_close: Cell<bool>,
    pub(super) answered: Cell<bool>,
    pub(super) lasting: Lasting,
}

/// What becomes of an answer that its route would compress.
#[derive(Debug)]
pub(super) enum Compressed {
    Coded(Box<Coded>),
    /// Its client takes no coding, or gets no content; the lines say what another would get.
    Plain(Box<LineEdits>),
}

/// An answer that is compressed.
#[derive(Debug)]
pub(super) struct Coded {
    pub(super) edits: LineEdits,
    pub(super) encoder: Encoder,
}

/// How long this exchange waits for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExchangeTimeouts {
    pub(super) body: Duration,
    pub(super) answer: Duration,
    pub(super) tunnel: Duration,
}

/// How long an answer is waited for: a poll of a session for as long as the session can be silent.
pub(super) fn answer_timeout(request: &Request<'_>, kind: &ExchangeKind) -> Duration {
    let answer = request.timeouts().answer;
    match kind {
        ExchangeKind::Session(session) => answer.max(session.silence.unwrap_or(SILENCE_UNKNOWN) + SLACK),
        ExchangeKind::Handshake { .. } | ExchangeKind::Plain { .. } => {
            request.answer_within.get().map_or(answer, |within| within.min(answer))
        }
    }
}

/// Engine.IO's own, for a session whose handshake another tidelock saw, on a node whose settings are not known yet.
const SILENCE_UNKNOWN: Duration = Duration::from_secs(45);
const SLACK: Duration = Duration::from_secs(5);
