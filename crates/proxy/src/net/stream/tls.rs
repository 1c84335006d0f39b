//! A connection that speaks TLS, to a client or to a node.

use std::io::{self, BufRead};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsStream, client, server};

use crate::net::node_tls::NodeTls;
use crate::net::stream::unread::has_nothing_to_read;

/// One that has shaken hands.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(super) stream: TlsStream<TcpStream>,
    /// How its node is spoken with, if it leads to one.
    node: Option<Arc<NodeTls>>,
}

/// What was agreed on in a handshake, in OpenSSL's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TlsWords {
    pub(crate) protocol: &'static str,
    pub(crate) cipher: &'static str,
}

/// What an idle connection has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdleState {
    Quiet,
    /// It has ended, or will.
    Ended,
    /// Bytes that nobody has asked for.
    Surplus,
}

impl Tls {
    /// From a client.
    pub(crate) fn from_client(stream: server::TlsStream<TcpStream>) -> Self {
        Self { stream: stream.into(), node: None }
    }

    /// To a node.
    pub(crate) fn to_node(stream: client::TlsStream<TcpStream>, node: Arc<NodeTls>) -> Self {
        Self { stream: stream.into(), node: Some(node) }
    }

    /// The host that a client has asked for (SNI, RFC 6066 section 3).
    pub(super) fn server_name(&self) -> Option<&str> {
        match &self.stream {
            TlsStream::Server(server) => server.get_ref().1.server_name(),
            TlsStream::Client(_) => None,
        }
    }

    /// What was agreed on; `None` while nothing is.
    pub(super) fn words(&self) -> Option<TlsWords> {
        let TlsStream::Server(server) = &self.stream else { return None };
        let connection = &server.get_ref().1;
        let protocol = match connection.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3",
            _ => return None,
        };
        Some(TlsWords { protocol, cipher: openssl_name(connection.negotiated_cipher_suite()?.suite()) })
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        self.stream.get_ref().0
    }

    /// Whether there are neither decrypted bytes nor the end behind a socket that has nothing more.
    pub(super) fn has_nothing_decrypted(&mut self) -> bool {
        let looked = match &mut self.stream {
            TlsStream::Client(client) => client.get_mut().1.reader().fill_buf().map(|_| ()),
            TlsStream::Server(server) => server.get_mut().1.reader().fill_buf().map(|_| ()),
        };
        looked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ready when a read may give something.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.has_nothing_decrypted() {
            true => self.tcp().poll_read_ready(cx),
            false => Poll::Ready(Ok(())),
        }
    }

    /// What the peer's certificate or its alert says comes out here, too: of TLS 1.3 a node can refuse after the handshake.
    pub(super) fn heard(&self, read: &io::Result<usize>) {
        let Some(node) = &self.node else { return };
        match read {
            Ok(0) => {}
            Ok(_) => node.is_well(),
            Err(error) if error.get_ref().is_some_and(|error| error.is::<rustls::Error>()) => {
                node.failed(error);
            }
            Err(_) => {}
        }
    }

    /// Whether the connection was opened with another certificate or trust than its node's are now.
    pub(super) fn is_by_another_than(&self, now: &NodeTls) -> bool {
        self.node.as_ref().is_some_and(|node| !std::ptr::eq(&raw const **node, now))
    }

    /// What an idle one has to say. A ticket that resumes its session, or a new key, is neither bytes nor an end.
    pub(super) fn idle_state(&mut self, for_sure: bool) -> IdleState {
        let mut byte = [0];
        let mut read = ReadBuf::new(&mut byte);
        let mut nobody = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.stream).poll_read(&mut nobody, &mut read) {
            Poll::Ready(Ok(())) if !read.filled().is_empty() => IdleState::Surplus,
            Poll::Ready(_) => IdleState::Ended,
            // What has come and is not known here yet may be the end.
            Poll::Pending if for_sure && !has_nothing_to_read(self.tcp().as_fd()) => IdleState::Ended,
            Poll::Pending => IdleState::Quiet,
        }
    }
}

/// As nginx logs it.
fn openssl_name(suite: rustls::CipherSuite) -> &'static str {
    use rustls::CipherSuite as Suite;
    match suite {
        Suite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        Suite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        Suite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        // There is none besides these.
        other => other.as_str().unwrap_or("other"),
    }
}
