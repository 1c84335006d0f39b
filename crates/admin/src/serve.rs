//! Answers on the socket: one request a connection, each read and each answer within a deadline. What a verb does is
//! next door.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Channel, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use supervisor::Verb;
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::api::{APP, DRAIN, FLUSH, LOGS, METRICS, RELOAD, STATUS, UNDRAIN, UPGRADE, line, to_json};
use crate::api::{Event, LogsWanted, NodeSelector, Upgrade};
use crate::apps;
use crate::handles::{Applied, Handles};
use crate::metrics::{Format, Seen};
use crate::socket::Socket;
use crate::verbs;

/// Answers whoever connects to `socket`, inside a tokio `LocalRuntime`, until another tidelock takes the verbs and those that were
/// taken here are answered.
///
/// # Cancel safety
/// Safe: dropping it ends it. Answers that are being given are cut then.
pub async fn serve(socket: Socket, seen: Rc<Handles>) {
    let mut handed_over = seen.is_handed_over.clone();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut conversations = JoinSet::new();
    loop {
        let Ok(permit) = permits.clone().acquire_owned().await else { return };
        while conversations.try_join_next().is_some() {}
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            Ok(_) = handed_over.wait_for(|&is_handed_over| is_handed_over) => break,
        };
        match accepted {
            Ok(stream) => {
                let seen = seen.clone();
                conversations.spawn_local(async move {
                    converse(stream, &seen).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the admin socket was not accepted");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    socket.let_go();
    conversations.join_all().await;
}

pub(crate) type Answer = Response<Either<Full<Bytes>, Channel<Bytes>>>;

async fn converse(stream: UnixStream, seen: &Handles) {
    // What goes on beside the answer ends with the connection.
    let reports = RefCell::new(JoinSet::new());
    let (seen, reports) = (&seen, &reports);
    let service =
        service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, seen, reports).await) });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(READ_TIMEOUT);
    http.max_buf_size(BUFFER_BYTES_MAX).keep_alive(false);
    tokio::select! {
        served = http.serve_connection(TokioIo::new(stream), service) => {
            if let Err(error) = served {
                tracing::debug!(%error, "a connection to the admin socket failed");
            }
        }
        () = no_more_to_say(reports) => tracing::debug!("a connection to the admin socket took too long"),
    }
}

/// Resolves some time after the last report has ended: an answer lasts as long as what it tells of, and a report ends
/// by itself if nobody reads it.
async fn no_more_to_say(reports: &RefCell<JoinSet<()>>) {
    loop {
        sleep(ANSWER_TIMEOUT).await;
        let mut reports = reports.borrow_mut();
        while reports.try_join_next().is_some() {}
        if reports.is_empty() {
            return;
        }
    }
}

async fn answer(request: Request<Incoming>, seen: &Handles, reports: &RefCell<JoinSet<()>>) -> Answer {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match (&method, &*path) {
        (&Method::GET | &Method::HEAD, METRICS) => metrics(&request, seen).await,
        (&Method::GET, STATUS) => json(StatusCode::OK, &verbs::status(seen).await),
        (&Method::POST, RELOAD) => reload(seen, reports).await,
        (&Method::POST, UPGRADE) => match read(request.into_body(), UPGRADE_EXAMPLE).await {
            Ok(wanted) => upgrade(wanted, seen, reports),
            Err(message) => once(StatusCode::BAD_REQUEST, Event::Error { message }),
        },
        (&Method::POST, LOGS) => match read(request.into_body(), LOGS_EXAMPLE).await {
            Ok(wanted) => logs(&wanted, seen, reports),
            Err(message) => once(StatusCode::BAD_REQUEST, Event::Error { message }),
        },
        (&Method::POST, FLUSH) => match read(request.into_body(), TOLD_EXAMPLE).await {
            Ok(told) => once(StatusCode::NOT_FOUND, apps::flush(seen, &told).await),
            Err(message) => once(StatusCode::BAD_REQUEST, Event::Error { message }),
        },
        (&Method::POST, verb) if let Some(verb) = verb.strip_prefix(APP) => {
            match read(request.into_body(), TOLD_EXAMPLE).await.and_then(|told| apps::verb(verb, told)) {
                Ok((app, verb)) => tell(&app, verb, seen, reports),
                Err(message) => once(StatusCode::BAD_REQUEST, Event::Error { message }),
            }
        }
        (&Method::POST, DRAIN | UNDRAIN) => {
            match read::<NodeSelector>(request.into_body(), WHICH_EXAMPLE).await {
                Ok(which) if path == DRAIN => drain(&which, seen, reports),
                Ok(which) => once(StatusCode::NOT_FOUND, verbs::undrain(&seen.proxy, &which)),
                Err(message) => once(StatusCode::BAD_REQUEST, Event::Error { message }),
            }
        }
        (_, STATUS | METRICS) => not_allowed("GET"),
        (_, RELOAD | UPGRADE | DRAIN | UNDRAIN | LOGS | FLUSH) => not_allowed("POST"),
        (_, verb) if verb.starts_with(APP) => not_allowed("POST"),
        _ => {
            let message = format!(
                "there is GET {STATUS} and {METRICS}, and POST to {RELOAD}, {UPGRADE}, {DRAIN}, {UNDRAIN}, {LOGS}, {FLUSH} and {APP}VERB"
            );
            once(StatusCode::NOT_FOUND, Event::Error { message })
        }
    }
}

/// Everything that is counted, in the format that is asked for.
pub(crate) async fn metrics(request: &Request<Incoming>, seen: &Handles) -> Answer {
    let accepts = |one: &HeaderValue| one.to_str().is_ok_and(|accept| accept.contains(OPEN_METRICS));
    let format = match request.headers().get_all(ACCEPT).iter().any(accepts) {
        true => Format::OpenMetrics,
        false => Format::Prometheus,
    };
    let Some(now) = Seen::now(seen).await else {
        let message =
            "metrics are counted where the file has `listen` in `[admin]`, which it has not".to_owned();
        return once(StatusCode::NOT_FOUND, Event::Error { message });
    };
    with_type(StatusCode::OK, format.content_type(), Either::Left(now.print(format).into()))
}

/// Reads what is meant.
async fn read<T: DeserializeOwned>(body: Incoming, example: &str) -> Result<T, String> {
    let whole = timeout(READ_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await;
    let whole = whole.map_err(|_| "the body did not come in time".to_owned())?;
    let whole = whole.map_err(|error| format!("the body cannot be read: {error}"))?;
    serde_json::from_slice(&whole.to_bytes())
        .map_err(|error| format!("the body is not like {example}: {error}"))
}

fn drain(which: &NodeSelector, seen: &Handles, reports: &RefCell<JoinSet<()>>) -> Answer {
    let nodes = match seen.proxy.drain(&which.node) {
        Ok(nodes) => nodes,
        Err(unknown) => {
            return once(StatusCode::NOT_FOUND, Event::Error { message: unknown.to_string() });
        }
    };
    if !which.wait {
        return once(StatusCode::OK, verbs::draining(&nodes));
    }
    let (lines, body) = Channel::new(LINES_MAX);
    let deadline = seen.plan.borrow().drain.deadline;
    reports.borrow_mut().spawn_local(verbs::report_drain(nodes, deadline, lines));
    with_type(StatusCode::OK, LINES, Either::Right(body))
}

async fn reload(seen: &Handles, reports: &RefCell<JoinSet<()>>) -> Answer {
    let applied = match verbs::reload(&seen.reload).await {
        Ok(applied) => applied,
        Err(message) => return once(StatusCode::UNPROCESSABLE_ENTITY, Event::Error { message }),
    };
    match applied {
        Applied { message, apps: None } => once(StatusCode::OK, Event::Done { message }),
        Applied { message, apps: Some(progress) } => {
            let (lines, body) = Channel::new(LINES_MAX);
            reports.borrow_mut().spawn_local(apps::report(message, progress, lines));
            with_type(StatusCode::OK, LINES, Either::Right(body))
        }
    }
}

fn upgrade(wanted: Upgrade, seen: &Handles, reports: &RefCell<JoinSet<()>>) -> Answer {
    let (lines, body) = Channel::new(LINES_MAX);
    reports.borrow_mut().spawn_local(verbs::report_upgrade(seen.upgrade.clone(), wanted, lines));
    with_type(StatusCode::OK, LINES, Either::Right(body))
}

fn tell(app: &str, verb: Verb, seen: &Handles, reports: &RefCell<JoinSet<()>>) -> Answer {
    let (lines, body) = Channel::new(LINES_MAX);
    let progress = seen.supervisor.tell(app, verb);
    reports.borrow_mut().spawn_local(apps::report(String::new(), progress, lines));
    with_type(StatusCode::OK, LINES, Either::Right(body))
}

fn logs(wanted: &LogsWanted, seen: &Handles, reports: &RefCell<JoinSet<()>>) -> Answer {
    let reader = match apps::read_logs(&seen.supervisor, wanted) {
        Ok(reader) => reader,
        Err(message) => return once(StatusCode::SERVICE_UNAVAILABLE, Event::Error { message }),
    };
    let (lines, body) = Channel::new(LINES_MAX);
    reports.borrow_mut().spawn_local(apps::send_logs(reader, lines));
    with_type(StatusCode::OK, LINES, Either::Right(body))
}

fn once(if_error: StatusCode, event: Event) -> Answer {
    let status = match event {
        Event::Error { .. } => if_error,
        Event::Progress { .. } | Event::Step { .. } | Event::Done { .. } => StatusCode::OK,
    };
    with_type(status, LINES, Either::Left(line(&event).into()))
}

pub(crate) fn not_allowed(allowed: &'static str) -> Answer {
    let message = format!("this takes {allowed}");
    let mut answer = once(StatusCode::METHOD_NOT_ALLOWED, Event::Error { message });
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    answer
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let text = to_json(value);
    with_type(status, "application/json", Either::Left(text.into()))
}

pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: Either<Full<Bytes>, Channel<Bytes>>,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

const UPGRADE_EXAMPLE: &str = "{\"binary\": \"/usr/bin/tidelock\", \"timeout_ms\": 60000}";
const WHICH_EXAMPLE: &str = "{\"node\": \"10.0.0.1:3000\"}";
const TOLD_EXAMPLE: &str = "{\"app\": \"chat\"}";
const LOGS_EXAMPLE: &str = "{\"app\": \"chat\", \"lines\": 10}";
const OPEN_METRICS: &str = "application/openmetrics-text";
/// One JSON value a line.
const LINES: &str = "application/x-ndjson";
/// At once; more wait to be accepted, and those that are silent are not waited for. Twice as many as may follow logs, so that they cannot keep a verb out.
const CONNECTIONS_MAX: usize = 128;
/// A whole head, and a whole body: one who connects has something to say, and says it at once. Others wait for their
/// place.
const READ_TIMEOUT: Duration = Duration::from_secs(1);
/// For an answer that nothing more is said in.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// A head is at most so long.
const BUFFER_BYTES_MAX: usize = 16 << 10;
/// A body has the name of a node in it.
const BODY_BYTES_MAX: usize = 4 << 10;
/// Lines of a report that the connection has not taken yet.
const LINES_MAX: usize = 4;
