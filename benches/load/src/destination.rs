//! Where a client connects, and how: over TLS or not, from which address, with or without what it knows from before.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result, ensure};
use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Where clients connect.
#[derive(Clone)]
pub struct Destination {
    address: SocketAddr,
    /// As it stands in Host, and in the handshake.
    name: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// Without TLS.
    Plain(TcpStream),
    /// Over TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Destination {
    /// Plain TCP to `address`; `name` stands in Host.
    #[must_use]
    pub fn plain(address: SocketAddr, name: &str) -> Self {
        Self { address, name: name.to_owned(), tls: None }
    }

    /// TLS 1.3 to `address`, which must show a certificate for `name` by the authority in the file `ca`.
    ///
    /// Every proxy is offered the same and nothing else: X25519, AES-256-GCM. A key exchange that one of them has and
    /// another has not would be compared otherwise, instead of the proxies. `resumes` is whether sessions are remembered.
    ///
    /// # Errors
    /// If `ca` cannot be read, or `name` is no name.
    pub fn tls(address: SocketAddr, name: &str, ca: &Path, resumes: bool) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).with_context(|| format!("{ca:?}"))? {
            roots.add(certificate?)?;
        }
        ensure!(!roots.is_empty(), "{ca:?} has no certificate");
        let provider = CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384],
            ..aws_lc_rs::default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = if resumes { Resumption::in_memory_sessions(64) } else { Resumption::disabled() };
        let tls = (TlsConnector::from(Arc::new(config)), ServerName::try_from(name.to_owned())?);
        Ok(Self { address, name: name.to_owned(), tls: Some(tls) })
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The same, where HTTP/2 is asked for.
    #[must_use]
    pub fn over_http2(mut self) -> Self {
        if let Some((connector, _)) = &mut self.tls {
            let mut config = ClientConfig::clone(connector.config());
            config.alpn_protocols = vec![b"h2".to_vec()];
            *connector = TlsConnector::from(Arc::new(config));
        }
        self
    }

    /// The name that stands in Host.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Connects.
    ///
    /// # Errors
    /// If there is no connection, or no TLS on it.
    pub async fn connect(&self) -> io::Result<Stream> {
        self.finish(TcpStream::connect(self.address).await?).await
    }

    /// The same from the `index`-th of many loopback addresses. The port of a connection that has ended cannot be used
    /// again for a minute, and one address has some thirty thousand of them.
    ///
    /// # Errors
    /// As [`Destination::connect`].
    pub async fn connect_from(&self, index: usize) -> io::Result<Stream> {
        let socket = TcpSocket::new_v4()?;
        if self.address.ip().is_loopback() {
            let source = Ipv4Addr::new(127, 0, 9, (index % SOURCES) as u8 + 1);
            socket.bind(SocketAddr::from((source, 0)))?;
        }
        self.finish(socket.connect(self.address).await?).await
    }

    async fn finish(&self, tcp: TcpStream) -> io::Result<Stream> {
        tcp.set_nodelay(true)?;
        Ok(match &self.tls {
            None => Stream::Plain(tcp),
            Some((connector, name)) => Stream::Tls(Box::new(connector.connect(name.clone(), tcp).await?)),
        })
    }
}

impl Stream {
    /// Whether a TLS session was resumed on it.
    #[must_use]
    pub fn has_resumed(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

impl std::fmt::Debug for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}{})", self.address, self.name, if self.tls.is_some() { ", TLS" } else { "" })
    }
}

const SOURCES: usize = 200;
