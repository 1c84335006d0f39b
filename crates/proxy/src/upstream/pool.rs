//! A worker's idle connections to nodes, which nginx calls keepalive. Never shared with another worker, so that no request wakes
//! another core.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::Instant;

use crate::net::stream::Io;
use crate::net::stream::tls::IdleState;
use crate::upstream::node::Node;
use crate::upstream::node::counted::InFlight;
use crate::upstream::surplus::KEEPS_NONE_FOR;

/// A connection to a node, for one exchange.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) io: Io,
    /// What was read and is not understood yet.
    pub(crate) inbound: BytesMut,
    /// Whether it has carried an exchange before; the node may be closing it at this moment.
    pub(crate) reused: bool,
    pub(crate) in_flight: InFlight,
}

/// The idle connections.
#[derive(Debug)]
pub(crate) struct Pool {
    idle: RefCell<HashMap<*const Node, Vec<Idle>, BuildHasherDefault<ByAddress>>>,
    idle_max: Cell<usize>,
}

/// Hashes an address by one multiplication: nobody but the allocator chooses it.
#[derive(Debug, Default)]
struct ByAddress(u64);

impl Hasher for ByAddress {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_usize(byte.into());
        }
    }

    fn write_usize(&mut self, address: usize) {
        // 2^64 divided by the golden ratio. The table takes its index from the low bits, the good ones are the high.
        self.0 = (self.0 ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
struct Idle {
    io: Io,
    /// The node lives at least as long as its connections, so that its address is a name.
    node: Arc<Node>,
    until: Instant,
}

impl Node {
    /// Bytes have come behind one of its answers.
    pub(crate) fn sent_surplus(&self, now: Instant) {
        if self.surplus.came(now) {
            let (upstream, node, address) = (&self.upstream, self.written(), self.address());
            tracing::warn!(
                event = "node_surplus",
                upstream,
                node,
                %address,
                "a node sends more than its answer, as an app does that writes a body to HEAD, 204 or 304, or another length than it says; its connections are used once, for {KEEPS_NONE_FOR:?} after each time"
            );
        }
    }
}

impl Pool {
    pub(crate) fn new(idle_max: usize) -> Self {
        Self { idle: RefCell::default(), idle_max: Cell::new(idle_max) }
    }

    /// An idle connection to `node`, the youngest first, if one is still open. `for_sure` asks the kernel: for
    /// requests that cannot be sent again if the connection turns out to be dead.
    pub(crate) fn take(&self, node: &Arc<Node>, for_sure: bool, now: Instant) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let connections = idle.get_mut(&Arc::as_ptr(node))?;
        if !node.surplus.may_keep(now) {
            connections.clear();
            return None;
        }
        let for_sure = for_sure || node.surplus.ever_came();
        while let Some(connection) = connections.pop() {
            if now >= connection.until {
                continue;
            }
            if !node.is_spoken_with_by(&connection.io) {
                continue;
            }
            match connection.io.idle_state(for_sure) {
                IdleState::Quiet => {
                    let in_flight = InFlight::new(node.clone());
                    return Some(Lease {
                        io: connection.io,
                        inbound: BytesMut::new(),
                        reused: true,
                        in_flight,
                    });
                }
                IdleState::Ended => {}
                IdleState::Surplus => {
                    node.sent_surplus(now);
                    connections.clear();
                }
            }
        }
        None
    }

    /// Keeps a connection whose answer has ended. `keep_alive` is how long the node said that it waits.
    pub(crate) fn give_back(&self, lease: Lease, keep_alive: Option<Duration>, now: Instant) {
        let timeout = keep_alive.unwrap_or(TIMEOUT_DEFAULT).min(TIMEOUT_MAX);
        let Some(timeout) = timeout.checked_sub(MARGIN).filter(|timeout| !timeout.is_zero()) else {
            return;
        };
        let node = lease.in_flight.node().clone();
        if !lease.inbound.is_empty() || !node.surplus.may_keep(now) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let connections = idle.entry(Arc::as_ptr(&node)).or_default();
        if connections.len() < self.idle_max.get() {
            connections.push(Idle { io: lease.io.for_another_task(), node, until: now + timeout });
        }
    }

    /// From now on so many are kept for a node.
    pub(crate) fn resize(&self, idle_max: usize) {
        self.idle_max.set(idle_max);
    }

    /// Closes the connections that have been idle for too long. Called now and then.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle.borrow_mut().retain(|_, connections| {
            connections.retain(|Idle { io, node, until }| {
                let state = io.idle_state(false);
                if state == IdleState::Surplus {
                    node.sent_surplus(now);
                }
                state == IdleState::Quiet && now < *until && node.is_spoken_with_by(io)
            });
            connections.retain(|connection| connection.node.surplus.may_keep(now));
            !connections.is_empty()
        });
    }

    /// Closes everything that is idle, for want of memory.
    pub(crate) fn forget_all(&self) {
        self.idle.borrow_mut().clear();
    }

    /// Closes everything that is idle to `node`: it went away, and its connections with it.
    pub(crate) fn forget(&self, node: &Arc<Node>) {
        self.idle.borrow_mut().remove(&Arc::as_ptr(node));
    }
}

/// Node.js closes an idle connection after 5 s and says so; others say nothing and are treated like it.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const TIMEOUT_MAX: Duration = Duration::from_secs(3600);
/// A request sent in the last second may meet the node's FIN on its way.
const MARGIN: Duration = Duration::from_secs(1);
