//! What the benches look at: the steps of a request by themselves. The product uses nothing of it, and it promises nothing
//! to anybody.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use config::plan::{NodeSpec, Plan};
use config::roster::{Roster, RosterNode};
use tokio::time::Instant;
use wire::request::RequestHead;

use crate::request::sticky::{self, Affinity, SentPin};
use crate::state::shared::Snapshot;
use crate::upstream::balance::Cursor;
use crate::upstream::member::Member;
use crate::upstream::node::counted::InSession;
use crate::upstream::sessions::{Contact, Entering, Use};
use crate::upstream::{NodeQuery, Upstream};

pub use crate::tunnel::bench::Passing;

/// A plan as the workers see it, with every node that it writes as an address.
#[derive(Debug)]
pub struct Site {
    snapshot: Snapshot,
    cursor: Cursor,
}

impl Site {
    /// As it is just after the start.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let node = |spec: &NodeSpec| -> Option<RosterNode> {
            let NodeSpec { written, weight, backup, bounds, .. } = spec.clone();
            let address: SocketAddr = written.parse().ok()?;
            Some(RosterNode {
                written,
                address: address.into(),
                tls_name: None,
                instance: None,
                weight,
                backup,
                bounds,
            })
        };
        let roster = |upstream: &Arc<config::plan::Upstream>| Roster {
            nodes: upstream.nodes.iter().filter_map(node).collect(),
            is_stopped: false,
        };
        let rosters: Vec<_> = plan.upstreams.iter().map(roster).collect();
        let snapshot = Snapshot::new(Arc::new(plan), Default::default()).with_rosters(&rosters);
        // The same dice each time, or the counts would differ.
        Self { snapshot, cursor: Cursor::new(fastrand::Rng::with_seed(1)) }
    }

    /// Whether some upstream answers `head` when it comes to port 80.
    #[must_use]
    pub fn route(&self, head: &RequestHead) -> bool {
        self.snapshot.route(head, 80).is_ok()
    }

    /// Finds the place of `head` and, if that is no session's, a node. Whether there is one; what it would carry is over
    /// at once.
    #[must_use]
    pub fn place(&self, head: &RequestHead, now: Instant) -> bool {
        let upstream = self.upstream();
        let asked = |preference| NodeQuery { preference, tried: &[], now };
        match sticky::affinity(head, SentPin::read(head, upstream), upstream, CLIENT) {
            Affinity::Session(_) => true,
            Affinity::NewSession(_, preference) => upstream.claim_session(asked(preference)).is_ok(),
            Affinity::Any(preference) => upstream.choose(asked(preference), &self.cursor).is_ok(),
            Affinity::Unknown => false,
        }
    }

    /// Opens sessions of these numbers.
    ///
    /// # Panics
    /// If there is no node.
    pub fn open_sessions(&self, numbers: std::ops::Range<usize>) {
        let now = Instant::now();
        for number in numbers {
            let node = self.member(number).node.clone();
            let contact = Contact { address: None, client: CLIENT, is_https: false, is_pinned: false };
            let entering = Entering { sid: &sid(number), silence: Some(Duration::from_secs(45)), contact };
            self.upstream().session_table.open(entering, InSession::new(node), now);
        }
    }

    /// Does with the session table what a poll of session `number` does to it, from its beginning to its end.
    /// Whether the session was known.
    #[must_use]
    pub fn use_session(&self, number: usize, now: Instant) -> bool {
        let (sid, session_table) = (sid(number), &self.upstream().session_table);
        if session_table.find(&sid).is_none() {
            return false;
        }
        let _ = session_table.begin(session_table.hashed(&sid), Use::Poll, None, now);
        session_table.end(session_table.hashed(&sid), Use::Poll, now);
        true
    }

    /// The session id of `number` as a client knows it: with the tag of its node.
    #[must_use]
    pub fn tagged_sid(&self, number: usize) -> Vec<u8> {
        let sid = sid(number);
        [sid.as_slice(), self.member(number).seal.tag(&sid).as_bytes()].concat()
    }

    fn member(&self, number: usize) -> &Member {
        let members = &self.upstream().members;
        &members[number % members.len()]
    }

    fn upstream(&self) -> &Upstream {
        &self.snapshot.upstreams[0]
    }
}

/// As long as Engine.IO's own.
fn sid(number: usize) -> [u8; 20] {
    let mut sid = *b"AAAAAAAAAAAAAAAAAAAA";
    let digits = number.to_string();
    sid[20 - digits.len()..].copy_from_slice(digits.as_bytes());
    sid
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
