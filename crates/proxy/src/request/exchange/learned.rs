//! What an answer tells of the session that it belongs to, and of its node, and what is told to both for it.

use config::plan::Balance;
use wire::answer::AnswerHead;
use wire::engineio::{EngineIo, Revision, Sid};

use crate::observe::record::{Record, Sticky};
use crate::request::exchange::download::Download;
use crate::request::exchange::request::{ExchangeKind, Request, Session};
use crate::upstream::sessions::{AddressedAs, Contact, Use};

impl<'a> Download<'a> {
    /// A session that was not known comes in by the answer of its node.
    pub(super) fn learn_session(&mut self, status: u16) {
        let now = self.reply().now();
        let contact = || contact_of(self.request, self.record);
        if let ExchangeKind::Session(session) = &mut self.kind {
            session.registered.answered(status, self.origin.node, contact, now);
        }
    }

    pub(super) fn contact(&self) -> Contact {
        contact_of(self.request, self.record)
    }

    /// How long the node took to answer with `status`. What all workers write is told only where it decides something: they fight over it.
    pub(super) fn learn_latency(&mut self, status: u16) {
        let now = self.reply().now();
        let answered_after = now.duration_since(self.record.begun);
        self.record.answered_after = Some(answered_after);
        // Mostly a request is sent before its task sleeps, and then the clock stood still.
        let taken = match self.sent == self.record.begun {
            true => answered_after,
            false => now.duration_since(self.sent),
        };
        let Request { head, upstream, worker, .. } = self.request;
        // A poll waits for news, not for the node.
        let is_poll = head.engine_io().is_some_and(|engine_io| engine_io.sid != Sid::None);
        let node = &self.origin.node;
        node.answers.count(worker.as_one_of(now), status, (!is_poll).then_some(taken));
        if upstream.plan.balance == Balance::PeakEwma && !is_poll {
            node.latency.observe(taken, now);
        }
    }

    /// What is put behind the answer to a poll whose session was closed on its node meanwhile: the close packet
    /// that the node has no poll left to send. A coded answer cannot be added to; the next poll is told then.
    pub(super) fn close_packet(&self, head: &AnswerHead) -> Option<&'static [u8]> {
        let engine_io = self.request.head.engine_io()?;
        let may_add =
            self.is_leaving() && head.status() == 200 && !engine_io.jsonp && !head.is_content_coded();
        match engine_io.revision {
            Revision::V4 if may_add => Some(b"\x1e1"),
            Revision::V3 if may_add && !head.is_binary() => Some(b"1:1"),
            Revision::V4 | Revision::V3 => None,
        }
    }

    /// Whether this is a poll of a session that is being closed by a drain.
    pub(super) fn is_leaving(&self) -> bool {
        match &self.kind {
            ExchangeKind::Session(Session { registered, .. }) => registered.in_use().is_some_and(|in_use| {
                in_use.how == Use::Poll && in_use.session_table.is_leaving(&in_use.sid)
            }),
            ExchangeKind::Plain { .. } | ExchangeKind::Handshake { .. } => false,
        }
    }

    /// The session is over: its client, its node, or a drain has said so. Told to the session table before the client
    /// hears of it, where that can be: the client's next handshake may come in on another worker at once.
    pub(super) fn close_session(&self) {
        if let ExchangeKind::Session(session) = &self.kind
            && let Some(in_use) = session.registered.in_use()
        {
            in_use.session_table.close(&in_use.sid);
        }
    }
}

/// Who the client is and how its requests are addressed, for whoever has to speak in its place.
fn contact_of(request: &Request<'_>, record: &Record) -> Contact {
    let Request { head, upstream, reply, changed, .. } = *request;
    let addressed = |engine_io: &EngineIo| AddressedAs {
        path: head.sent_path_bytes(),
        host: changed.and_then(|changed| changed.host.as_deref()).map(str::as_bytes).or(head.host_bytes()),
        revision: engine_io.revision,
        jsonp: engine_io.jsonp,
    };
    let address =
        head.engine_io().and_then(|engine_io| upstream.session_table.addressed(addressed(engine_io)));
    Contact {
        address,
        client: record.client,
        is_https: reply.arrival().end.is_https(head),
        is_pinned: record.sticky == Sticky::Cookie,
    }
}
