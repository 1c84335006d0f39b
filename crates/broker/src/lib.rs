//! A small publish/subscribe server that speaks Redis' protocol, for one host and in memory only.
//!
//! It lets a fleet on one machine share rooms with nothing installed, and tests run without a Redis. Nodes
//! in Rust and in Node.js use it unchanged, under [`Broker::url`]. It keeps nothing: no keys, no persistence,
//! no replication. It listens on loopback or on a Unix socket and on nothing else. Once the
//! fleet has a second machine, use Redis or Valkey.
//!
//! It answers what the adapters use (`PUBLISH`, `SUBSCRIBE`, `PSUBSCRIBE`, `SPUBLISH`, `SSUBSCRIBE`, their opposites,
//! and `PUBSUB`), and what node-redis, ioredis and redis-rs send when they connect (`HELLO 2` and `3`, `AUTH`, `CLIENT`,
//! `SELECT 0`, `INFO`, `PING`, `QUIT`, `RESET`). Every other command is an error.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let broker = broker::Broker::loopback(0).await?;
//! println!("nodes may connect to {}", broker.url());
//! # Ok(())
//! # }
//! ```

mod glob;
mod hub;
mod outbox;
mod resp;
mod session;
mod settings;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener, UnixSocket},
    task::{AbortHandle, JoinSet},
};

use self::hub::Hub;
pub use self::settings::{Limits, Settings};

/// Connections that wait to be accepted, as Tokio has it elsewhere.
const BACKLOG: u32 = 1024;

/// Keeps the README's code working.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// A running broker. It ends, with all its connections, when this is dropped.
pub struct Broker {
    url: String,
    accepting: AbortHandle,
    hub: Arc<Hub>,
    socket: Option<PathBuf>,
}

impl Broker {
    /// Listens on 127.0.0.1; with port 0 on a free port.
    ///
    /// # Errors
    ///
    /// If the port is taken.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: nothing listens then.
    pub async fn loopback(port: u16) -> io::Result<Self> {
        Self::tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Limits::default()).await
    }

    /// Listens on a loopback address.
    ///
    /// # Errors
    ///
    /// If the address is not loopback, since there is no TLS; if the port is taken.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe: nothing listens then.
    pub async fn tcp(address: SocketAddr, settings: impl Into<Settings>) -> io::Result<Self> {
        if !address.ip().is_loopback() {
            let message =
                format!("the embedded broker has no TLS and listens on loopback only, not on {address}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let listener = TcpListener::bind(address).await?;
        let url = format!("redis://{}", listener.local_addr()?);
        let hub = Arc::new(Hub::new(settings.into()));
        let accepting = tokio::spawn(accept_tcp(listener, hub.clone())).abort_handle();
        Ok(Self { url, accepting, hub, socket: None })
    }

    /// Listens on a Unix socket that only this user may connect to. It is removed in the end.
    ///
    /// # Errors
    ///
    /// If something is at `path` already, or it cannot be made.
    ///
    /// # Cancel safety
    ///
    /// Cancel-safe, for it never waits: it is `async` because it has to be called inside of a runtime.
    pub async fn unix(path: &Path, settings: impl Into<Settings>) -> io::Result<Self> {
        let socket = UnixSocket::new_stream()?;
        socket.bind(path)?;
        // Nobody can connect before it listens, so that there is no moment at which others may.
        let listening = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .and_then(|()| socket.listen(BACKLOG));
        let listener = match listening {
            Ok(listener) => listener,
            Err(error) => {
                let _ = std::fs::remove_file(path);
                return Err(error);
            }
        };
        let url = format!("unix://{}", path.display());
        let hub = Arc::new(Hub::new(settings.into()));
        let accepting = tokio::spawn(accept_unix(listener, hub.clone())).abort_handle();
        Ok(Self { url, accepting, hub, socket: Some(path.to_owned()) })
    }

    /// What clients connect to: `redis://127.0.0.1:port` or `unix:///path`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Clients connected at this moment.
    pub fn clients(&self) -> usize {
        self.hub.clients()
    }

    /// Clients cut off so far because they did not read what waited for them.
    pub fn cut_off(&self) -> u64 {
        self.hub.cut_off()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Some(path) = &self.socket {
            // Nothing can be done about a socket that someone else removed first.
            let _ = std::fs::remove_file(path);
        }
    }
}

impl fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Broker").field("url", &self.url).finish_non_exhaustive()
    }
}

async fn accept_tcp(listener: TcpListener, hub: Arc<Hub>) {
    let mut sessions = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Messages are small and must not wait for company.
                let _ = stream.set_nodelay(true);
                serve(&mut sessions, &hub, stream);
            }
            Err(error) => pause(&error).await,
        }
    }
}

async fn accept_unix(listener: UnixListener, hub: Arc<Hub>) {
    let mut sessions = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => serve(&mut sessions, &hub, stream),
            Err(error) => pause(&error).await,
        }
    }
}

fn serve(sessions: &mut JoinSet<()>, hub: &Arc<Hub>, stream: impl AsyncRead + AsyncWrite + Send + 'static) {
    while sessions.try_join_next().is_some() {}
    sessions.spawn(session::run(stream, hub.clone()));
}

/// Out of file descriptors, mostly: trying again at once would only burn the processor.
async fn pause(error: &io::Error) {
    tracing::warn!(%error, "the embedded broker could not accept a client");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
}
