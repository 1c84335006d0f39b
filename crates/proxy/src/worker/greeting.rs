//! What comes before the first request of a connection: a load balancer's word of its client, and the TLS handshake.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::BytesMut;
use config::plan::Scheme;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use wire::forward::ClientEnd;
use wire::proxy_protocol::{self, NoHeader, Said};

use crate::net::clock::by_clock;
use crate::net::places::ClientKey;
use crate::net::seats::Seated;
use crate::net::stream::eager_read::EagerRead;
use crate::net::stream::{Io, Stream};
use crate::observe::lifecycle::Live;
use crate::request::reply::Redirect;
use crate::state::local::Local;
use crate::worker::connection::{ClientConnection, PLAIN_SCHEME};
use crate::worker::http2::{Http2Client, Introduction};
use crate::worker::listener::Incoming;
use crate::worker::tls_handshake::{self, NotShaken, Shaken};

/// What a worker greets its connections with.
#[derive(Debug)]
pub(super) struct Greeter {
    local: Rc<Local>,
    eager_read: EagerRead,
}

/// A connection that was greeted, by what it speaks.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the usual one, and is moved on at once")]
pub(super) enum Greeted {
    Http1(ClientConnection),
    Http2(Box<Http2Client>),
}

impl Greeter {
    pub(super) fn new(local: Rc<Local>) -> Rc<Self> {
        Rc::new(Self { local, eager_read: EagerRead::default() })
    }

    /// Greets a connection that was just accepted, and gives it to `serve`.
    pub(super) fn greet(self: &Rc<Self>, incoming: Incoming, serve: impl Fn(Greeted) + 'static) {
        let snapshot = self.local.snapshot();
        // Unless two reloads went by while this waited for its worker.
        let Some(listen) = snapshot.listen(incoming.listen) else { return };
        let bytes = if listen.tls.is_some() { TLS_CONNECTION_BYTES } else { CONNECTION_BYTES };
        self.local.buffers.ledger.charge(bytes);
        if listen.is_proxied {
            self.hear_of_client(incoming, serve);
        } else {
            self.begin(incoming, serve);
        }
    }

    /// Reads the PROXY header, and goes on with the client that it names. Only a trusted proxy may say who that is, and whoever
    /// else comes in here says nothing: believed it would be anybody, and unbelieved it is a request that begins in no way.
    fn hear_of_client(self: &Rc<Self>, incoming: Incoming, serve: impl Fn(Greeted) + 'static) {
        let (snapshot, peer) = (self.local.snapshot(), incoming.peer.ip());
        if !snapshot.is_trusted(peer) {
            static IS_TOLD: AtomicBool = AtomicBool::new(false);
            if !IS_TOLD.swap(true, Relaxed) {
                tracing::warn!(
                    event = "proxy_header_unbelieved",
                    %peer,
                    "a connection to a listen with `proxy_protocol` is closed, and so will others be: if that is your load balancer, \
                     write its address into trusted_proxies"
                );
            }
            return;
        }
        let Incoming { tcp, peer, listen, port, mut live } = incoming;
        let Ok(mut tcp) = TcpStream::from_std(tcp) else { return };
        let (greeter, timeout) = (self.clone(), snapshot.plan.timeouts.head);
        let hearing = async move {
            let heard = greeter.unless_displaced(tokio::time::timeout(timeout, read_header(&mut tcp))).await;
            let client = match heard {
                Some(Ok(Ok(client))) => client.unwrap_or(peer),
                Some(Ok(Err(error))) => return tracing::debug!(%peer, %error, "no PROXY header"),
                Some(Err(_)) => return tracing::debug!(%peer, "no PROXY header in time"),
                None => return,
            };
            let snapshot = greeter.local.snapshot();
            if !snapshot.is_trusted(client.ip())
                && let Err(refused) = live.is_of(ClientKey::of(client.ip()), &snapshot.plan.limits)
            {
                return greeter.local.counters.count_refused(refused);
            }
            if let Ok(tcp) = tcp.into_std() {
                greeter.begin(Incoming { tcp, peer: client, listen, port, live }, serve);
            }
        };
        spawn_local(hearing);
    }

    /// Serves a connection of a client that is known.
    fn begin(self: &Rc<Self>, incoming: Incoming, serve: impl Fn(Greeted) + 'static) {
        let Incoming { tcp, peer, listen, port, live } = incoming;
        let snapshot = self.local.snapshot();
        let id = listen;
        let Some(listen) = snapshot.listen(id) else { return };
        if listen.access.as_ref().is_some_and(|access| !access.admits(peer.ip())) {
            return self
                .local
                .counters
                .count_connection("connection from an address that its listen does not take");
        }
        let redirects = match listen.scheme {
            Scheme::RedirectToHttps { port } => Some(Redirect { port }),
            Scheme::Plain | Scheme::Tls(_) | Scheme::Automatic { .. } => None,
        };
        let is_trusted = snapshot.is_trusted(peer.ip());
        let end = move |scheme| ClientEnd::new(peer.ip(), scheme, port, is_trusted);
        let introduced = move |end| Introduction { end, redirects, listen: id };
        let Some(tls) = &listen.tls else {
            if listen.http2 {
                return self.hear_of_http2(tcp, introduced(end(PLAIN_SCHEME)), live, serve);
            }
            let Some((io, said)) = self.eager_read.try_first_read(tcp, &self.local.buffers) else {
                return;
            };
            let mut client = ClientConnection::new(io, end(PLAIN_SCHEME), redirects, live, &self.local);
            client.inbound = said;
            return serve(Greeted::Http1(client));
        };
        let (place, limits) = (live.place(), &snapshot.plan.limits);
        if let Err(refused) = place.places().may_shake_hands(place.client(), limits) {
            return self.local.counters.count_refused(refused);
        }
        let Ok(tcp) = TcpStream::from_std(tcp) else { return };
        let handshake = tls_handshake::shake(tcp, tls.clone(), peer.ip(), snapshot.plan.timeouts.head);
        // A task of its own, because a TLS handshake is big and short.
        let (greeter, clock) = (self.clone(), self.local.clock.clone());
        let handshake = Box::pin(async move {
            let counters = &greeter.local.counters;
            let Shaken { how, stream, certificate_lines, is_http2 } =
                match greeter.unless_displaced(handshake).await {
                    Some(Ok(shaken)) => shaken,
                    Some(Err(NotShaken { how, refused })) => {
                        counters.count_handshake(how);
                        return refused.into_iter().for_each(|why| counters.count_connection(why));
                    }
                    None => return,
                };
            counters.count_handshake(how);
            let end = match certificate_lines {
                None => end("https"),
                Some(lines) => end("https").with_certificate(&lines),
            };
            if is_http2 {
                let client = Http2Client::new(stream, BytesMut::new(), introduced(end), live, &greeter.local);
                return serve(Greeted::Http2(client));
            }
            let client = ClientConnection::new(Io::new(stream), end, redirects, live, &greeter.local);
            serve(Greeted::Http1(client));
        });
        spawn_local(by_clock(clock, handshake));
    }

    /// Reads how a connection begins where it may speak either protocol (RFC 9113 section 3.3), and serves it as what it is.
    fn hear_of_http2(
        self: &Rc<Self>,
        tcp: std::net::TcpStream,
        introduction: Introduction,
        live: Live,
        serve: impl Fn(Greeted) + 'static,
    ) {
        let Ok(mut tcp) = TcpStream::from_std(tcp) else { return };
        let (greeter, timeout) = (self.clone(), self.local.snapshot().plan.timeouts.head);
        let hearing = Box::pin(async move {
            let mut said = BytesMut::new();
            let preface = tokio::time::timeout(timeout, read_preface(&mut tcp, &mut said));
            let Some(Ok(Ok(is_http2))) = greeter.unless_displaced(preface).await else { return };
            let stream = Stream::Plain(tcp);
            if is_http2 {
                let client = Http2Client::new(stream, said, introduction, live, &greeter.local);
                return serve(Greeted::Http2(client));
            }
            let Introduction { end, redirects, listen: _ } = introduction;
            let mut client = ClientConnection::new(Io::new(stream), end, redirects, live, &greeter.local);
            client.inbound = said;
            serve(Greeted::Http1(client));
        });
        spawn_local(by_clock(self.local.clock.clone(), hearing));
    }

    /// What `greeting` gives, unless the place of who has said nothing yet is wanted for another one.
    async fn unless_displaced<T>(&self, greeting: impl Future<Output = T>) -> Option<T> {
        let seat = self.local.seats.take(Seated::Silent);
        tokio::select! {
            biased;
            greeted = greeting => Some(greeted),
            () = poll_fn(|cx| seat.poll_wanted(cx)) => None,
        }
    }
}

/// Reads until it is known whether a client begins as HTTP/2 does. What was read is in `said`.
async fn read_preface(tcp: &mut TcpStream, said: &mut BytesMut) -> io::Result<bool> {
    loop {
        let here = said.len().min(PREFACE.len());
        if said[..here] != PREFACE[..here] {
            return Ok(false);
        }
        if here == PREFACE.len() {
            return Ok(true);
        }
        if tcp.read_buf(said).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Where the client is, by the PROXY header; `None` if the connection is the load balancer's own. Reads nothing
/// that stands behind the header, which is the client's.
async fn read_header(tcp: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    let mut header = Vec::new();
    loop {
        let said = proxy_protocol::read(&header);
        match said.map_err(|no: NoHeader| io::Error::new(io::ErrorKind::InvalidData, no.to_string()))? {
            Said::Whole { client, .. } => return Ok(client),
            Said::More(more) => {
                let here = header.len();
                header.resize(here + more, 0);
                tcp.read_exact(&mut header[here..]).await?;
            }
        }
    }
}

/// How every connection of HTTP/2 begins (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What a connection takes at first, about (benches/results/history.md); over TLS while it shakes hands.
const CONNECTION_BYTES: usize = 2 << 10;
const TLS_CONNECTION_BYTES: usize = 32 << 10;
