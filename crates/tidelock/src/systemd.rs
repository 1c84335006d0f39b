//! What is said to systemd, or to any other that listens at $NOTIFY_SOCKET: that tidelock serves, reloads, ends, how it is, and
//! that it is alive (sd_notify(3)). Without such a socket nothing is.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use config::plan::Plan;
use listenfd::ListenFd;
use proxy::{ListenSockets, Proxy, Status};
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use crate::admin_file::AdminFile;

/// Sockets that systemd has bound, each with the name that its unit gives it.
///
/// # Errors
/// If what is there is no socket that listens.
pub(crate) fn sockets() -> io::Result<Sockets> {
    let mut given = ListenFd::from_env();
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = Sockets::default();
    for at in 0..given.len() {
        let name = names.next().unwrap_or_default();
        if name == ADMIN {
            if let Some(socket) = given.take_unix_listener(at)? {
                let path = socket.local_addr()?.as_pathname().map(Path::to_owned);
                let socket = socket.into();
                sockets.admin = path.map(|path| AdminFile { path, socket, is_systemds: true });
            }
        } else if let Some(socket) = given.take_tcp_listener(at)? {
            sockets.listens.push((socket.local_addr()?, socket.into()));
        }
    }
    Ok(sockets)
}

/// See [`sockets`].
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) listens: Vec<(SocketAddr, OwnedFd)>,
    pub(crate) admin: Option<AdminFile>,
}

impl Sockets {
    /// Those of the listens of a plan.
    pub(crate) fn listens(&mut self, plan: &Plan) -> ListenSockets {
        let mut listens = ListenSockets::default();
        for (address, socket) in self.listens.drain(..) {
            if plan.listens.iter().all(|listen| listen.address != address) {
                tracing::warn!(
                    event = "socket_unused",
                    %address,
                    "systemd has bound a socket that no listen of the file has for its address"
                );
                continue;
            }
            listens.add(address, vec![socket]);
        }
        listens
    }
}

/// What the unit calls the socket of the verbs.
const ADMIN: &str = "admin";

/// It serves, for the first time or again after a reload.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// It reads its file again; [`ready`] says when that is over.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        // There is no system without that clock.
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// It begins to end.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("leaving: no new connections, what runs may finish")]);
}

/// Another process goes on as the service.
pub(crate) fn main_pid(pid: u32) {
    tell(&[NotifyState::MainPid(pid)]);
    IS_ANOTHERS.store(true, Relaxed);
}

/// What this process says is not said of the service any more.
static IS_ANOTHERS: AtomicBool = AtomicBool::new(false);

fn tell(states: &[NotifyState<'_>]) {
    if IS_ANOTHERS.load(Relaxed) {
        return;
    }
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "systemd cannot be told how tidelock is");
    }
}

/// Says how it is whenever that has changed, and that it is alive as often as systemd wants to hear it: while this thread and
/// every worker get on with what they have to do. Ends with the proxy.
pub(crate) async fn report(proxy: Proxy) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let watchdog = sd_notify::watchdog_enabled();
    // Thrice, so that a look that comes late does no harm.
    let every = watchdog.map_or(LOOK_EVERY, |timeout| (timeout / 3).min(LOOK_EVERY));
    let mut turn = interval(every);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut said, mut beats) = (String::new(), proxy.beats());
    loop {
        turn.tick().await;
        let status = sentence(&proxy.status());
        if status != said {
            tell(&[NotifyState::Status(&status)]);
            said = status;
        }
        let now = proxy.beats();
        // A worker beats twice a second; where systemd wants to hear more often, one is not given up for a single look.
        let all_move = now.iter().zip(&beats).all(|(now, before)| now != before);
        if all_move {
            beats = now;
            if watchdog.is_some() {
                tell(&[NotifyState::Watchdog]);
            }
        }
    }
}

/// Such as `3 of 4 nodes up, 120 sessions, 1 draining`.
fn sentence(status: &Status) -> String {
    let nodes =
        || status.upstreams.iter().flat_map(|upstream| &upstream.nodes).filter(|node| !node.is_removed);
    let up = nodes().filter(|node| node.state == "up").count();
    let sessions: usize = nodes().map(|node| node.sessions).sum();
    let draining = nodes().filter(|node| node.draining).count();
    let mut sentence = format!("{up} of {} nodes up, {sessions} sessions", nodes().count());
    if draining > 0 {
        sentence += &format!(", {draining} draining");
    }
    if let Some(overload) = &status.overload {
        sentence += &format!("; {overload}");
    }
    sentence
}

/// As often as a person looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);
