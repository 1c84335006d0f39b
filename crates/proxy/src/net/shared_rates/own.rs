//! A worker's own connection to Redis.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::{Instant, timeout_at};

use super::server::Server;

/// The connection that a worker asks on, opened by the first request that needs one.
#[derive(Default)]
pub(crate) struct Own(RefCell<Option<Line>>);

/// A connection, or one that is being opened.
#[derive(Clone)]
pub(super) struct Line {
    server: Arc<Server>,
    epoch: u64,
    begun: Instant,
    connected: watch::Receiver<Option<MultiplexedConnection>>,
}

impl Own {
    /// The one to this Redis; a new one if it has been away since the last one was opened.
    pub(super) fn line(&self, server: &Arc<Server>, epoch: u64) -> Line {
        let mut line = self.0.borrow_mut();
        let is_good = |line: &&mut Line| Arc::ptr_eq(&line.server, server) && line.epoch == epoch;
        match line.as_mut().filter(is_good) {
            Some(line) => line.clone(),
            None => line.insert(Line::open(server.clone(), epoch)).clone(),
        }
    }

    /// Opens another one for the next who asks, unless that has been done.
    pub(super) fn forget(&self, lost: &Line) {
        self.0.borrow_mut().take_if(|line| line.connected.same_channel(&lost.connected));
    }
}

impl Line {
    /// Opens one, whoever waits for it: its task ends by itself, at its timeout.
    fn open(server: Arc<Server>, epoch: u64) -> Self {
        let (opened, connected) = watch::channel(None);
        let connecting = server.clone();
        spawn_local(async move {
            match connecting.connect().await {
                Ok(connection) => {
                    opened.send_replace(Some(connection));
                }
                Err(error) => connecting.is_away(epoch, error.to_string()),
            }
        });
        Self { server, epoch, begun: Instant::now(), connected }
    }

    /// `None` if it is not there within the time that a request may take. That it takes longer to open it says nothing of
    /// Redis, which may be far away; but only those wait that came at the beginning.
    pub(super) async fn connection(&self, until: Instant) -> Option<MultiplexedConnection> {
        let mut connected = self.connected.clone();
        let until = until.min(self.begun + self.server.said.timeout);
        let connection = timeout_at(until, connected.wait_for(Option::is_some)).await.ok()?.ok()?;
        connection.clone()
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own")
    }
}
