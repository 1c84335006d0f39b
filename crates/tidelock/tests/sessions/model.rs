//! A node that knows its own sessions, as an app does, and says how many they are; it can be killed, and comes back at its
//! address with none.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use testkit::message::Message;
use testkit::origin::Reserved;
use testkit::raw::RawConnection;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::stand::{SWITCHED, open_packet};

/// What is on a node by its own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) polling: usize,
    pub(crate) tunnels: usize,
}

/// Dropping it kills it for good.
#[derive(Debug)]
pub(crate) struct ModelNode {
    pub(crate) name: &'static str,
    place: Reserved,
    process: Option<Process>,
}

/// One life of it.
#[derive(Debug)]
struct Process {
    known: Arc<Known>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Known {
    sessions: Mutex<HashSet<String>>,
    tunnels: Mutex<usize>,
    /// Closed sessions, so that each poll knows when its own is over.
    closed: watch::Sender<u64>,
}

impl ModelNode {
    pub(crate) fn start(name: &'static str, place: Reserved) -> Self {
        let mut node = Self { name, place, process: None };
        node.revive();
        node
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.place.address()
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn load(&self) -> Load {
        self.process.as_ref().map_or_else(Load::default, |process| Load {
            polling: lock(&process.known.sessions).len(),
            tunnels: *lock(&process.known.tunnels),
        })
    }

    /// Its process ends, and all its connections with it. From then on connections are refused.
    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn revive(&mut self) {
        let origin = self.place.appear();
        let known = Arc::new(Known::default());
        let (name, of_connections) = (self.name, known.clone());
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                connections.spawn(serve(name, of_connections.clone(), origin.next().await));
            }
        });
        self.process = Some(Process { known, _accepting: accepting });
    }
}

/// Answers on one connection until its end.
async fn serve(name: &'static str, known: Arc<Known>, mut connection: RawConnection) {
    while let Some(request) = connection.try_next_request().await {
        if request.header("upgrade").is_some() {
            return tunnel(name, &known, connection).await;
        }
        let (status, body) = answer(&known, &request).await;
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\nX-Node: {name}\r\nContent-Length: {length}\r\n\r\n{body}");
        if connection.try_send(answer).await.is_err() {
            return;
        }
    }
}

/// As Engine.IO does: a handshake opens a session, a POST of a close packet ends it and its pending poll, and who is not
/// known is told so. A poll with `hold` in its query waits for that.
async fn answer(known: &Known, request: &Message) -> (&'static str, String) {
    let target = request.start.split(' ').nth(1).unwrap_or_default();
    if !target.contains("transport=polling") {
        // A probe.
        return ("400 Bad Request", r#"{"code":0,"message":"Transport unknown"}"#.to_owned());
    }
    let Some((_, rest)) = target.split_once("sid=") else {
        let sid = format!("model-{:016}", NEXT_SID.fetch_add(1, Relaxed));
        lock(&known.sessions).insert(sid.clone());
        return ("200 OK", open_packet(&sid, target));
    };
    let sid = rest.split('&').next().unwrap_or_default();
    if !lock(&known.sessions).contains(sid) {
        return ("400 Bad Request", r#"{"code":1,"message":"Session ID unknown"}"#.to_owned());
    }
    let eio3 = target.contains("EIO=3");
    if request.start.starts_with("POST") {
        let text = request.text();
        // Its packets stand behind one another, or it is the close alone.
        let last = text.trim_start_matches("d=").rsplit('\x1e').next().unwrap_or_default();
        if matches!(last.rsplit("%1E").next(), Some("1" | "1:1" | "1%3A1")) {
            lock(&known.sessions).remove(sid);
            known.closed.send_modify(|count| *count += 1);
        }
        return ("200 OK", "ok".to_owned());
    }
    if target.contains("hold") {
        let mut closed = known.closed.subscribe();
        let _ = closed.wait_for(|_| !lock(&known.sessions).contains(sid)).await;
    }
    let noop = if eio3 { "1:6" } else { "6" };
    ("200 OK", if target.contains("j=0") { format!("___eio[0](\"{noop}\");") } else { noop.to_owned() })
}

async fn tunnel(name: &str, known: &Known, mut connection: RawConnection) {
    let _counted = Counted::new(known);
    let hello = [SWITCHED.as_bytes(), b"\x81\x01", name.as_bytes()].concat();
    if connection.try_send(hello).await.is_ok() {
        // Whatever its client says, it is a Close or the end.
        if connection.has_more().await {
            let _ = connection.try_send(CLOSE).await;
        }
    }
}

/// Counted even where the connection ends with its process.
struct Counted<'a>(&'a Known);

impl<'a> Counted<'a> {
    fn new(known: &'a Known) -> Self {
        *lock(&known.tunnels) += 1;
        Self(known)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        *lock(&self.0.tunnels) -= 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const CLOSE: &[u8] = b"\x88\x02\x03\xf4";
/// No two nodes give one id, nor one node after its death one that it gave before.
static NEXT_SID: AtomicU64 = AtomicU64::new(0);
