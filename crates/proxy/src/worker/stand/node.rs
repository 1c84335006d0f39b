//! A node in the process, which does with each request what its script says.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::{Pulse, content_length};

/// What a node does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Status(u16),
    /// Answers so much later.
    Slow(Duration),
    /// Closes without a word.
    Close,
    /// Closes in the midst of its answer.
    Half,
    /// Says what is no HTTP.
    Garbage,
    /// Never answers.
    Stall,
    /// Answers when the node is told something else.
    Hold,
    /// Upgrades, and keeps its end of the tunnel for the test.
    Keep,
}

impl Act {
    fn read(word: &str) -> Self {
        match word {
            "close" => Self::Close,
            "half" => Self::Half,
            "garbage" => Self::Garbage,
            "stall" => Self::Stall,
            "keep" => Self::Keep,
            "hold" => Self::Hold,
            "slow" => Self::Slow(Duration::from_secs(2)),
            status => Self::Status(status.parse().unwrap()),
        }
    }
}

pub(super) struct ScriptedNode {
    pub(super) name: &'static str,
    pub(super) path: PathBuf,
    acts: RefCell<VecDeque<Act>>,
    /// The requests that it got whole.
    pub(super) heard: RefCell<Vec<Vec<u8>>>,
    /// Connections that it has now.
    pub(super) open: Cell<usize>,
    sessions: Cell<usize>,
    /// Its ends of tunnels that the test plays.
    pub(super) kept: RefCell<Vec<UnixStream>>,
    is_told: Notify,
}

impl ScriptedNode {
    /// A node that follows `script`, and answers 200 when that is over; nobody listens where it says "refuse".
    pub(super) fn listen(path: PathBuf, name: &'static str, script: &str, pulse: &Rc<Pulse>) -> Rc<Self> {
        let refuses = script == "refuse";
        let words = script.split_whitespace().filter(|_| !refuses);
        let node = Rc::new(Self {
            name,
            path,
            acts: RefCell::new(words.map(Act::read).collect()),
            heard: RefCell::default(),
            open: Cell::new(0),
            sessions: Cell::new(0),
            kept: RefCell::default(),
            is_told: Notify::new(),
        });
        if !refuses {
            let listener = UnixListener::bind(&node.path).unwrap();
            let (accepting, spawner) = (node.clone(), pulse.clone());
            pulse.spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let node = accepting.clone();
                    spawner.spawn(async move {
                        node.open.set(node.open.get() + 1);
                        // However it ends, the connection is over.
                        let _ = node.serve(stream).await;
                        node.open.set(node.open.get() - 1);
                    });
                }
            });
        }
        node
    }

    async fn serve(&self, mut stream: UnixStream) -> std::io::Result<()> {
        loop {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await?);
            }
            let head = request.len();
            request.resize(head + content_length(&request), 0);
            stream.read_exact(&mut request[head..]).await?;
            let is_upgrade = has(&request, b"Upgrade: websocket");
            let answer = self.answer(&request);
            self.heard.borrow_mut().push(request);
            self.is_told.notify_waiters();
            let act = self.acts.borrow_mut().pop_front().unwrap_or(Act::Status(200));
            match act {
                Act::Status(200) if is_upgrade => return Self::tunnel(stream).await,
                Act::Keep => {
                    stream.write_all(SWITCHING).await?;
                    self.kept.borrow_mut().push(stream);
                    return Ok(());
                }
                Act::Status(200) => stream.write_all(&answer).await?,
                Act::Slow(pause) => {
                    sleep(pause).await;
                    stream.write_all(&answer).await?;
                }
                Act::Status(status) => {
                    let answer = format!("HTTP/1.1 {status} No\r\nContent-Length: 1\r\n\r\n{}", self.name);
                    stream.write_all(answer.as_bytes()).await?;
                }
                Act::Hold => {
                    self.is_told.notified().await;
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n6").await?;
                }
                Act::Close => return Ok(()),
                Act::Half => {
                    return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
                }
                Act::Garbage => return stream.write_all(b"I am no web server\r\n\r\n").await,
                // Until the other end has had enough.
                Act::Stall => return stream.read_u8().await.map(drop),
            }
        }
    }

    /// What it says to this request if all is well: to a handshake, a session of its own.
    fn answer(&self, request: &[u8]) -> Vec<u8> {
        let is_handshake = has(request, b"/socket.io/?") && !has(request, b"sid=");
        let body = if is_handshake {
            let number = self.sessions.replace(self.sessions.get() + 1);
            format!(
                "0{{\"sid\":\"{}{number:0>19}\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}}",
                self.name
            )
        } else {
            self.name.to_owned()
        };
        let kind = "text/plain; charset=UTF-8";
        format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into()
    }

    /// Says "hi" to whatever it hears.
    async fn tunnel(mut stream: UnixStream) -> std::io::Result<()> {
        stream.write_all(SWITCHING).await?;
        let mut heard = [0; 1024];
        while stream.read(&mut heard).await? > 0 {
            stream.write_all(b"\x81\x02hi").await?;
        }
        Ok(())
    }
}

/// What accepts [`super::UPGRADE`].
const SWITCHING: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n";

fn has(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}
