//! Where what is counted is collected from: `GET /metrics` on the Unix socket, and on `admin.listen` for those who come over TCP,
//! who may do nothing else there.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use config::plan::Secrets;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::api::METRICS;
use crate::handles::Handles;
use crate::serve::{Answer, metrics, not_allowed, with_type};

/// A socket at which collectors come in.
#[derive(Debug)]
pub struct Collectors {
    listener: TcpListener,
    address: SocketAddr,
}

impl Collectors {
    /// Listens at `address`, or goes on with the socket of the tidelock before. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the address cannot be had.
    pub fn listen(address: SocketAddr, before: Option<OwnedFd>) -> io::Result<Self> {
        let listener = match before {
            Some(socket) => StdListener::from(socket),
            None => StdListener::bind(address)?,
        };
        listener.set_nonblocking(true)?;
        Ok(Self { listener: TcpListener::from_std(listener)?, address })
    }

    /// As the file has it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same socket once more, for another tidelock to go on with.
    ///
    /// # Errors
    /// If there is no file left for it.
    pub fn once_more(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }
}

/// Answers collectors, inside a tokio `LocalRuntime`, until another tidelock does.
///
/// # Cancel safety
/// Safe: dropping it ends it. Answers that are being given are cut then.
pub async fn collect(collectors: Rc<Collectors>, seen: Rc<Handles>) {
    let mut handed_over = seen.is_handed_over.clone();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut conversations = JoinSet::new();
    if let Ok(address) = collectors.listener.local_addr() {
        tracing::info!(event = "metrics_listening", %address, "what is counted is answered");
    }
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        while conversations.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = collectors.listener.accept() => accepted,
            Ok(_) = handed_over.wait_for(|&is_handed_over| is_handed_over) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let seen = seen.clone();
                conversations.spawn_local(async move {
                    converse(stream, &seen).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to `admin.listen` was not accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    conversations.join_all().await;
}

async fn converse(stream: TcpStream, seen: &Handles) {
    let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, seen).await) });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    http.max_buf_size(BUFFER_BYTES_MAX).keep_alive(false);
    match timeout(ANSWER_TIMEOUT, http.serve_connection(TokioIo::new(stream), service)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a connection to `admin.listen` failed"),
        Err(_) => tracing::debug!("a connection to `admin.listen` took too long"),
    }
}

async fn answer(request: Request<Incoming>, seen: &Handles) -> Answer {
    let is_known = is_known(&request, &seen.plan.borrow().admin.token);
    match (request.method(), request.uri().path()) {
        _ if !is_known => {
            let mut answer = text(StatusCode::UNAUTHORIZED, "a token of `admin.token` is wanted\n");
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            answer
        }
        (&Method::GET | &Method::HEAD, METRICS) => metrics(&request, seen).await,
        (_, METRICS) => not_allowed("GET"),
        _ => text(StatusCode::NOT_FOUND, "there is GET /metrics\n"),
    }
}

fn text(status: StatusCode, text: &'static str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", Either::Left(Full::from(text)))
}

fn is_known(request: &Request<Incoming>, tokens: &Secrets) -> bool {
    let sent = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let (scheme, token) = sent.split_at_checked(SCHEME.len()).unwrap_or_default();
    tokens.is_empty()
        || (scheme.eq_ignore_ascii_case(SCHEME) && tokens.iter().any(|known| is_same(known, token)))
}

/// Takes as long wherever they differ.
fn is_same(known: &[u8], sent: &[u8]) -> bool {
    known.len() == sent.len()
        && known.iter().zip(sent).fold(0, |differs, (known, sent)| differs | (known ^ sent)) == 0
}

const SCHEME: &[u8] = b"Bearer ";
/// At once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 16;
/// For a head.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// For all of a connection.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// A head is at most so long.
const BUFFER_BYTES_MAX: usize = 16 << 10;
