//! Each request that was not answered as wanted, whether what was done at that moment explains it, and what it says of
//! itself. What nothing explains is a fault: of tidelock, or of the soak.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use testkit::load::{Failure, Kind};
use tokio::time::Instant;

use super::journal::{Journal, NODES};

/// What came of the failures: how often what happened, and each that nothing explains.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) explained: BTreeMap<String, usize>,
    pub(crate) unexplained: Vec<String>,
}

/// What the access log says of requests that were not answered as wanted, or took very long.
#[derive(Debug)]
pub(crate) struct Log {
    /// Those of the load, by their number.
    plain: BTreeMap<u64, Line>,
    /// Those of Socket.IO's clients that got a status of 500 or more.
    sessions: Vec<Line>,
    /// Lines of others that took very long: nothing that is asked for does.
    pub(crate) slow: Vec<String>,
    /// One moment by both clocks: the log has the time of day.
    zero: (Instant, Duration),
}

/// A line of the access log.
#[derive(Clone, Debug)]
struct Line {
    entry: Entry,
    /// The request ended in the second that begins then.
    ended: Instant,
    /// All of it.
    text: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Entry {
    time: String,
    method: Option<String>,
    #[serde(default)]
    target: String,
    #[serde(default)]
    status: u16,
    #[serde(default)]
    ms: f64,
    address: Option<SocketAddr>,
    fault: Option<String>,
}

impl Log {
    pub(crate) fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let zero = (Instant::now(), since_epoch);
        Self { plain: BTreeMap::new(), sessions: Vec::new(), slow: Vec::new(), zero }
    }

    /// Reads what was written to `file` since it was begun.
    pub(crate) fn read(&mut self, file: &Path) -> Result<()> {
        for text in fs::read_to_string(file).context("the access log")?.lines() {
            let entry: Entry = serde_json::from_str(text).with_context(|| format!("the log says {text}"))?;
            // The ends of tunnels have lines of their own.
            if entry.method.is_none() {
                continue;
            }
            let number = number_of(&entry.target);
            let of_session = entry.target.contains("sid=");
            if entry.ms > SLOW_MS && !of_session && self.slow.len() < KEPT_MAX {
                self.slow.push(text.to_owned());
            }
            let line = |entry: Entry| Line { ended: self.moment(&entry.time), entry, text: text.to_owned() };
            match number {
                Some(number) if entry.status != 200 => drop(self.plain.insert(number, line(entry))),
                None if of_session && entry.status >= 500 => self.sessions.push(line(entry)),
                Some(_) | None => {}
            }
        }
        Ok(())
    }

    /// The begin of a second, such as `2026-11-29T06:37:05Z`: soaks are shorter than a day, and may pass midnight.
    fn moment(&self, time: &str) -> Instant {
        let parts = time.get(11..19).unwrap_or_default().split(':').map(|part| part.parse().unwrap_or(0_u64));
        let second = parts.fold(0, |sum, part| sum * 60 + part);
        let (zero, since_epoch) = self.zero;
        let midnight =
            zero.checked_sub(Duration::from_secs_f64(since_epoch.as_secs_f64() % DAY)).unwrap_or(zero);
        let today = midnight + Duration::from_secs(second);
        if today + Duration::from_secs(2) < zero { today + Duration::from_secs_f64(DAY) } else { today }
    }
}

impl Judged {
    /// Judges what the load has seen, and what the log says of requests that others made.
    pub(crate) fn new(
        failures: &[Failure],
        log: &Log,
        journal: &Journal,
        nodes: &[SocketAddr; NODES],
    ) -> Self {
        let mut judged = Self::default();
        for failure in failures {
            let line = log.plain.get(&failure.number);
            match cause(failure, line, journal, nodes) {
                Some(cause) => judged.count(format!("{:?}, {}: {cause}", failure.kind, status_of(failure))),
                None => judged.unexplained.push(told(failure, line, journal, nodes)),
            }
        }
        for line in &log.sessions {
            let Entry { method, status, fault, .. } = &line.entry;
            let fault = fault.as_deref().unwrap_or_default();
            let what = format!("a session's {}, {status} {fault}", method.as_deref().unwrap_or_default());
            let (from, until) = (line.ended, line.ended + Duration::from_secs(1));
            match node_of(line, nodes).filter(|&node| journal.died_between(node, from, until)) {
                Some(_) => judged.count(format!("{what}: {DIED}")),
                None => {
                    let last = journal.last_before(until, TOLD).join("; ");
                    judged.unexplained.push(format!("{what}: `{}`; {last}", line.text));
                }
            }
        }
        judged
    }

    fn count(&mut self, what: String) {
        *self.explained.entry(what).or_default() += 1;
    }
}

/// Why `failure` is what any proxy must have answered.
fn cause(
    failure: &Failure,
    line: Option<&Line>,
    journal: &Journal,
    nodes: &[SocketAddr; NODES],
) -> Option<&'static str> {
    let Failure { kind, begun, ended, status, .. } = failure;
    match (status, kind) {
        // It has to have waited for one, too.
        (Some(503), _)
            if *ended - *begun >= WAITED_MIN && journal.could_be_asked(*begun, *ended).is_empty() =>
        {
            Some("no node lived, was named and did not drain")
        }
        // What it does may have been done, so that it is nobody's to repeat.
        (Some(502), Kind::Post) => {
            let node = line.and_then(|line| node_of(line, nodes))?;
            journal.died_between(node, *begun, *ended).then_some(DIED)
        }
        _ => None,
    }
}

fn node_of(line: &Line, nodes: &[SocketAddr; NODES]) -> Option<usize> {
    nodes.iter().position(|node| Some(*node) == line.entry.address)
}

fn status_of(failure: &Failure) -> String {
    failure.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string())
}

/// All that is known of a failure that nothing explains.
fn told(failure: &Failure, line: Option<&Line>, journal: &Journal, nodes: &[SocketAddr; NODES]) -> String {
    let Failure { number, begun, ended, .. } = failure;
    let there = journal.could_be_asked(*begun, *ended);
    let there: Vec<_> =
        there.into_iter().filter_map(|node| nodes.get(node)).map(ToString::to_string).collect();
    let line = line.map_or("nothing", |line| &line.text);
    format!(
        "{} (number {number}, failed after {:.2} s, when {} could be asked; its line in the log: `{line}`; {})",
        failure.to_string().trim(),
        (*ended - *begun).as_secs_f64(),
        if there.is_empty() { "nobody".to_owned() } else { there.join(" and ") },
        journal.last_before(*ended, TOLD).join("; ")
    )
}

/// What `&n=` in a target says.
fn number_of(target: &str) -> Option<u64> {
    target.rsplit_once("&n=")?.1.parse().ok()
}

const DIED: &str = "it was under way at a node that died then";
/// By default a request waits for two seconds, and is given up when another try would come after that.
const WAITED_MIN: Duration = Duration::from_millis(900);
const SLOW_MS: f64 = 10_000.0;
const KEPT_MAX: usize = 20;
const TOLD: usize = 4;
const DAY: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use super::super::journal::Change;
    use super::*;

    const NODES_AT: [&str; NODES] = ["127.0.0.1:1", "127.0.0.1:2", "127.0.2.1:3", "127.0.2.2:3"];

    /// What is said of `failure`, whose times are milliseconds: nodes 0, 2 and 3 die in the beginning, and node 1 after ten
    /// seconds. `line` is what the log has of it.
    fn check(asked: (Kind, [u64; 2], Option<u16>), line: Option<&str>, wanted: Option<&str>) {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let mut journal = Journal::new(begin);
        for (node, ms) in [(0, 0), (2, 0), (3, 0), (1, 10_000)] {
            journal.note(Change::Death(node), [at(ms), at(ms + 5)]);
        }
        let mut log = Log::new();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("access.log");
        fs::write(&file, line.unwrap_or_default()).unwrap();
        log.read(&file).unwrap();
        let (kind, [begun, ended], status) = asked;
        let failure =
            Failure { kind, number: 7, begun: at(begun), ended: at(ended), status, why: "why".to_owned() };
        let judged = Judged::new(&[failure], &log, &journal, &NODES_AT.map(|at| at.parse().unwrap()));
        let explained: Vec<_> = judged.explained.keys().map(String::as_str).collect();
        assert_eq!(explained, wanted.as_slice(), "{:?}", judged.unexplained);
        assert_eq!(judged.unexplained.len(), usize::from(wanted.is_none()));
    }

    fn line(method: &str, status: u16, address: &str) -> String {
        format!(
            r#"{{"time":"2026-11-29T06:37:05Z","method":"{method}","target":"/slow?ms=20&n=7","status":{status},"ms":20.0,"address":"{address}","fault":"f"}}"#
        )
    }

    #[test]
    fn a_post_may_fail_at_its_own_node_that_dies_and_nothing_else_may() {
        let at_death = [9_990, 10_010];
        let post = |status| (Kind::Post, at_death, status);
        let died = "Post, 502: it was under way at a node that died then";
        check(post(Some(502)), Some(&line("POST", 502, "127.0.0.1:2")), Some(died));
        check(post(Some(502)), Some(&line("POST", 502, "127.0.0.1:1")), None);
        check(post(Some(502)), None, None);
        check(post(Some(504)), Some(&line("POST", 504, "127.0.0.1:2")), None);
        check(post(None), Some(&line("POST", 0, "127.0.0.1:2")), None);
        check((Kind::Get, at_death, Some(502)), Some(&line("GET", 502, "127.0.0.1:2")), None);
    }

    #[test]
    fn nobody_to_ask_is_a_reason_for_whoever_has_waited() {
        let nobody = "Head, 503: no node lived, was named and did not drain";
        let head = |times| (Kind::Head, times, Some(503));
        check(head([9_990, 12_000]), None, Some(nobody));
        check(head([9_990, 10_100]), None, None);
        check(head([5_000, 12_000]), None, None);
    }

    #[test]
    fn the_log_has_seconds_of_a_day() {
        let log = Log { zero: (Instant::now(), Duration::from_secs(86_400 * 9 - 10)), ..Log::new() };
        let (zero, _) = log.zero;
        let seconds = |time| log.moment(time) - zero;
        assert_eq!(seconds("2026-11-29T23:59:55Z").as_secs_f64().round(), 5.0);
        assert_eq!(seconds("2026-11-30T00:01:00Z").as_secs_f64().round(), 70.0);
    }
}
