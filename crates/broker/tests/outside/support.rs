//! A real redis-server to compare with, and how a test waits.

use std::{
    future::Future,
    net::{Ipv4Addr, TcpListener},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// A test that hangs must fail; nothing else depends on this.
const HANG: Duration = Duration::from_secs(60);

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

/// Asks until the answer is the wanted one. The pace only keeps a spinning test from starving what it waits for.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let mut pace = tokio::time::interval(Duration::from_millis(5));
    soon(what, async {
        while !holds().await {
            pace.tick().await;
        }
    })
    .await;
}

pub(crate) async fn connection(url: &str) -> redis::RedisResult<redis::aio::MultiplexedConnection> {
    let config = redis::AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

pub(crate) struct RedisServer {
    port: u16,
    // Killed and removed when the test ends.
    _process: Child,
    _directory: TempDir,
}

impl RedisServer {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A port that is free now may be taken a moment later, so that this tries again.
    pub(crate) async fn with(arguments: &[&str]) -> Self {
        for _ in 0..20 {
            let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let directory = tempfile::tempdir().unwrap();
            let mut process = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
                .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
                .args(arguments)
                .current_dir(directory.path())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .expect("redis-server is installed");
            let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
            let came_up = async {
                while let Ok(Some(line)) = lines.next_line().await {
                    if line.contains("Ready to accept connections") {
                        return true;
                    }
                }
                false
            };
            if soon("redis-server", came_up).await {
                // Its pipe must be read on, or a talkative server would block.
                tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
                return Self { port, _process: process, _directory: directory };
            }
        }
        panic!("redis-server does not start");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
