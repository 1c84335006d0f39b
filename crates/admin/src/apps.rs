//! What is said to the apps and what there is to see of them, between the socket and the supervisor.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::Sender;
use proxy::{Lately, NodeStatus, Status};
use supervisor::logs::{LogSelector, Reader, Said};
use supervisor::{AppStatus, InstanceStatus, Progress, Supervisor, Verb};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::api::{App, AppRequest, Event, Instance, LogLine, LogsWanted, line, to_json};
use crate::handles::Handles;

/// Reads a request for an app by the verb's name in its path; the error is the sentence that the client is answered
/// with.
pub(crate) fn verb(name: &str, told: AppRequest) -> Result<(String, Verb), String> {
    let verb = match (name, told.instances) {
        ("start", _) => Verb::Start,
        ("stop", _) => Verb::Stop,
        ("restart", _) => Verb::Restart,
        ("roll", _) => Verb::Roll { window: told.window_ms.map(Duration::from_millis) },
        ("scale", Some(count @ 1..=1024)) => Verb::Scale(count),
        ("scale", _) => return Err("`instances` is 1 to 1024".to_owned()),
        _ => return Err(format!("there is no verb `{name}` for an app: start, stop, restart, roll, scale")),
    };
    Ok((told.app, verb))
}

/// Says how far a verb is whenever it has got further, and at last how it ended. Ends when nobody listens. `first` is
/// said before anything else, if it says something.
pub(crate) async fn report(first: String, mut progress: mpsc::Receiver<Progress>, mut lines: Sender<Bytes>) {
    let mut last = Event::Step { message: first.clone() };
    if !first.is_empty() && !send(&mut lines, line(&last)).await {
        return;
    }
    loop {
        let event = match timeout(SAY_AGAIN, progress.recv()).await {
            // Whoever waits knows then that somebody is there.
            Err(_) => last.clone(),
            Ok(Some(Progress::Step(message))) => Event::Step { message },
            Ok(Some(Progress::Done(message))) => Event::Done { message },
            Ok(Some(Progress::Failed(message))) => Event::Error { message },
            Ok(None) => {
                Event::Error { message: "tidelock is leaving, and does not go on with it".to_owned() }
            }
        };
        let is_end = !matches!(event, Event::Step { .. });
        if !send(&mut lines, line(&event)).await || is_end {
            return;
        }
        last = event;
    }
}

/// The lines that are wanted.
pub(crate) fn read_logs(supervisor: &Supervisor, wanted: &LogsWanted) -> Result<Reader, String> {
    let which = which(&wanted.app)?;
    let lines = wanted.lines.min(LOG_LINES_MAX);
    let is_picky = wanted.stream.is_some() || wanted.text.is_some();
    let reader = supervisor.logs().read(&which, if is_picky { LOG_LINES_MAX } else { lines }, wanted.follow);
    let mut reader = reader.ok_or_else(|| "too many follow the logs already".to_owned())?;
    if is_picky {
        let (stream, text) = (wanted.stream.clone(), wanted.text.clone());
        reader.keep(lines, move |line| {
            stream.as_deref().is_none_or(|stream| stream == line.stream.name())
                && text.as_deref().is_none_or(|text| line.text().contains(text))
        });
    }
    Ok(reader)
}

/// Forgets what an app, one of its instances, or all of them have written.
pub(crate) async fn flush(seen: &Handles, told: &AppRequest) -> Event {
    let which = match which(&told.app) {
        Ok(which) => which,
        Err(message) => return Event::Error { message },
    };
    let apps = seen.supervisor.status().await;
    if let Some(app) = &which.app
        && apps.iter().all(|known| known.name != *app)
    {
        let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
        return Event::Error { message: format!("there is no app `{app}`; there are: {}", names.join(", ")) };
    }
    seen.supervisor.logs().flush(&which);
    let whose = if told.app.is_empty() { "all apps" } else { &told.app };
    Event::Done { message: format!("{whose}: what was written until now is forgotten") }
}

fn which(app: &str) -> Result<LogSelector, String> {
    match app.split_once('/') {
        _ if app.is_empty() || app == "all" => Ok(LogSelector::default()),
        None => Ok(LogSelector { app: Some(app.to_owned()), slot: None }),
        Some((name, slot)) => {
            let slot = slot
                .parse()
                .map_err(|_| format!("{app}: the number of an instance stands behind the slash"))?;
            Ok(LogSelector { app: Some(name.to_owned()), slot: Some(slot) })
        }
    }
}

/// Sends lines until the last one, or until nobody listens.
pub(crate) async fn send_logs(mut reader: Reader, mut lines: Sender<Bytes>) {
    while let Some(said) = reader.next().await {
        let said = match said {
            Said::Line(line) => LogLine {
                time: line.time(),
                app: line.app.to_string(),
                instance: line.instance.slot,
                stream: line.stream.name().to_owned(),
                line: line.text(),
            },
            Said::Lost(count) => LogLine {
                time: String::new(),
                app: String::new(),
                instance: 0,
                stream: "stderr".to_owned(),
                line: format!("lines not read in time: {count}"),
            },
        };
        if !send(&mut lines, (to_json(&said) + "\n").into()).await {
            return;
        }
    }
}

/// `false` once nobody takes anything any more.
pub(crate) async fn send(lines: &mut Sender<Bytes>, line: Bytes) -> bool {
    matches!(timeout(UNREAD_MAX, lines.send_data(line)).await, Ok(Ok(())))
}

/// An app with what its instances carry.
pub(crate) fn app(app: AppStatus, proxy: &Status) -> App {
    let nodes = |of: &InstanceStatus| {
        let is_it = |node: &&NodeStatus| {
            node.instance.as_ref().is_some_and(|instance| instance.app == app.name && instance.id == of.id)
        };
        proxy.upstreams.iter().flat_map(|upstream| &upstream.nodes).filter(is_it).collect::<Vec<_>>()
    };
    let instances = app.instances.iter().map(|of| instance(of, &nodes(of))).collect();
    App {
        state: app.state.as_str().to_owned(),
        wanted: app.wanted,
        instances,
        last_failure: app.last_failure,
        rooms: app.rooms,
        name: app.name,
    }
}

/// Answers per second, and the milliseconds within which half of them and 99 of 100 came, each rounded to two
/// digits. The times are `None` where nothing was answered.
pub(crate) fn lately<'l>(of: impl IntoIterator<Item = &'l Lately>) -> (f64, Option<f64>, Option<f64>) {
    let mut all = Lately::default();
    of.into_iter().for_each(|one| all.add(one));
    // More digits than are known are in nobody's way but the reader's.
    let round = |value: f64| (value * 100.0).round() / 100.0;
    let millis = |percent| all.percentile(percent).map(|taken| round(taken.as_secs_f64() * 1e3));
    (round(all.per_second), millis(50.0), millis(99.0))
}

fn instance(of: &InstanceStatus, nodes: &[&NodeStatus]) -> Instance {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (answers_per_s, p50_ms, p99_ms) = lately(nodes.iter().map(|node| &node.lately));
    Instance {
        slot: of.id.slot,
        generation: of.id.generation,
        state: of.state.as_str().to_owned(),
        current: of.is_current,
        pid: of.pid,
        uptime_ms: millis(of.uptime),
        restarts: of.restarts,
        cpu_percent: of.cpu_percent,
        memory: of.memory,
        address: of.address.as_ref().map(ToString::to_string),
        next_start_ms: of.next_start.map(millis),
        cause: of.cause.clone(),
        messages_lost: of.messages_lost,
        sessions: nodes.iter().map(|node| node.sessions).sum(),
        tunnels: nodes.iter().map(|node| node.tunnels).sum(),
        in_flight: nodes.iter().map(|node| node.in_flight).sum(),
        event_streams: nodes.iter().map(|node| node.event_streams).sum(),
        long_answers: nodes.iter().map(|node| node.long_answers).sum(),
        answers_per_s,
        p50_ms,
        p99_ms,
    }
}

/// So often something is said even if nothing has changed.
const SAY_AGAIN: Duration = Duration::from_secs(5);
/// Whoever does not read for so long is not waited for.
const UNREAD_MAX: Duration = Duration::from_secs(60);
const LOG_LINES_MAX: usize = 100_000;
