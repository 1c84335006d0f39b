//! A worker with clients and nodes in one thread, by a paused clock: for tests of what becomes of a request.
//!
//! Clients are one end of a `socketpair(2)`, and nodes listen on Unix sockets in a folder of their own: no network, no port.
//! A stream in memory would be one more variant of `Stream`, to be asked for at each read and write of a real connection;
//! a Unix socket is a variant already, because apps listen on them.
//!
//! Sockets and a paused clock do not get along by themselves: a runtime that is about to wait moves its clock to the next
//! timer before it looks whether a socket has something. So time moves only when [`Pulse`] has seen that nothing else does.

#[cfg(test)]
mod drains;
#[cfg(test)]
mod full;
#[cfg(test)]
mod memory;
mod node;
pub(crate) mod oracle;
#[cfg(test)]
mod reloads;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tunnels;

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use arc_swap::ArcSwap;
use config::plan::{NodeBounds, Plan};
use config::roster::{NodeAddress, Roster, RosterNode};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_local, yield_now};
use tokio::time::{sleep, timeout};
use wire::forward::ClientEnd;

use super::{Worker, attend_to_sockets, save_memory, serve, tell_leaving};
use crate::control::drain::node::{Pace, empty};
use crate::net::clock::by_clock;
use crate::net::memory::Memory;
use crate::net::passwords::Verifier;
use crate::net::places::{ClientKey, Places};
use crate::net::rates::Rates;
use crate::net::shared_rates::SharedRates;
use crate::net::stream::{Io, Stream};
use crate::observe::access;
use crate::observe::counters::Counters;
use crate::observe::lifecycle::{Drain, Live};
use crate::observe::routes::RouteNames;
use crate::state::shared::{Shared, Snapshot};
use crate::tunnel;
use crate::upstream::Upstream;
use crate::upstream::close_signal::CloseReason;
use crate::upstream::health::ProbeQueue;
use crate::upstream::node::{Node, Observed};
use crate::worker::connection::{ClientConnection, PLAIN_SCHEME};
use crate::worker::stand::node::ScriptedNode;

/// A worker, its nodes, and a way for clients to come in.
struct Stand {
    worker: Rc<Worker>,
    nodes: Vec<Rc<ScriptedNode>>,
    pulse: Rc<Pulse>,
    places: Arc<Places>,
    counters: Arc<Counters>,
    /// The nodes that are emptied, with what calls that off.
    emptying: RefCell<Vec<(Arc<Node>, oneshot::Sender<Infallible>)>>,
    _folder: TempDir,
}

impl Stand {
    /// One for each of `scripts`, what its node does with one request after the other; `settings` stand in the upstream.
    fn new(settings: &str, scripts: &[&str]) -> Self {
        Self::attended(settings, scripts, true)
    }

    /// The same, where tunnels without TLS are tasks of the runtime, as those with TLS are, unless `is_attended`.
    fn attended(settings: &str, scripts: &[&str], is_attended: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pulse = Rc::<Pulse>::default();
        let listen = |(number, script): (usize, &&str)| {
            let path = folder.path().join(number.to_string());
            ScriptedNode::listen(path, name(number), script, &pulse)
        };
        let nodes: Vec<_> = scripts.iter().enumerate().map(listen).collect();
        let counters = Arc::<Counters>::default();
        let (probe_queue, to_probe) = ProbeQueue::channel();
        let shared = Arc::new(Shared {
            snapshot: Arc::new(ArcSwap::from_pointee(Snapshot::new(
                plan(settings, nodes.len()),
                Default::default(),
            ))),
            log: Arc::new(ArcSwap::from_pointee(access::Writer::nothing())),
            log_unwritten: access::Unwritten::default(),
            probe_queue,
            drain: Drain::new(),
            memory: Memory::new(),
            instances: Mutex::default(),
            rates: Rates::new(),
            shared_rates: SharedRates::default(),
            verifier: Verifier::new(),
            counters: vec![counters.clone()],
            route_names: RouteNames::default(),
            gone: Mutex::default(),
        });
        let worker = Rc::new(Worker::new(shared.clone(), counters.clone()));
        pulse.spawn(tell_leaving(worker.local.clone(), shared.drain.listen()));
        if is_attended {
            pulse.spawn(tunnel::attend(worker.reactor.clone(), worker.local.clone()));
            pulse.spawn(attend_to_sockets(worker.clone()));
        }
        pulse.spawn(save_memory(worker.clone()));
        pulse.spawn(probe(to_probe));
        let (places, emptying) = (Places::new(1024), RefCell::default());
        let stand = Self { worker, nodes, pulse, places, counters, emptying, _folder: folder };
        stand.reload(settings, &vec![1; scripts.len()]);
        stand
    }

    /// Puts a plan with these settings and nodes of these weights in force. A node of weight 0 is taken out.
    fn reload(&self, settings: &str, weights: &[u32]) {
        let members = (0..).zip(weights).filter(|(_, weight)| **weight > 0);
        let member = |(node, &weight)| RosterNode { weight, ..self.entry(node, NodeBounds::default()) };
        self.put(plan(settings, self.nodes.len()), &[("nodes", members.map(member).collect())]);
    }

    /// Puts `plan` in force. `members` are the nodes of its upstreams, by their names.
    fn put(&self, plan: Arc<Plan>, members: &[(&str, Vec<RosterNode>)]) {
        let roster = |upstream: &Arc<config::plan::Upstream>| {
            let own = members.iter().find(|(name, _)| *name == upstream.name);
            Roster { nodes: own.map(|(_, nodes)| nodes.clone()).unwrap_or_default(), is_stopped: false }
        };
        let rosters: Vec<_> = plan.upstreams.iter().map(roster).collect();
        let shared = &self.worker.local.shared;
        let before = shared.snapshot.load_full();
        shared.publish(before.replanned(plan, Default::default(), &rosters));
    }

    /// What the control thread does after a reload: empties the nodes that were taken out since `before`, and no longer those
    /// that are back.
    fn drain_removed(&self, before: &[Arc<Node>]) {
        let now = self.members();
        self.emptying.borrow_mut().retain(|(node, _)| node.is_draining());
        for node in before.iter().filter(|node| now.iter().all(|member| !Arc::ptr_eq(member, node))) {
            self.empty(node, Duration::from_secs(20));
        }
    }

    /// Empties a node within `deadline`, as an operator's drain does.
    fn empty(&self, node: &Arc<Node>, deadline: Duration) {
        node.observe(Observed::ToldToDrain);
        let (owner, is_called_off) = oneshot::channel();
        let mut emptying = self.emptying.borrow_mut();
        emptying.retain(|(emptied, owner)| !Arc::ptr_eq(emptied, node) && !owner.is_closed());
        emptying.push((node.clone(), owner));
        let pace = Pace {
            window: Duration::from_secs(1),
            deadline,
            reason: CloseReason::Restart,
            is_stopped: false,
        };
        self.pulse.spawn(empty(node.clone(), self.upstream().session_table, pace, is_called_off));
    }

    /// Has a node take part again.
    fn keep(&self, node: &Arc<Node>) {
        node.observe(Observed::ToldToStay);
        self.emptying.borrow_mut().retain(|(node, _)| node.is_draining());
    }

    /// What a roster says of a node.
    fn entry(&self, node: usize, bounds: NodeBounds) -> RosterNode {
        let node = &self.nodes[node];
        RosterNode {
            written: node.name.into(),
            address: NodeAddress::Unix(node.path.clone()),
            tls_name: None,
            instance: None,
            weight: 1,
            backup: false,
            bounds,
        }
    }

    /// The upstream as it is now.
    fn upstream(&self) -> Upstream {
        self.worker.local.snapshot().upstreams[0].clone()
    }

    /// The members, in their order.
    fn members(&self) -> Vec<Arc<Node>> {
        self.upstream().members.iter().map(|member| member.node.clone()).collect()
    }

    /// A client's end of a new connection.
    fn dial(&self) -> Client {
        let local = &self.worker.local;
        // As the acceptor's task does when it wakes.
        local.clock.tick();
        let (near, far) = UnixStream::pair().unwrap();
        let limits = local.snapshot().plan.limits;
        let place = self.places.try_take().unwrap().give(ClientKey::NOBODY, &limits).unwrap();
        let live = Live::new(self.counters.clone(), place);
        let end = ClientEnd::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PLAIN_SCHEME, 1, false);
        let client = ClientConnection::new(Io::new(Stream::Unix(Box::new(near))), end, None, live, local);
        let serving = Box::pin(serve(client, self.worker.clone()));
        self.pulse.spawn(by_clock(local.clock.clone(), serving));
        Client(far)
    }

    /// Runs until `work` is done.
    ///
    /// # Panics
    /// If it is not after an hour of the paused clock: nothing waits for that long.
    async fn run<T: 'static>(&self, work: impl Future<Output = T> + 'static) -> T {
        self.pulse.run(work).await
    }

    /// Everybody has left. What was held for them must be free again.
    async fn check_is_clean(&self) {
        // Longer than a session that has gone silent is kept, and than what is still under way may take.
        self.run(sleep(Duration::from_secs(1800))).await;
        let counts = self.counters.read();
        assert_eq!(counts.live, 0, "connections or tunnels are left");
        assert_eq!(counts.exchanges, counts.by_class.iter().sum::<u64>(), "{counts:?}");
        let upstream = self.upstream();
        for _ in 0..SWEEPS {
            upstream.session_table.sweep(tokio::time::Instant::now());
        }
        let left = upstream.removed.iter().map(|removed| &removed.node);
        for node in upstream.members.iter().map(|member| &member.node).chain(left) {
            let name = node.written();
            assert_eq!(node.in_flight(), 0, "leases on {name} are left");
            assert_eq!(node.sessions(), 0, "sessions of {name} are left");
        }
        self.worker.local.pool.forget_all();
        self.run(yield_now()).await;
        for node in &self.nodes {
            assert_eq!(node.open.get(), 0, "connections to {} are left", node.name);
        }
        assert_eq!(self.worker.local.await_nodes.get(), 0);
    }
}

/// What the client reads of one answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: String,
}

/// A client's end of a connection.
struct Client(UnixStream);

impl Client {
    /// Sends a request and reads its answer; `None` if the connection ended before the answer did.
    async fn ask(&mut self, request: &[u8]) -> Option<Answer> {
        self.0.write_all(request).await.ok()?;
        let mut read = Vec::new();
        let (head_end, length) = loop {
            let mut byte = [0];
            // Byte by byte, so that what follows the answer stays where it is.
            if self.0.read(&mut byte).await.ok()? == 0 {
                return None;
            }
            read.extend_from_slice(&byte);
            if read.ends_with(b"\r\n\r\n") {
                break (read.len(), content_length(&read));
            }
        };
        read.resize(head_end + length, 0);
        self.0.read_exact(&mut read[head_end..]).await.ok()?;
        let status = std::str::from_utf8(&read[9..12]).unwrap().parse().unwrap();
        Some(Answer { status, body: String::from_utf8(read.split_off(head_end)).unwrap() })
    }
}

/// How long the body behind this head is.
fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap().to_ascii_lowercase();
    let line = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    line.map_or(0, |length| length.trim().parse().unwrap())
}

/// The tasks of a stand, and whether any of them has done anything.
#[derive(Default)]
struct Pulse {
    polls: Cell<u64>,
    waiting: RefCell<Option<Waker>>,
}

impl Pulse {
    fn spawn<T: 'static>(self: &Rc<Self>, task: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        let (pulse, mut task) = (self.clone(), Box::pin(task));
        spawn_local(poll_fn(move |cx| {
            pulse.polls.set(pulse.polls.get() + 1);
            pulse.waiting.take().into_iter().for_each(Waker::wake);
            task.as_mut().poll(cx)
        }))
    }

    async fn run<T: 'static>(self: &Rc<Self>, work: impl Future<Output = T> + 'static) -> T {
        let work = self.spawn(timeout(Duration::from_secs(3600), work));
        loop {
            // Between two yields the runtime looks at its sockets, and does not move the clock.
            let mut seen = self.polls.get();
            loop {
                // What has no pulse, as the tasks that close sessions have none, may be between two that have one.
                for _ in 0..4 {
                    yield_now().await;
                }
                if seen == self.polls.get() {
                    break;
                }
                seen = self.polls.get();
            }
            if work.is_finished() {
                return work.await.unwrap().expect("it is stuck");
            }
            poll_fn(|cx| {
                if self.polls.get() != seen {
                    return Poll::Ready(());
                }
                self.waiting.replace(Some(cx.waker().clone()));
                Poll::Pending
            })
            .await;
        }
    }
}

/// Finds every node that is down to be up again after a second.
async fn probe(mut fallen: mpsc::Receiver<Arc<Node>>) {
    while let Some(node) = fallen.recv().await {
        sleep(Duration::from_secs(1)).await;
        node.observe(Observed::Reached);
        node.observe(Observed::Settled);
        node.release_probe();
    }
}

fn name(number: usize) -> &'static str {
    ["a", "b", "c", "d"][number]
}

fn plan(settings: &str, nodes: usize) -> Arc<Plan> {
    let nodes: Vec<_> = (1..=nodes).map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    plan_of(&format!("upstream = \"nodes\"\n[upstream.nodes]\nnodes = [{}]\n{settings}\n", nodes.join(", ")))
}

/// The plan whose one route begins like this.
fn plan_of(route: &str) -> Arc<Plan> {
    let text = format!("[[listen]]\naddress = \":1\"\n[[route]]\n{route}");
    Arc::new(config::parse(&text, Path::new("stand")).unwrap().plan)
}

/// Runs a test on a thread whose clock stands still unless all wait.
fn by_paused_clock(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build_local(Default::default()).unwrap().block_on(test);
}

/// The beginning of a WebSocket.
const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
/// Each takes a quarter of the sessions.
const SWEEPS: usize = 4;
