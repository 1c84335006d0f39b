//! What each verb does, and the words in which it says so. Knows nothing of HTTP.

use std::collections::BTreeMap;
use std::time::Duration;

use acme::{Job, Now};
use bytes::Bytes;
use http_body_util::channel::Sender;
use proxy::{CertificateNow, Counts, Left, NodeHandle, NodeStatus, Proxy, RedisNow};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep};

use crate::api::{
    Certificate, DrainingNode, Event, Node, NodeSelector, Redis, Status, Upgrade, Upstream, Worker, called,
    line,
};
use crate::apps;
use crate::handles::{Applied, Handles, ReloadWanted, UpgradeWanted};

pub(crate) async fn status(seen: &Handles) -> Status {
    let apps = seen.supervisor.status().await;
    let status = seen.proxy.status();
    let apps = apps.into_iter().map(|app| apps::app(app, &status)).collect();
    let upstreams = status.upstreams.into_iter().map(|upstream| {
        let (answers_per_s, p50_ms, p99_ms) = apps::lately(upstream.nodes.iter().map(|node| &node.lately));
        Upstream {
            name: upstream.name,
            nodes: upstream.nodes.into_iter().map(Node::from).collect(),
            unverifiable: upstream.unverifiable,
            foreign_secret: upstream.has_foreign,
            stopped: upstream.is_stopped,
            answers_per_s,
            p50_ms,
            p99_ms,
        }
    });
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        file: seen.file.clone(),
        background: seen.is_background,
        leaving: status.is_leaving,
        overload: status.overload,
        memory: status.memory,
        memory_max: status.memory_max,
        access_lines_lost: status.access_lines_lost,
        log_lines_lost: (seen.own_log_lines_lost)(),
        upstreams: upstreams.collect(),
        apps,
        workers: status.workers.into_iter().map(Worker::from).collect(),
        certificates: certificates(status.certificates, &seen.certificates.now()),
        redis: status.redis.map(Redis::from),
    }
}

/// The certificates that are served, with how those stand that tidelock gets by itself.
fn certificates(served: Vec<CertificateNow>, kept: &BTreeMap<Job, Now>) -> Vec<Certificate> {
    let with_what_is_kept = |certificate: CertificateNow| {
        let CertificateNow { file, awaited, names, issuer, not_after, days_left, fault } = certificate;
        let job = awaited.map(|(issuer, host)| Job { issuer, host });
        let stands = job.and_then(|job| kept.get(&job)).cloned().unwrap_or_default();
        let Now { next_attempt, last_error } = stands;
        Certificate { names, issuer, file, not_after, days_left, fault, next_attempt, last_error }
    };
    served.into_iter().map(with_what_is_kept).collect()
}

impl From<NodeStatus> for Node {
    fn from(node: NodeStatus) -> Self {
        let (answers_per_s, p50_ms, p99_ms) = apps::lately([&node.lately]);
        Self {
            node: node.node,
            address: node.address.to_string(),
            state: node.state.to_owned(),
            draining: node.draining,
            removed: node.is_removed,
            cause: node.cause.to_owned(),
            since_ms: u64::try_from(node.since.as_millis()).unwrap_or(u64::MAX),
            sessions: node.sessions,
            tunnels: node.tunnels,
            in_flight: node.in_flight,
            surplus: node.surplus,
            event_streams: node.event_streams,
            long_answers: node.long_answers,
            answers_per_s,
            p50_ms,
            p99_ms,
        }
    }
}

impl From<RedisNow> for Redis {
    fn from(RedisNow { url, is_up, since, reason, alone }: RedisNow) -> Self {
        Self {
            url,
            state: if is_up { "up" } else { "away" }.to_owned(),
            since_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            reason: (!reason.is_empty()).then_some(reason),
            alone,
        }
    }
}

impl From<Counts> for Worker {
    fn from(counts: Counts) -> Self {
        Self {
            live: counts.live,
            parked: counts.parked,
            connections: counts.connections,
            exchanges: counts.exchanges,
            pinned: counts.pinned,
            by_class: counts.by_class,
            bytes_in: counts.bytes_in,
            bytes_out: counts.bytes_out,
            tunnels: counts.tunnels,
            frames_in: counts.frames_in,
            frames_out: counts.frames_out,
            closes: counts.closes,
            log_lines_lost: counts.log_lines_lost,
            refused: counts.refused,
            displaced: counts.displaced,
            faults: counts.faults.into_iter().map(|(why, count)| (why.to_owned(), count)).collect(),
            guarded: counts.guarded.into_iter().map(|(what, count)| (what.to_owned(), count)).collect(),
        }
    }
}

/// Cancel-safe: a reload that was begun goes on.
pub(crate) async fn reload(reload: &mpsc::Sender<ReloadWanted>) -> Result<Applied, String> {
    let (answer, answered) = oneshot::channel();
    let is_leaving = || "tidelock is leaving, and reads no file any more".to_owned();
    reload.send(ReloadWanted { answer }).await.map_err(|_| is_leaving())?;
    answered.await.map_err(|_| is_leaving())?
}

/// Says that an upgrade is under way for as long as it is, and how it ended.
pub(crate) async fn report_upgrade(
    upgrade: mpsc::Sender<UpgradeWanted>,
    wanted: Upgrade,
    mut lines: Sender<Bytes>,
) {
    let (answer, answered) = oneshot::channel();
    let timeout = wanted.timeout_ms.map_or(UPGRADE_TIMEOUT, Duration::from_millis);
    let asked = upgrade.send(UpgradeWanted { binary: wanted.binary, timeout, answer }).await;
    let leaving = || "tidelock is leaving".to_owned();
    let mut answered = std::pin::pin!(answered);
    let ended = loop {
        if asked.is_err() {
            break Err(leaving());
        }
        tokio::select! {
            ended = &mut answered => break ended.unwrap_or_else(|_| Err(leaving())),
            () = sleep(SAY_AGAIN) => {
                let message = "waiting for the new one to be ready".to_owned();
                if !apps::send(&mut lines, line(&Event::Step { message })).await {
                    return;
                }
            }
        }
    };
    let ended = match ended {
        Ok(message) => Event::Done { message },
        Err(message) => Event::Error { message },
    };
    apps::send(&mut lines, line(&ended)).await;
}

pub(crate) fn undrain(proxy: &Proxy, which: &NodeSelector) -> Event {
    match proxy.undrain(&which.node) {
        Ok(nodes) => Event::Done { message: format!("{}: taking part again", names(&nodes)) },
        Err(unknown) => Event::Error { message: unknown.to_string() },
    }
}

/// A drain that nobody waits for.
pub(crate) fn draining(nodes: &[NodeHandle]) -> Event {
    Event::Done { message: format!("{}: draining, {} left", names(nodes), left(nodes).sum()) }
}

/// Says how far a drain is whenever it has got further, and at last how it ended. Ends when nobody listens.
pub(crate) async fn report_drain(nodes: Vec<NodeHandle>, deadline: Duration, mut lines: Sender<Bytes>) {
    let began = Instant::now();
    let mut last: Option<(usize, Instant)> = None;
    loop {
        let (left, now) = (left(&nodes), Instant::now());
        let sum = left.sum();
        if let Some(end) = end_of_drain(&nodes, left, now - began, deadline) {
            // If nobody listens any more, nobody has to know.
            apps::send(&mut lines, line(&end)).await;
            return;
        }
        if last.is_none_or(|(said, at)| said != sum || now - at >= SAY_AGAIN) {
            last = Some((sum, now));
            let progress =
                Event::Progress { left: sum, nodes: nodes.iter().map(DrainingNode::from).collect() };
            if !apps::send(&mut lines, line(&progress)).await {
                return;
            }
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The last event of a drain, once it is empty, called off or late; `None` while there is something to wait for.
fn end_of_drain(nodes: &[NodeHandle], left: Left, lasted: Duration, deadline: Duration) -> Option<Event> {
    let names = names(nodes);
    if nodes.iter().any(|node| !node.is_draining()) {
        return Some(Event::Error {
            message: format!("{names}: told to take part again, {} left", NodeHandle::remains(nodes)),
        });
    }
    if left == Left::default() && !nodes.iter().any(NodeHandle::keeps_pages) {
        let message = format!("{names}: empty, with nothing new until `tidelock undrain`");
        return Some(Event::Done { message });
    }
    (lasted >= deadline + SLACK).then(|| Event::Error { message: left_behind(nodes, deadline) })
}

/// Names what was left at the deadline, and the commands that wait on: a drain that is asked for again goes on.
fn left_behind(nodes: &[NodeHandle], deadline: Duration) -> String {
    let remains = NodeHandle::remains(nodes);
    let again: Vec<String> = nodes
        .iter()
        .filter(|node| node.left().sum() > 0)
        .map(|node| format!("`tidelock drain {}`", called(node.upstream(), &node.node())))
        .collect();
    format!(
        "{}: {remains} left after {deadline:?}, the drain.deadline; nothing new comes. To wait on, say {} again; what still \
         runs when the node is stopped is cut",
        names(nodes),
        again.join(" and ")
    )
}

impl From<&NodeHandle> for DrainingNode {
    fn from(node: &NodeHandle) -> Self {
        Self {
            upstream: node.upstream().to_owned(),
            node: node.node(),
            address: node.address().to_string(),
            left: node.left().sum(),
            event_streams: node.left().event_streams,
            long_answers: node.left().long_answers,
        }
    }
}

fn left(nodes: &[NodeHandle]) -> Left {
    nodes.iter().map(NodeHandle::left).fold(Left::default(), std::ops::Add::add)
}

fn names(nodes: &[NodeHandle]) -> String {
    let names: Vec<String> = nodes.iter().map(|node| called(node.upstream(), &node.node())).collect();
    names.join(", ")
}

/// A drain's progress is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Said so often even if nothing has changed, so that whoever waits knows that somebody is there.
/// Where nobody says another: names may have to be looked up.
pub const UPGRADE_TIMEOUT: Duration = Duration::from_secs(60);
const SAY_AGAIN: Duration = Duration::from_secs(5);
/// At the deadline the proxy itself ends what is left, which takes a moment.
const SLACK: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    #[test]
    fn an_instance_is_called_as_everywhere() {
        for (upstream, node, want) in [
            ("chat", "chat/0", "chat/0"),
            ("nodes", "chat/0", "nodes/chat/0"),
            ("nodes", "10.0.0.1:3000", "nodes/10.0.0.1:3000"),
            ("nodes", "unix:/run/a", "nodes/unix:/run/a"),
        ] {
            assert_eq!(super::called(upstream, node), want);
        }
    }

    use http_body_util::Channel;
    use tokio::time::timeout;

    use super::*;

    /// It holds the place of its connection.
    #[tokio::test(start_paused = true)]
    async fn a_drain_report_that_nobody_reads_ends() {
        let (mut lines, _unread) = Channel::<Bytes>::new(1);
        lines.send_data(Bytes::from_static(b"said")).await.unwrap();
        let report = report_drain(Vec::new(), Duration::from_secs(1), lines);
        assert!(timeout(Duration::from_hours(1), report).await.is_ok());
    }
}
