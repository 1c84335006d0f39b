//! The fleet as tidelock's status has it, for the page.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use socketioxide::SocketIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::{MissedTickBehavior, interval};

use crate::node::JS_SLOT;

/// Where the demo's tidelock is asked. All clones are one.
#[derive(Clone)]
pub(crate) struct Fleet(Arc<Asked>);

struct Asked {
    tidelock: PathBuf,
    admin: PathBuf,
    has_js: bool,
    last: Mutex<Picture>,
}

/// What the page shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Picture {
    version: String,
    nodes: Vec<Node>,
    /// Requests answered, and those that were answered with a fault: 500 and above.
    answered: u64,
    failed: u64,
}

/// A process of the app.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Node {
    name: String,
    language: &'static str,
    pid: Option<u32>,
    generation: u64,
    state: String,
    /// Nobody new comes to it.
    draining: bool,
    sessions: usize,
    tunnels: usize,
    restarts: u32,
}

impl Fleet {
    /// `tidelock` is the binary, for verbs.
    pub(crate) fn new(tidelock: PathBuf, admin: PathBuf, has_js: bool) -> Self {
        Self(Arc::new(Asked { tidelock, admin, has_js, last: Mutex::default() }))
    }

    pub(crate) fn tidelock(&self) -> &Path {
        &self.0.tidelock
    }

    pub(crate) fn admin(&self) -> &Path {
        &self.0.admin
    }

    /// As it was last seen.
    pub(crate) fn last(&self) -> Picture {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The process of a node that serves now.
    pub(crate) async fn pid_of(&self, name: &str) -> Option<u32> {
        let picture = self.look().await.ok()?;
        let newest = picture.nodes.iter().filter(|node| node.name == name).max_by_key(|node| node.generation);
        newest.and_then(|node| node.pid)
    }

    /// Tells pages whenever it has changed, for ever. Nobody is asked while no page is open.
    pub(crate) async fn tell(self, io: SocketIo) {
        let mut turn = interval(LOOK_EVERY);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            if io.sockets().is_empty() {
                continue;
            }
            // While tidelock ends there is nothing to say.
            let Ok(picture) = self.look().await else { continue };
            let last = std::mem::replace(
                &mut *self.0.last.lock().unwrap_or_else(PoisonError::into_inner),
                picture.clone(),
            );
            if last != picture {
                // A page that closes meanwhile does not get it.
                let _ = io.emit("fleet", &picture).await;
            }
        }
    }

    /// What `tidelock status --json` prints, without starting a process five times a second.
    async fn look(&self) -> Result<Picture> {
        let mut stream = UnixStream::connect(&self.0.admin).await?;
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: tidelock\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (_, body) = answer.split_once("\r\n\r\n").context("an answer without a head")?;
        Ok(self.picture(serde_json::from_str(body)?))
    }

    fn picture(&self, status: Status) -> Picture {
        let by_class = |class: usize| status.workers.iter().map(|worker| worker.by_class[class]).sum();
        let members: Vec<&Member> = status.upstreams.iter().flat_map(|upstream| &upstream.nodes).collect();
        let node = |name: &str, instance: Instance| {
            let is_draining = |member: &&&Member| Some(&member.address) == instance.address.as_ref();
            Node {
                name: format!("{name}/{}", instance.slot),
                language: if self.0.has_js && instance.slot == JS_SLOT { "Node.js" } else { "Rust" },
                pid: instance.pid,
                generation: instance.generation,
                draining: members.iter().find(is_draining).is_some_and(|member| member.draining),
                state: instance.state,
                sessions: instance.sessions,
                tunnels: instance.tunnels,
                restarts: instance.restarts,
            }
        };
        let (answered, failed) = ((1..6).map(by_class).sum(), by_class(5));
        let nodes = status.apps.into_iter().flat_map(|app| {
            let App { name, instances } = app;
            instances.into_iter().map(|instance| node(&name, instance)).collect::<Vec<_>>()
        });
        Picture { nodes: nodes.collect(), version: status.version, answered, failed }
    }
}

/// What is read of the status.
#[derive(Deserialize)]
struct Status {
    version: String,
    upstreams: Vec<Upstream>,
    apps: Vec<App>,
    workers: Vec<Worker>,
}

#[derive(Deserialize)]
struct Upstream {
    nodes: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    address: String,
    draining: bool,
}

#[derive(Deserialize)]
struct App {
    name: String,
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
struct Instance {
    slot: u16,
    generation: u64,
    state: String,
    pid: Option<u32>,
    address: Option<String>,
    sessions: usize,
    tunnels: usize,
    restarts: u32,
}

#[derive(Deserialize)]
struct Worker {
    by_class: [u64; 6],
}

const LOOK_EVERY: Duration = Duration::from_millis(200);
