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
