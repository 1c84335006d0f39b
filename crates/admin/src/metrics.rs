//! What is counted, in the text formats of OpenMetrics and Prometheus. docs/metrics.md has the same names, which a test compares.

mod families;

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::registry::Registry;
use proxy::{DURATIONS, Durations, Handshake, LIFETIME_SECONDS, Metrics, NodeMetrics, RouteName};

use self::families::{FAMILIES, Family};
use crate::api::Status;
use crate::handles::{Handles, Ups};
use crate::verbs;

/// In which words it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    OpenMetrics,
    Prometheus,
}

impl Format {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Everything that is counted, at one moment.
#[derive(Debug)]
pub(crate) struct Seen {
    status: Status,
    metrics: Metrics,
    reloads: [u64; 2],
    is_outdated: bool,
    failed_upgrades: u64,
    is_successor: bool,
}

impl Seen {
    /// `None` where nobody counts.
    pub(crate) async fn now(handles: &Handles) -> Option<Self> {
        let metrics = handles.proxy.metrics()?;
        let Ups { reloads, failed_reloads, is_outdated, failed_upgrades, is_successor } = &*handles.ups;
        Some(Self {
            status: verbs::status(handles).await,
            metrics,
            reloads: [reloads.get(), failed_reloads.get()],
            is_outdated: is_outdated.get(),
            failed_upgrades: failed_upgrades.get(),
            is_successor: is_successor.get(),
        })
    }

    pub(crate) fn print(self, format: Format) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        let printed = match format {
            Format::OpenMetrics => text::encode(&mut out, &registry),
            Format::Prometheus => prometheus_text::encode(&mut out, &registry),
        };
        printed.expect("a string takes all that is printed into it");
        out
    }
}

type Labels<'l> = &'l [(&'static str, &'l str)];

/// One family that is being printed.
struct Samples<'a>(MetricEncoder<'a>);

impl Samples<'_> {
    fn counter(&mut self, labels: Labels<'_>, value: u64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&value, None)
    }

    fn seconds(&mut self, labels: Labels<'_>, time: Duration) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&time.as_secs_f64(), None)
    }

    fn gauge(&mut self, labels: Labels<'_>, value: f64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }

    fn durations(&mut self, labels: Labels<'_>, durations: &Durations) -> fmt::Result {
        self.histogram(labels, &DURATIONS, &durations.counts, durations.nanos as f64 / NANOS)
    }

    fn histogram(&mut self, labels: Labels<'_>, borders: &[f64], counts: &[u64], sum: f64) -> fmt::Result {
        let borders = borders.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<_> = borders.zip(counts.iter().copied()).collect();
        self.0.encode_family(&labels)?.encode_histogram::<NoLabelSet>(
            sum,
            counts.iter().sum(),
            &buckets,
            None,
        )
    }
}

impl Collector for Seen {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &FAMILIES {
            let Family { name, kind, unit, help } = family;
            let described = encoder.encode_descriptor(name, help, unit.as_ref(), *kind)?;
            let mut out = Samples(described);
            self.of_routes(name, &mut out)?;
            self.of_nodes(name, &mut out)?;
            self.of_workers(name, &mut out)?;
            self.of_process(name, &mut out)?;
            self.of_apps(name, &mut out)?;
        }
        Ok(())
    }
}

impl Seen {
    fn of_routes(&self, name: &str, out: &mut Samples<'_>) -> fmt::Result {
        for (RouteName { route, upstream }, counts) in &self.metrics.routes {
            let of = [("route", &**route), ("upstream", &**upstream)];
            let by_kind = |out: &mut Samples<'_>, counts: [u64; 2]| {
                let [requests, polls] = counts;
                out.counter(&[of[0], of[1], ("kind", "request")], requests)?;
                if polls > 0 { out.counter(&[of[0], of[1], ("kind", "poll")], polls) } else { Ok(()) }
            };
            let towards = |direction| [of[0], of[1], ("direction", direction)];
            match name {
                "tidelock_requests" => {
                    let requests = counts.took.iter().map(Durations::count);
                    for (kind, of_kind) in
                        [("request", requests.collect::<Vec<_>>()), ("poll", counts.polls.to_vec())]
                    {
                        for (class, count) in CLASSES.into_iter().zip(of_kind).filter(|&(_, count)| count > 0)
                        {
                            out.counter(&[of[0], of[1], ("kind", kind), ("class", class)], count)?;
                        }
                    }
                }
                "tidelock_request_duration" => {
                    let mut all = Durations::default();
                    let upgrades = 1;
                    let others = counts.took.iter().enumerate().filter(|&(class, _)| class != upgrades);
                    others.for_each(|(_, durations)| all.add(durations));
                    out.durations(&of, &all)?;
                }
                "tidelock_request_queue" if counts.queued.count() > 0 => {
                    out.durations(&of, &counts.queued)?;
                }
                "tidelock_request_received" => by_kind(out, counts.bytes_in)?,
                "tidelock_request_sent" => by_kind(out, counts.bytes_out)?,
                "tidelock_request_retries" => out.counter(&of, counts.retries)?,
                "tidelock_websocket_messages" if counts.to_origin.bytes + counts.to_client.bytes > 0 => {
                    out.counter(&towards("to_node"), counts.to_origin.messages)?;
                    out.counter(&towards("to_client"), counts.to_client.messages)?;
                }
                "tidelock_websocket" if counts.to_origin.bytes + counts.to_client.bytes > 0 => {
                    out.counter(&towards("to_node"), counts.to_origin.bytes)?;
                    out.counter(&towards("to_client"), counts.to_client.bytes)?;
                }
                "tidelock_websocket_lifetime" if counts.tunnels.iter().any(|&count| count > 0) => {
                    let borders = LIFETIME_SECONDS.map(|seconds| seconds as f64);
                    out.histogram(&of, &borders, &counts.tunnels, counts.tunnel_seconds as f64)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn of_nodes(&self, name: &str, out: &mut Samples<'_>) -> fmt::Result {
        for node in &self.metrics.nodes {
            let NodeMetrics { upstream, node: written, address, counts, .. } = node;
            let of = [("upstream", &**upstream), ("node", &**written), ("address", &**address)];
            match name {
                "tidelock_node_takes_part" => out.gauge(&of, flag(node.takes_part))?,
                "tidelock_node_sessions" => out.gauge(&of, node.sessions as f64)?,
                "tidelock_node_websockets" => out.gauge(&of, node.tunnels as f64)?,
                "tidelock_node_requests" => out.gauge(&of, node.in_flight as f64)?,
                "tidelock_node_answers" => {
                    for (class, count) in CLASSES.into_iter().zip(counts.answered.by_class).skip(1) {
                        if count > 0 {
                            out.counter(&[of[0], of[1], of[2], ("class", class)], count)?;
                        }
                    }
                }
                "tidelock_node_answer_duration" if counts.answered.took.count() > 0 => {
                    out.durations(&of, &counts.answered.took)?;
                }
                "tidelock_node_failures" => {
                    for (why, &count) in &counts.failures {
                        out.counter(&[of[0], of[1], of[2], ("reason", why)], count)?;
                    }
                }
                "tidelock_node_falls" => out.counter(&of, counts.falls)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn of_workers(&self, name: &str, out: &mut Samples<'_>) -> fmt::Result {
        let workers = self.metrics.status.workers.iter().zip(&self.metrics.threads).enumerate();
        for (number, (counts, scheduled)) in workers {
            let number = number.to_string();
            let of = [("worker", &*number)];
            let and = |key, value| [of[0], (key, value)];
            match name {
                "tidelock_request_faults" => {
                    for (why, &count) in &counts.faults {
                        out.counter(&and("reason", why), count)?;
                    }
                }
                "tidelock_route_events" => {
                    for (what, &count) in &counts.guarded {
                        out.counter(&and("event", what), count)?;
                    }
                }
                "tidelock_websocket_closes" => {
                    for (by, closes) in ENDED_BY.into_iter().zip(counts.closes_by) {
                        for (at, count) in closes.into_iter().enumerate().filter(|&(_, count)| count > 0) {
                            let code = if at < 16 { (1000 + at).to_string() } else { "none".to_owned() };
                            out.counter(&[of[0], ("by", by), ("code", &*code)], count)?;
                        }
                    }
                }
                "tidelock_connections" => out.gauge(&of, counts.live as f64)?,
                "tidelock_connections_parked" => out.gauge(&of, counts.parked as f64)?,
                "tidelock_connections_accepted" => out.counter(&of, counts.connections)?,
                "tidelock_connections_refused" => {
                    for (why, count) in REFUSED.into_iter().zip(counts.refused) {
                        out.counter(&and("reason", why), count)?;
                    }
                }
                "tidelock_connections_displaced" => {
                    for (which, count) in DISPLACED.into_iter().zip(counts.displaced) {
                        out.counter(&and("state", which), count)?;
                    }
                }
                "tidelock_tls_handshakes" => {
                    for (how, count) in Handshake::ALL.into_iter().zip(counts.handshakes) {
                        let (version, outcome) = shaken(how);
                        out.counter(&[of[0], ("version", version), ("outcome", outcome)], count)?;
                    }
                }
                "tidelock_worker_cpu" => scheduled.map_or(Ok(()), |thread| out.seconds(&of, thread.ran))?,
                "tidelock_worker_wait" => {
                    scheduled.map_or(Ok(()), |thread| out.seconds(&of, thread.waited))?;
                }
                "tidelock_worker_delay" => out.durations(&of, &counts.late)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn of_process(&self, name: &str, out: &mut Samples<'_>) -> fmt::Result {
        let status = &self.status;
        match name {
            "tidelock_log_lines_lost" => {
                let unread: u64 = status.workers.iter().map(|worker| worker.log_lines_lost).sum();
                out.counter(&[("log", "access"), ("reason", "not taken")], unread)?;
                out.counter(&[("log", "access"), ("reason", "not written")], status.access_lines_lost)?;
                out.counter(&[("log", "tidelock"), ("reason", "not taken")], status.log_lines_lost)
            }
            "tidelock_redis_up" => {
                status.redis.iter().try_for_each(|redis| out.gauge(&[], flag(redis.state == "up")))
            }
            "tidelock_redis_unasked" => {
                status.redis.iter().try_for_each(|redis| out.counter(&[], redis.alone))
            }
            "tidelock_memory" => out.gauge(&[], status.memory as f64),
            "tidelock_memory_limit" => out.gauge(&[], status.memory_max as f64),
            "tidelock_overloaded" => out.gauge(&[], flag(status.overload.is_some())),
            "tidelock_leaving" => out.gauge(&[], flag(status.leaving)),
            "tidelock_reloads" => {
                out.counter(&[("outcome", "applied")], self.reloads[0])?;
                out.counter(&[("outcome", "failed")], self.reloads[1])
            }
            "tidelock_reload_failed" => out.gauge(&[], flag(self.is_outdated)),
            "tidelock_upgrades" => {
                out.counter(&[("outcome", "succeeded")], self.is_successor.into())?;
                out.counter(&[("outcome", "failed")], self.failed_upgrades)
            }
            "tidelock_certificate_expiry_timestamp" => {
                for certificate in &status.certificates {
                    let file = certificate.file.display().to_string();
                    let name = certificate.names.first().map_or("", |name| name);
                    out.gauge(&[("file", &*file), ("name", name)], certificate.not_after as f64)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn of_apps(&self, name: &str, out: &mut Samples<'_>) -> fmt::Result {
        for app in &self.status.apps {
            let of = ("app", &*app.name);
            if name == "tidelock_app_instances" {
                out.gauge(&[of, ("state", "wanted")], app.wanted.into())?;
                let mut states: Vec<_> = app.instances.iter().map(|instance| &*instance.state).collect();
                states.sort_unstable();
                for alike in states.chunk_by(|a, b| a == b) {
                    out.gauge(&[of, ("state", alike[0])], alike.len() as f64)?;
                }
            }
            // While a slot's process is replaced there are two: the newer one is the slot's.
            for of_slot in app.instances.chunk_by(|a, b| a.slot == b.slot) {
                let (Some(instance), slot) = (of_slot.last(), of_slot[0].slot.to_string()) else { continue };
                let of = [of, ("slot", &*slot)];
                match name {
                    "tidelock_app_cpu" => {
                        instance.cpu_percent.map_or(Ok(()), |cpu| out.gauge(&of, f64::from(cpu) / 100.0))?;
                    }
                    "tidelock_app_memory" => {
                        instance.memory.map_or(Ok(()), |bytes| out.gauge(&of, bytes as f64))?;
                    }
                    "tidelock_app_restarts" => out.counter(&of, instance.restarts.into())?,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

fn shaken(how: Handshake) -> (&'static str, &'static str) {
    match how {
        Handshake::Full12 => ("1.2", "full"),
        Handshake::Resumed12 => ("1.2", "resumed"),
        Handshake::Full13 => ("1.3", "full"),
        Handshake::Resumed13 => ("1.3", "resumed"),
        Handshake::Challenge => ("", "challenge"),
        Handshake::Failed => ("", "failed"),
        Handshake::TimedOut => ("", "timed out"),
        Handshake::Refused => ("", "refused"),
    }
}

/// By the first digit of a status; the first is for those without an answer.
const CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
/// As `Counts::tunnels` has them.
const ENDED_BY: [&str; 4] = ["client", "node", "silence", "tidelock"];
/// As `Counts::refused` has them.
const REFUSED: [&str; 3] = ["too many", "too fast", "handshakes too fast"];
/// As `Counts::displaced` has them.
const DISPLACED: [&str; 2] = ["resting", "silent"];
const NANOS: f64 = 1e9;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use prometheus_client::metrics::MetricType::{Counter, Gauge};

    use super::*;

    /// As queries have it.
    fn whole_name(family: &Family) -> String {
        let unit = family.unit.as_ref().map_or(String::new(), |unit| format!("_{}", unit.as_str()));
        let kind = if matches!(family.kind, Counter) { "_total" } else { "" };
        format!("{}{unit}{kind}", family.name)
    }

    #[test]
    fn the_page_names_every_metric_and_no_other() {
        let page = include_str!("../../../docs/metrics.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `tidelock_"));
        let said: BTreeSet<String> = rows
            .map(|row| {
                let cells: Vec<_> = row.split('|').map(str::trim).collect();
                format!("tidelock_{} {}", cells[0].trim_end_matches('`'), cells[1])
            })
            .collect();
        let kind = |family: &Family| match family.kind {
            Counter => "counter",
            Gauge => "gauge",
            _ => "histogram",
        };
        let there: BTreeSet<String> =
            FAMILIES.iter().map(|family| format!("{} {}", whole_name(family), kind(family))).collect();
        assert_eq!(said, there);
    }

    #[test]
    fn the_alerts_ask_for_what_there_is() {
        let there: BTreeSet<String> = FAMILIES.iter().map(whole_name).collect();
        let rules = include_str!("../../../configs/alerts.yml");
        let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
        let asked = rules.split(|character| !is_part(character)).filter(|word| word.starts_with("tidelock_"));
        let asked: Vec<&str> = asked.map(|name| name.trim_end_matches("_bucket")).collect();
        assert!(asked.len() > 5, "{asked:?}");
        asked.iter().for_each(|name| assert!(there.contains(*name), "{name}"));
    }
}
