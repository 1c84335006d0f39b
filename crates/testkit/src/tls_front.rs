//! What speaks TLS in front of a node that does not: a node at `https://`, as far as a proxy can see.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{HandshakeKind, RootCertStore, ServerConfig};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::TIMEOUT;
use crate::certificates::Certificate;

/// A running front. Dropping it closes its connections.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    config: watch::Sender<Arc<ServerConfig>>,
    seen: watch::Receiver<Vec<Handshake>>,
    closing: watch::Sender<()>,
    _accepting: JoinSet<()>,
}

/// A handshake that came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The name that was asked for, if one was.
    pub name: Option<String>,
    /// The protocol that ALPN chose, if it chose one.
    pub alpn: Option<String>,
    /// Whether a session was resumed.
    pub is_resumed: bool,
    /// Whether the other end has shown a certificate.
    pub has_shown: bool,
}

impl TlsFront {
    /// Starts one on a free port of 127.0.0.1, in front of `backend`.
    pub async fn to(backend: SocketAddr, certificate: &Certificate) -> Self {
        Self::start(backend, server(certificate, None)).await
    }

    /// The same for those alone who show a certificate that `authority` has signed; that is its own, in PEM.
    pub async fn demanding(backend: SocketAddr, certificate: &Certificate, authority: &str) -> Self {
        Self::start(backend, server(certificate, Some(authority))).await
    }

    async fn start(backend: SocketAddr, config: ServerConfig) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("127.0.0.1 has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (config, now) = watch::channel(Arc::new(config));
        let (said, seen) = watch::channel(Vec::new());
        let closing = watch::Sender::new(());
        let closed = closing.subscribe();
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let config = now.borrow().clone();
                connections.spawn(pass(client, config, backend, said.clone(), closed.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, config, seen, closing, _accepting: accepting }
    }

    /// Shows `certificate` to whoever comes from now on, and forgets sessions that could be resumed.
    pub fn show(&self, certificate: &Certificate) {
        self.config.send_replace(Arc::new(server(certificate, None)));
    }

    /// Says that its connections end, with a close_notify.
    pub fn close_all(&self) {
        self.closing.send_replace(());
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The handshakes that came about until now.
    #[must_use]
    pub fn handshakes(&self) -> Vec<Handshake> {
        self.seen.borrow().clone()
    }

    /// Waits until there were `count`.
    ///
    /// # Panics
    /// After [`TIMEOUT`].
    pub async fn until_handshakes(&self, count: usize) -> Vec<Handshake> {
        let mut seen = self.seen.clone();
        let reached = timeout(TIMEOUT, seen.wait_for(|seen| seen.len() >= count)).await;
        assert!(reached.is_ok(), "there were not {count} handshakes: {:?}", self.seen.borrow());
        self.handshakes()
    }
}

fn server(certificate: &Certificate, demands: Option<&str>) -> ServerConfig {
    let pem = |text: &str| CertificateDer::from_pem_slice(text.as_bytes()).expect("it was written as PEM");
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("it was written as PEM");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has the versions");
    let builder = match demands {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            roots.add(pem(authority)).expect("an authority's certificate is well-formed");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("there is an authority"))
        }
    };
    let chain = CertificateDer::pem_slice_iter(certificate.certificate.as_bytes());
    let chain = chain.collect::<Result<_, _>>().expect("it was written as PEM");
    let mut config = builder.with_single_cert(chain, key).expect("a certificate of a test can be shown");
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

async fn pass(
    client: TcpStream,
    config: Arc<ServerConfig>,
    backend: SocketAddr,
    said: watch::Sender<Vec<Handshake>>,
    mut closed: watch::Receiver<()>,
) {
    closed.mark_unchanged();
    let _ = client.set_nodelay(true);
    // Whoever does not like the certificate is seen by what it does, and whoever speaks no TLS is nobody.
    let Ok(mut client) = TlsAcceptor::from(config).accept(client).await else { return };
    let session = client.get_ref().1;
    let handshake = Handshake {
        name: session.server_name().map(str::to_owned),
        alpn: session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        is_resumed: session.handshake_kind() == Some(HandshakeKind::Resumed),
        has_shown: session.peer_certificates().is_some(),
    };
    said.send_modify(|seen| seen.push(handshake));
    let Ok(mut backend) = TcpStream::connect(backend).await else { return };
    let _ = backend.set_nodelay(true);
    tokio::select! {
        // An error on one side ends both, which is all that a relay can do.
        _ = copy_bidirectional(&mut client, &mut backend) => {}
        _ = closed.changed() => {
            let _ = tokio::io::AsyncWriteExt::shutdown(&mut client).await;
        }
    }
}
