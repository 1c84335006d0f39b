//! The running data plane, as the control thread holds it. What it does is in the files beside this one.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use socket2::SockRef;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::net::listen_socket;
use crate::net::places::Places;
use crate::net::tls::TlsProblem;
use crate::observe::access;
use crate::state::shared::{ListenId, Shared};
use crate::upstream::names::Names;
use crate::upstream::node::Node;
use crate::worker::listener::Workers;

/// A running data plane. Cheap to clone; lives on the control thread, inside a tokio `LocalRuntime`.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub(crate) inner: Rc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: RefCell<Option<access::Writer>>,
    /// In the plan's order.
    pub(crate) listening: RefCell<Vec<Listening>>,
    pub(crate) next_listen: Cell<u64>,
    /// Sockets on their way to the workers.
    pub(crate) handing_over: RefCell<JoinSet<()>>,
    pub(crate) places: Arc<Places>,
    /// `None` once the proxy has left: a worker ends when its last connection has, unless more can come in.
    pub(crate) workers: RefCell<Option<Arc<Workers>>>,
    pub(super) threads: RefCell<Vec<JoinHandle<()>>>,
    /// The nodes that are being emptied at this moment, one drain each.
    pub(crate) emptying: RefCell<Vec<Emptying>>,
    pub(crate) names: Names,
    /// Sweeps, probes, publishes and drains.
    pub(super) housekeeping: RefCell<JoinSet<()>>,
}

/// A listen that is accepted on.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) id: ListenId,
    pub(crate) stop: watch::Sender<bool>,
    /// For whoever takes them over. A worker that closes its own closes it for good.
    pub(crate) sockets: Vec<Weak<OwnedFd>>,
    /// Whether nobody else may have them open, or others at the same address.
    pub(crate) is_ours: bool,
}

impl Listening {
    /// Leaves new connections to whoever else listens at an address that overlaps, while those on their way come in yet. Not
    /// where the sockets may be others', too, for it cannot be undone, and not where the address may be.
    pub(crate) fn let_nobody_in(&self) {
        if self.is_ours {
            for socket in self.sockets.iter().filter_map(Weak::upgrade) {
                // An old kernel cannot. Then the last look into the queue and the close are a moment apart, no more.
                let _ = listen_socket::let_nobody_in(SockRef::from(&*socket));
            }
        }
    }
}

/// A drain that is under way. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Emptying {
    pub(super) node: Arc<Node>,
    pub(super) owner: oneshot::Sender<Infallible>,
}

impl Proxy {
    /// Runs a task for as long as the proxy.
    pub(crate) fn spawn_housekeeping(&self, task: impl Future<Output = ()> + 'static) {
        let mut housekeeping = self.inner.housekeeping.borrow_mut();
        // Those that have ended are forgotten whenever one begins.
        while housekeeping.try_join_next().is_some() {}
        housekeeping.spawn_local(task);
    }
}

/// Why the data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartProblem {
    /// Certificates or keys that cannot be used, all of them.
    #[error("{}", join_lines(.0))]
    Tls(Vec<TlsProblem>),
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {error}{}", listen_hint(.error))]
    Listen {
        /// As in the plan.
        address: SocketAddr,
        /// The system's word.
        error: io::Error,
    },
    /// The access log cannot be opened.
    #[error("cannot open the access log: {0}")]
    Log(io::Error),
    /// A thread cannot be started.
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
}

fn join_lines(problems: &[TlsProblem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn listen_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; another process has it (`ss -ltnp` shows which)",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has it",
        _ => "",
    }
}
