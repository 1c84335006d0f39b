//! What another tidelock has to know of the sessions and nodes of this one, to go on with them.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use wire::engineio::Revision;

use crate::control::proxy::Proxy;
use crate::upstream::Upstream;
use crate::upstream::member::{Member, place_of};
use crate::upstream::node::counted::InSession;
use crate::upstream::sessions::{AddressedAs, Contact, Entering, Passed};

/// An Engine.IO session that polls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedSession {
    /// The name of its upstream.
    pub upstream: String,
    /// The place of its node, which is the same on every tidelock.
    pub node: String,
    /// Its id, as its node gave it.
    pub sid: String,
    /// `pingInterval + pingTimeout`, if it is known.
    pub silence: Option<Duration>,
    /// Its client's address.
    pub client: IpAddr,
    /// Its client speaks TLS.
    pub is_https: bool,
    /// Its client is pinned to the node.
    pub is_pinned: bool,
    /// How it is addressed, if that is known.
    pub address: Option<PassedAddress>,
}

/// How the requests of a session are addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedAddress {
    /// The path.
    pub path: String,
    /// The Host, as the client says it.
    pub host: Option<String>,
    /// The revision of Engine.IO is 4, and not one before.
    pub is_v4: bool,
    /// It polls by JSONP.
    pub jsonp: bool,
}

/// The sessions that come in while another tidelock takes over.
#[derive(Debug)]
pub struct Newcomers {
    proxy: Proxy,
    told: mpsc::Receiver<(String, Passed)>,
}

impl Newcomers {
    /// The next one, as soon as it is there.
    ///
    /// # Cancel safety
    /// Cancel-safe: none is lost.
    pub async fn next(&mut self) -> Option<PassedSession> {
        loop {
            let (upstream, passed) = self.told.recv().await?;
            let snapshot = self.proxy.inner.shared.snapshot.load_full();
            let found = snapshot.upstream(&upstream).and_then(|upstream| place_in(upstream, &passed));
            if let Some(session) = found.and_then(|place| described(&upstream, place, passed)) {
                return Some(session);
            }
        }
    }
}

impl Proxy {
    /// Tells of the sessions that come in from now on, once for a proxy.
    pub fn newcomers(&self) -> Newcomers {
        let (tell, told) = mpsc::channel(NEWCOMERS_MAX);
        for upstream in &self.inner.shared.snapshot.load_full().upstreams {
            upstream.session_table.tell_of_newcomers(&upstream.plan.name, tell.clone());
        }
        Newcomers { proxy: self.clone(), told }
    }

    /// The sessions that poll now, but for those whose ids are no text.
    pub fn polling_sessions(&self) -> Vec<PassedSession> {
        let snapshot = self.inner.shared.snapshot.load_full();
        let mut all = Vec::new();
        for upstream in &snapshot.upstreams {
            for passed in upstream.session_table.polling() {
                if let Some(node) = place_in(upstream, &passed)
                    && let Some(session) = described(&upstream.plan.name, node, passed)
                {
                    all.push(session);
                }
            }
        }
        all
    }

    /// Goes on with sessions of the tidelock before. One whose node is not there is nobody's.
    pub fn enter_sessions(&self, sessions: &[PassedSession]) {
        let snapshot = self.inner.shared.snapshot.load_full();
        let now = Instant::now();
        for upstream in &snapshot.upstreams {
            let places: Vec<_> =
                upstream.members.iter().map(|Member { node, entry, .. }| (place_of(entry), node)).collect();
            for session in sessions.iter().filter(|session| session.upstream == upstream.plan.name) {
                let table = &upstream.session_table;
                // One that was here by itself meanwhile is known better than by what was told.
                let is_known = table.find(session.sid.as_bytes()).is_some();
                let node = places.iter().find(|(place, _)| *place == session.node && !is_known);
                if let Some((_, node)) = node {
                    let addressed = session.address.as_ref().map(|address| AddressedAs {
                        path: address.path.as_bytes(),
                        host: address.host.as_deref().map(str::as_bytes),
                        revision: if address.is_v4 { Revision::V4 } else { Revision::V3 },
                        jsonp: address.jsonp,
                    });
                    let contact = Contact {
                        address: addressed.and_then(|address| table.addressed(address)),
                        client: session.client,
                        is_https: session.is_https,
                        is_pinned: session.is_pinned,
                    };
                    let entering =
                        Entering { sid: session.sid.as_bytes(), silence: session.silence, contact };
                    table.open(entering, InSession::new((*node).clone()), now);
                }
            }
        }
    }

    /// The nodes that somebody has told to drain, as [`Proxy::drain`] finds them.
    pub fn drained_nodes(&self) -> Vec<String> {
        let snapshot = self.inner.shared.snapshot.load();
        let of = |upstream: &Upstream| {
            let drained = upstream.members.iter().filter(|member| member.node.is_draining());
            let drained = drained.filter(|member| member.entry.instance.is_none());
            drained
                .map(|member| format!("{}/{}", upstream.plan.name, member.entry.written))
                .collect::<Vec<_>>()
        };
        snapshot.upstreams.iter().flat_map(of).collect()
    }
}

fn place_in(upstream: &Upstream, passed: &Passed) -> Option<String> {
    let member = upstream.members.iter().find(|member| member.node.number == passed.node.number);
    member.map(|member| place_of(&member.entry))
}

fn described(upstream: &str, node: String, passed: Passed) -> Option<PassedSession> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let Passed { sid, silence, contact: Contact { address, client, is_https, is_pinned }, .. } = passed;
    let address = address.and_then(|address| {
        Some(PassedAddress {
            path: text(&address.path)?,
            host: address.host.as_deref().and_then(text),
            is_v4: address.revision == Revision::V4,
            jsonp: address.jsonp,
        })
    });
    let (sid, upstream) = (text(&sid)?, upstream.to_owned());
    Some(PassedSession { upstream, node, sid, silence, client, is_https, is_pinned, address })
}

/// That are not passed on yet.
const NEWCOMERS_MAX: usize = 4096;
