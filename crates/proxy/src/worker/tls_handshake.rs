//! The TLS handshake with a client, and whether it is let in.

use std::io;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustls::server::Acceptor;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::{Accept, LazyConfigAcceptor, TlsAcceptor, server};

use crate::net::stream::Stream;
use crate::net::stream::tls::Tls;
use crate::net::tls::{ACME_TLS, HTTP2, ServerTls, lines_of, why_refused};
use crate::observe::counters::Handshake;

/// A client that has shaken hands.
#[derive(Debug)]
pub(super) struct Shaken {
    pub(super) how: Handshake,
    pub(super) stream: Stream,
    /// What nodes are told of its certificate, if it was asked for one.
    pub(super) certificate_lines: Option<Vec<u8>>,
    /// HTTP/2 was agreed on.
    pub(super) is_http2: bool,
}

/// Why nobody comes of a handshake.
#[derive(Debug)]
pub(super) struct NotShaken {
    pub(super) how: Handshake,
    /// Why somebody is not let in, for want of a certificate.
    pub(super) refused: Option<&'static str>,
}

impl NotShaken {
    fn by(how: Handshake) -> Self {
        Self { how, refused: None }
    }

    fn refused(why: &'static str) -> Self {
        Self { how: Handshake::Refused, refused: Some(why) }
    }
}

/// The handshake, whole and in time.
pub(super) async fn shake(
    tcp: TcpStream,
    tls: ServerTls,
    peer: IpAddr,
    within: Duration,
) -> Result<Shaken, NotShaken> {
    let asks_clients = tls.asks_clients;
    let stream = match timeout(within, accepted(tcp, tls)).await {
        // Who came to see whose a name is has seen it (RFC 8737 section 3).
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) => {
            tracing::info!(event = "challenge_answered", %peer, "an authority has looked whose a name is, over TLS");
            return Err(NotShaken::by(Handshake::Challenge));
        }
        Ok(Ok(stream)) => stream,
        // Boxed, because it is rare: each handshake would carry it, and is copied whole when it begins.
        Ok(Err((error, tcp))) => {
            let refused = Box::pin(failed(&error, tcp, peer)).await;
            return Err(refused.map_or(NotShaken::by(Handshake::Failed), NotShaken::refused));
        }
        Err(_) => {
            tracing::debug!(%peer, "TLS handshake timed out");
            return Err(NotShaken::by(Handshake::TimedOut));
        }
    };
    let certificate_lines = match asks_clients {
        true => Some(
            lines_of(stream.get_ref().1.peer_certificates())
                .map_err(|why| NotShaken::refused(tell(why, peer)))?,
        ),
        false => None,
    };
    let connection = stream.get_ref().1;
    let (how, is_http2) = (Handshake::of(connection), connection.alpn_protocol() == Some(HTTP2));
    Ok(Shaken { how, stream: Stream::Tls(Box::new(Tls::from_client(stream))), certificate_lines, is_http2 })
}

type Failed = (io::Error, Option<TcpStream>);

async fn accepted(tcp: TcpStream, tls: ServerTls) -> Result<server::TlsStream<TcpStream>, Failed> {
    let alone = |error: io::Error| (error, None);
    // Who says hello and is gone by the time of its turn gets no key agreement, which is what it came to waste.
    if tcp.ready(Interest::READABLE).await.map_err(alone)?.is_read_closed() {
        return Err(alone(io::ErrorKind::ConnectionAborted.into()));
    }
    let accept: Accept<TcpStream> = match tls.for_authorities {
        None => TlsAcceptor::from(tls.config).accept(tcp),
        Some(for_authorities) => {
            let start = Box::pin(LazyConfigAcceptor::new(Acceptor::default(), tcp)).await.map_err(alone)?;
            let is_authority =
                start.client_hello().alpn().is_some_and(|mut offered| offered.all(|one| one == ACME_TLS));
            start.into_stream(if is_authority { for_authorities } else { tls.config })
        }
    };
    accept.into_fallible().await.map_err(|(error, tcp)| (error, Some(tcp)))
}

/// Tells why a handshake has failed. Returns it where it was for want of a certificate.
async fn failed(error: &io::Error, tcp: Option<TcpStream>, peer: IpAddr) -> Option<&'static str> {
    let of_tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    let Some(why) = of_tls.and_then(why_refused) else {
        tracing::debug!(%peer, %error, "TLS handshake failed");
        return None;
    };
    tell(why, peer);
    // A client of TLS 1.3 has sent its first request already: closed on it unread the connection would be reset, and the alert
    // that says why with it.
    if let Some(mut tcp) = tcp {
        let _ = timeout(LINGER, async {
            tcp.shutdown().await?;
            let mut unread = [0; 4096];
            for _ in 0..UNREAD_MAX / unread.len() {
                if tcp.read(&mut unread).await? == 0 {
                    break;
                }
            }
            io::Result::Ok(())
        })
        .await;
    }
    Some(why)
}

/// Says why somebody is not let in; once a while, because strangers can have it said as often as they like.
fn tell(why: &'static str, peer: IpAddr) -> &'static str {
    static TOLD: Mutex<(Option<Instant>, u64)> = Mutex::new((None, 0));
    let now = Instant::now();
    let unsaid = {
        let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = told.0.is_some_and(|until| now < until);
        if is_quiet {
            told.1 += 1;
            None
        } else {
            let (_, unsaid) = std::mem::replace(&mut *told, (Some(now + TELL_EVERY), 0));
            Some(unsaid)
        }
    };
    match unsaid {
        Some(unsaid) => tracing::warn!(
            event = "client_certificate_refused",
            %peer,
            reason = why,
            unsaid,
            "a TLS handshake has ended for want of a client certificate that is accepted"
        ),
        None => tracing::debug!(%peer, reason = why, "TLS handshake failed"),
    }
    why
}

/// How long a client that is not let in may take to hear it, and what is read of it meanwhile.
const LINGER: Duration = Duration::from_secs(1);
const UNREAD_MAX: usize = 64 << 10;
const TELL_EVERY: Duration = Duration::from_secs(10);
