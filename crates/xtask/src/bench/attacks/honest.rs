//! The clients that are not the attacker: what they ask, and what becomes of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

/// All of them, for as long as they are asked to.
pub(crate) struct Crowd {
    clients: JoinSet<Answers>,
    goes_on: watch::Sender<bool>,
}

/// What they got.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    latencies: Vec<Duration>,
    lost: usize,
    first_failure: Option<String>,
}

impl Crowd {
    pub(crate) fn begin(proxy: SocketAddr) -> Self {
        let (goes_on, going) = watch::channel(true);
        let mut clients = JoinSet::new();
        for index in 0..CLIENTS {
            let client = Client {
                own: Ipv4Addr::new(127, 1, 0, 1 + index).into(),
                proxy,
                keeps: index % 2 == 0,
                connection: None,
            };
            // Spread over the interval, so that they do not all ask at once.
            let first = Instant::now() + EVERY.mul_f64(f64::from(index) / f64::from(CLIENTS));
            clients.spawn(client.run(first, going.clone()));
        }
        Self { clients, goes_on }
    }

    /// No request begins any more; those under way are waited for.
    pub(crate) async fn end(self) -> Answers {
        let Self { mut clients, goes_on } = self;
        goes_on.send_replace(false);
        let mut all = Answers::default();
        while let Some(Ok(one)) = clients.join_next().await {
            all.latencies.extend(one.latencies);
            all.lost += one.lost;
            all.first_failure = all.first_failure.or(one.first_failure);
        }
        all.latencies.sort_unstable();
        all
    }
}

impl Answers {
    /// These latencies, in order, and so many lost.
    #[cfg(test)]
    pub(crate) fn of(latencies: &[Duration], lost: usize) -> Self {
        Self { latencies: latencies.to_vec(), lost, first_failure: None }
    }

    pub(crate) fn lost(&self) -> usize {
        self.lost
    }

    pub(crate) fn asked(&self) -> usize {
        self.lost + self.latencies.len()
    }

    pub(crate) fn p99(&self) -> Duration {
        let at = self.latencies.len() * 99 / 100;
        self.latencies.get(at).copied().unwrap_or(TIMEOUT)
    }

    pub(crate) fn first_failure(&self) -> Option<&str> {
        self.first_failure.as_deref()
    }
}

struct Client {
    own: std::net::IpAddr,
    proxy: SocketAddr,
    /// Its connection, for the next request.
    keeps: bool,
    connection: Option<TcpStream>,
}

impl Client {
    async fn run(mut self, first: Instant, going: watch::Receiver<bool>) -> Answers {
        let mut answers = Answers::default();
        let mut due = first;
        loop {
            sleep_until(due).await;
            if !*going.borrow() {
                return answers;
            }
            let asked = timeout(TIMEOUT, self.ask()).await;
            match asked.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer within {TIMEOUT:?}"))) {
                Ok(()) => answers.latencies.push(due.elapsed()),
                Err(error) => {
                    self.connection = None;
                    answers.lost += 1;
                    answers.first_failure.get_or_insert_with(|| format!("{error:#}"));
                }
            }
            // Who had to wait does not ask twice at once.
            due = (due + EVERY).max(Instant::now());
        }
    }

    /// A connection that was closed between two requests is another one's turn, as with every client.
    async fn ask(&mut self) -> Result<()> {
        if let Some(mut kept) = self.connection.take()
            && exchange(&mut kept).await.is_ok()
        {
            self.connection = Some(kept);
            return Ok(());
        }
        let socket = TcpSocket::new_v4()?;
        socket.bind((self.own, 0).into())?;
        let mut connection = socket.connect(self.proxy).await.context("connect")?;
        exchange(&mut connection).await?;
        if self.keeps {
            self.connection = Some(connection);
        }
        Ok(())
    }
}

async fn exchange(connection: &mut TcpStream) -> Result<()> {
    connection.set_nodelay(true)?;
    connection.write_all(REQUEST).await.context("write")?;
    let mut answer = Vec::with_capacity(1024);
    loop {
        if let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") {
            let status = answer.get(9..12).unwrap_or_default();
            if status != b"200" {
                bail!("status {}", String::from_utf8_lossy(status));
            }
            if answer.len() >= end + 4 + BYTES {
                return Ok(());
            }
        }
        if connection.read_buf(&mut answer).await.context("read")? == 0 {
            bail!("closed without an answer");
        }
    }
}

const CLIENTS: u8 = 100;
const EVERY: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(3);
const BYTES: usize = 128;
const REQUEST: &[u8] = b"GET /bytes/128 HTTP/1.1\r\nHost: bench.example\r\n\r\n";
