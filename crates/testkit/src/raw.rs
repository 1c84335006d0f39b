//! One connection in the test's own hands, byte by byte: as a client of tidelock, or as an origin that it reached.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::TIMEOUT;
use crate::message::{Framing, Message};

/// A connection. What was read beyond what a call asked for is kept for the next call.
///
/// Every method panics after [`TIMEOUT`], or when the other end closes too early, with the bytes seen until then.
#[derive(Debug)]
pub struct RawConnection {
    stream: Stream,
    unread: Vec<u8>,
}

/// How the other end ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With a FIN, after everything it sent.
    Closed,
    /// With a reset: what was on its way may be lost.
    Reset,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl RawConnection {
    /// Connects to `address`.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::over(tcp(address).await)
    }

    /// Connects to `address`; the error says why there is no connection.
    pub async fn try_connect(address: SocketAddr) -> io::Result<Self> {
        try_tcp(address).await.map(Self::over)
    }

    /// Connects to `address` and shakes hands as a client of `name`; the error is what TLS refused.
    pub async fn connect_tls(address: SocketAddr, name: &str, config: ClientConfig) -> io::Result<Self> {
        Self::connect_tls_behind(address, b"", name, config).await
    }

    /// The same with `header` in front of the handshake, as a load balancer sends it.
    ///
    /// # Errors
    /// If the handshake fails.
    pub async fn connect_tls_behind(
        address: SocketAddr,
        header: &[u8],
        name: &str,
        config: ClientConfig,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(name.to_owned())
            .expect("a test asks for a name that may be in a certificate");
        let mut stream = tcp(address).await;
        stream.write_all(header).await?;
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = timeout(TIMEOUT, handshake).await.expect("the TLS handshake takes too long")?;
        Ok(Self { stream: Stream::Tls(Box::new(stream)), unread: Vec::new() })
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        // A piece sent alone must travel alone.
        stream.set_nodelay(true).expect("a connected socket takes TCP_NODELAY");
        Self { stream: Stream::Plain(stream), unread: Vec::new() }
    }

    /// The address of this end.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.stream.tcp().local_addr().expect("a connected socket has an address")
    }

    /// The protocol that ALPN chose, if it chose one.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// What TLS has agreed on, where there is TLS.
    #[must_use]
    pub fn tls(&self) -> Option<&rustls::ClientConnection> {
        match &self.stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(stream.get_ref().1),
        }
    }

    /// Sends `bytes` in one write, if the kernel takes them in one.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the other end takes what is sent");
    }

    /// Sends `bytes`; the error is how the other end refused them.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        timeout(TIMEOUT, self.stream.write(bytes.as_ref())).await.expect("the other end does not read")
    }

    /// Sends each piece as a packet of its own; the scheduler gets a turn between two.
    pub async fn send_pieces<P: AsRef<[u8]>>(&mut self, pieces: impl IntoIterator<Item = P>) {
        self.try_send_pieces(pieces).await.expect("the other end takes what is sent");
    }

    /// The same; the error is how the other end refused them, somewhere on the way.
    pub async fn try_send_pieces<P: AsRef<[u8]>>(
        &mut self,
        pieces: impl IntoIterator<Item = P>,
    ) -> io::Result<()> {
        for piece in pieces {
            self.try_send(piece).await?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Reads exactly `count` bytes.
    pub async fn read_exactly(&mut self, count: usize) -> Vec<u8> {
        self.take_exactly(count).await.unwrap_or_else(|missing| panic!("{missing}"))
    }

    /// The same; the error says what came instead.
    pub async fn try_read_exactly(&mut self, count: usize) -> Result<Vec<u8>, String> {
        self.take_exactly(count).await
    }

    /// Whether nothing has come that was not read yet, as far as the kernel knows by now. Waits for nothing.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        self.unread.is_empty() && recv(self.stream.tcp(), &mut [0_u8; 1], flags) == Err(Errno::AGAIN)
    }

    /// Reads up to and including the first `needle`.
    pub async fn read_until(&mut self, needle: impl AsRef<[u8]>) -> Vec<u8> {
        self.take_until(needle.as_ref()).await.unwrap_or_else(|missing| panic!("{missing}"))
    }

    /// Reads a head up to its empty line, and no byte of the body.
    pub async fn read_head(&mut self) -> Message {
        Message::from_head(self.read_until("\r\n\r\n").await)
    }

    /// Reads one whole request or answer. An answer to HEAD has no body: use [`read_head`](Self::read_head) for it.
    pub async fn read_message(&mut self) -> Message {
        self.take_message().await.unwrap_or_else(|missing| panic!("{missing}"))
    }

    /// Sends a request without a body and reads its answer, that to HEAD too; the error says what came instead.
    pub async fn try_ask(&mut self, request: &str) -> Result<Message, String> {
        self.try_send(request).await.map_err(|error| format!("not taken: {error}"))?;
        if request.starts_with("HEAD ") {
            return self.take_until(b"\r\n\r\n").await.map(Message::from_head);
        }
        self.take_message().await
    }

    /// Reads until the other end closes or resets the connection.
    pub async fn read_to_end(&mut self) -> (Vec<u8>, End) {
        let end = loop {
            let read = timeout(TIMEOUT, self.stream.read(&mut self.unread)).await;
            match read.unwrap_or_else(|_| panic!("the end did not come; until then {}", self.seen())) {
                Ok(0) => break End::Closed,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break End::Reset,
                // A TLS peer that closes without close_notify has closed all the same.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break End::Closed,
                Err(error) => panic!("reading failed: {error}"),
            }
        };
        (std::mem::take(&mut self.unread), end)
    }

    /// Reads until the other end says that it ends. Over TLS that is close_notify; without it a FIN is an error.
    pub async fn read_to_end_of_tls(&mut self) -> io::Result<Vec<u8>> {
        let reading = async {
            while self.stream.read(&mut self.unread).await? > 0 {}
            Ok::<(), io::Error>(())
        };
        timeout(TIMEOUT, reading).await.expect("the end did not come")?;
        Ok(std::mem::take(&mut self.unread))
    }

    /// Sends FIN and goes on reading.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("a connected socket can be shut down");
    }

    /// Resets the connection: RST instead of FIN.
    pub fn reset(self) {
        self.stream.tcp().set_zero_linger().expect("a connected socket takes SO_LINGER");
    }

    /// Waits as long as it takes for a request; `None` when the other end closes instead.
    /// The next request, or `None` if there is none any more.
    pub async fn try_next_request(&mut self) -> Option<Message> {
        self.next_request().await.ok().flatten()
    }

    pub(crate) async fn next_request(&mut self) -> io::Result<Option<Message>> {
        if self.unread.is_empty() && self.stream.read(&mut self.unread).await? == 0 {
            return Ok(None);
        }
        self.take_message().await.map(Some).map_err(io::Error::other)
    }

    /// Waits until the other end closes. What it sends before that stays to be read. Cancel-safe.
    /// Waits, for as long as it takes, until something is there to read: `false` at the end.
    pub async fn has_more(&mut self) -> bool {
        !self.unread.is_empty() || self.stream.read(&mut self.unread).await.is_ok_and(|count| count > 0)
    }

    pub(crate) async fn ended(&mut self) -> io::Result<()> {
        while self.stream.read(&mut self.unread).await? > 0 {}
        Ok(())
    }

    /// Sends back what comes, until the other end closes.
    pub(crate) async fn echo(&mut self) -> io::Result<()> {
        loop {
            let bytes = std::mem::take(&mut self.unread);
            self.stream.write(&bytes).await?;
            if self.stream.read(&mut self.unread).await? == 0 {
                return self.stream.shutdown().await;
            }
        }
    }

    async fn take_message(&mut self) -> Result<Message, String> {
        let mut message = Message::from_head(self.take_until(b"\r\n\r\n").await?);
        match message.framing() {
            Framing::Length(length) => {
                message.body = self.take_exactly(length).await?;
                message.raw.extend_from_slice(&message.body);
            }
            Framing::Chunked => self.take_chunks(&mut message).await?,
            Framing::UntilClose => {
                (message.body, _) = self.read_to_end().await;
                message.raw.extend_from_slice(&message.body);
            }
        }
        Ok(message)
    }

    async fn take_chunks(&mut self, message: &mut Message) -> Result<(), String> {
        loop {
            let size_line = self.take_until(b"\r\n").await?;
            message.raw.extend_from_slice(&size_line);
            let text = String::from_utf8_lossy(&size_line);
            let digits = text.trim_end().split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(digits, 16).map_err(|_| format!("no chunk size in {text:?}"))?;
            if size == 0 {
                break;
            }
            let chunk = self.take_exactly(size + 2).await?;
            message.raw.extend_from_slice(&chunk);
            message.body.extend_from_slice(&chunk[..size]);
        }
        loop {
            let trailer = self.take_until(b"\r\n").await?;
            message.raw.extend_from_slice(&trailer);
            if trailer == b"\r\n" {
                return Ok(());
            }
        }
    }

    async fn take_exactly(&mut self, count: usize) -> Result<Vec<u8>, String> {
        while self.unread.len() < count {
            self.more(&format!("{count} bytes")).await?;
        }
        Ok(self.unread.drain(..count).collect())
    }

    async fn take_until(&mut self, needle: &[u8]) -> Result<Vec<u8>, String> {
        let mut searched = 0;
        loop {
            let found = self.unread[searched..].windows(needle.len()).position(|window| window == needle);
            if let Some(at) = found {
                return Ok(self.unread.drain(..searched + at + needle.len()).collect());
            }
            searched = self.unread.len().saturating_sub(needle.len() - 1);
            self.more(&format!("\"{}\"", needle.escape_ascii())).await?;
        }
    }

    async fn more(&mut self, wanted: &str) -> Result<(), String> {
        match timeout(TIMEOUT, self.stream.read(&mut self.unread)).await {
            Ok(Ok(0)) => Err(format!("closed before {wanted} came; until then {}", self.seen())),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(format!("{error} before {wanted} came; until then {}", self.seen())),
            Err(_) => Err(format!("{wanted} did not come in time; until then {}", self.seen())),
        }
    }

    fn seen(&self) -> String {
        const SHOWN_MAX: usize = 2048;
        let shown = &self.unread[..self.unread.len().min(SHOWN_MAX)];
        format!("{} bytes: \"{}\"", self.unread.len(), shown.escape_ascii())
    }
}

impl Stream {
    async fn read(&mut self, into: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read_buf(into).await,
            Self::Tls(stream) => stream.read_buf(into).await,
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.write_all(bytes).await,
            Self::Tls(stream) => {
                stream.write_all(bytes).await?;
                stream.flush().await
            }
        }
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.shutdown().await,
            Self::Tls(stream) => stream.shutdown().await,
        }
    }

    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Sends `GET path` on a connection of its own, as a client that wants nothing kept alive, and reads the answer.
pub async fn get(address: SocketAddr, path: &str) -> Message {
    let mut connection = RawConnection::connect(address).await;
    connection.send(format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")).await;
    connection.read_message().await
}

async fn tcp(address: SocketAddr) -> TcpStream {
    try_tcp(address).await.unwrap_or_else(|error| panic!("no connection to {address}: {error}"))
}

async fn try_tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(TIMEOUT, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}
