//! A relay of bytes, as an L4 balancer is: it stands in front of two tidelocks and sends each new connection to the
//! one that it was told last. Connections that exist stay where they are.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A running relay. Dropping it closes its connections.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    backend: watch::Sender<SocketAddr>,
    _accepting: JoinSet<()>,
}

impl Relay {
    /// Starts a relay on a free port of 127.0.0.1, to `backend`.
    pub async fn to(backend: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("127.0.0.1 has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (backend, now) = watch::channel(backend);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, *now.borrow()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, backend, _accepting: accepting }
    }

    /// Sends every connection that comes from now on to `backend`.
    pub fn switch(&self, backend: SocketAddr) {
        self.backend.send_replace(backend);
    }

    /// `http://` and where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn pass(mut client: TcpStream, backend: SocketAddr) {
    let Ok(mut backend) = TcpStream::connect(backend).await else { return };
    // A relay must not add Nagle's delay to what it measures nothing of; without the option it merely is slow.
    let _ = (client.set_nodelay(true), backend.set_nodelay(true));
    // Each end's FIN is passed on by itself; an error on one side ends both, which is all that a relay can do.
    let _ = copy_bidirectional(&mut client, &mut backend).await;
}
