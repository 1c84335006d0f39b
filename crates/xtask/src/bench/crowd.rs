//! The clients and the load that every contender gets, and what happens to them. Knows no contender.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::load::{Kind, Load};
use testkit::process::Mark;
use tokio::time::{Instant, sleep};

/// How many clients there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) websocket: usize,
    pub(crate) polling: usize,
}

/// Connected clients, and plain requests beside them.
pub(crate) struct Crowd {
    groups: Vec<Group>,
    load: Load,
}

struct Group {
    clients: Clients,
    count: usize,
    begin: Mark,
}

/// What happened from [`Crowd::begin`] on.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Plain requests that were answered 200.
    pub(crate) answered: usize,
    /// Those that were not, on connections that were kept from the request before.
    pub(crate) failed_kept: usize,
    /// Those that were not, on connections of their own.
    pub(crate) failed_new: usize,
    pub(crate) disconnects: usize,
    /// Clients that lost their connection at least once.
    pub(crate) clients_hit: usize,
    /// Clients that lost it more than once.
    pub(crate) clients_hit_again: usize,
    /// Attempts to come back that failed.
    pub(crate) failed_attempts: usize,
    /// Close codes of WebSockets, and `poll` for a polling session, which has none.
    pub(crate) codes: BTreeMap<String, usize>,
    /// The most clients that came back within one second.
    pub(crate) busiest_second: usize,
    /// From the first disconnect to the last.
    pub(crate) spread: Duration,
    /// Clients that were not connected in the end.
    pub(crate) lost: usize,
}

impl Crowd {
    /// Connects all clients and starts the load.
    pub(crate) async fn gather(address: SocketAddr, size: Size) -> Result<Self> {
        let mut groups = Vec::new();
        for (mode, count) in [(Mode::Websocket, size.websocket), (Mode::Polling, size.polling)] {
            if count == 0 {
                continue;
            }
            // Something in the URL that is the client's own, as its address would be if it were not on loopback.
            let urls =
                (0..count).map(|client| format!("http://{address}/?client={mode:?}{client}")).collect();
            // The pause before a reconnect is socket.io-client's own default; tests take a shorter one.
            let options = json!({ "reconnectionDelay": 1000 });
            let plan = ClientPlan { urls, count, mode, hold: true, options, ..ClientPlan::to("") };
            let clients = Clients::start(&plan).await;
            let ready = clients.ready().await;
            ensure!(ready.connected == count, "{} of {count} {mode:?} clients connected", ready.connected);
            groups.push(Group { clients, count, begin: Mark::default() });
        }
        Ok(Self { groups, load: Load::plain(address, LOAD_KEPT, LOAD_NEW) })
    }

    /// From now on it counts.
    pub(crate) async fn begin(&mut self) {
        self.load.until_answered(100).await;
        for group in &mut self.groups {
            group.begin = group.clients.process().mark();
        }
    }

    /// Waits until [`WATCHED`] has passed, everybody is connected and nothing has happened for [`QUIET`]; or gives up.
    pub(crate) async fn until_quiet(&mut self) {
        let begin = Instant::now();
        let (mut events, mut changed) = (0, begin);
        while begin.elapsed() < WATCHED_MAX {
            sleep(Duration::from_millis(500)).await;
            let (now, mut all) = (self.events(), true);
            for group in &mut self.groups {
                all &= group.clients.report().await.connected == group.count;
            }
            if now != events {
                (events, changed) = (now, Instant::now());
            }
            if all && begin.elapsed() >= WATCHED && changed.elapsed() >= QUIET {
                return;
            }
        }
    }

    /// Ends it and counts.
    pub(crate) async fn leave(mut self) -> Result<Seen> {
        let load = self.load.stop().await;
        let (failed_new, failed_kept): (Vec<_>, Vec<_>) =
            load.failures.iter().partition(|failure| failure.kind == Kind::Head);
        for failure in load.failures.iter().take(3) {
            eprintln!("xtask:   a failed request: {failure}");
        }
        let mut seen = Seen {
            answered: load.gets + load.heads,
            failed_kept: failed_kept.len(),
            failed_new: failed_new.len(),
            ..Seen::default()
        };
        let (mut left_at, mut back_at) = (Vec::new(), Vec::new());
        for group in &mut self.groups {
            let mut hits: BTreeMap<u64, usize> = BTreeMap::new();
            for line in group.clients.process().lines_since(group.begin) {
                let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
                let at = line["at_ms"].as_u64().unwrap_or_default();
                match line["event"].as_str() {
                    Some("disconnect") => {
                        left_at.push(at);
                        *hits.entry(line["client"].as_u64().unwrap_or_default()).or_default() += 1;
                        let code = line["code"].as_u64().map_or("poll".to_owned(), |code| code.to_string());
                        *seen.codes.entry(code).or_default() += 1;
                    }
                    Some("connect") => back_at.push(at),
                    Some("connect_error") => seen.failed_attempts += 1,
                    _ => {}
                }
            }
            seen.clients_hit += hits.len();
            seen.clients_hit_again += hits.values().filter(|&&times| times > 1).count();
            seen.lost += group.count - group.clients.report().await.connected;
        }
        seen.disconnects = left_at.len();
        left_at.sort_unstable();
        if let (Some(first), Some(last)) = (left_at.first(), left_at.last()) {
            seen.spread = Duration::from_millis(last - first);
        }
        seen.busiest_second = busiest_second(back_at);
        for group in self.groups {
            group.clients.end().await;
        }
        Ok(seen)
    }

    /// How many lines came since the begin that tell of something, not of a question of ours.
    fn events(&mut self) -> usize {
        let tells = |line: &String| line.contains("\"at_ms\"") || line.contains("\"connect_error\"");
        let lines = |group: &mut Group| group.clients.process().lines_since(group.begin);
        self.groups.iter_mut().map(|group| lines(group).iter().filter(|line| tells(line)).count()).sum()
    }
}

/// The most moments, in milliseconds, that lie within any one second.
fn busiest_second(mut moments: Vec<u64>) -> usize {
    moments.sort_unstable();
    let within = |from: usize| moments[from..].iter().take_while(|&&at| at < moments[from] + 1000).count();
    (0..moments.len()).map(within).max().unwrap_or(0)
}

/// Loops of requests: one connection after another kept, and a new one each time.
const LOAD_KEPT: usize = 8;
const LOAD_NEW: usize = 4;
/// Longer than the window of a drain, and than the time that nginx gives its old workers.
const WATCHED: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_secs(5);
const WATCHED_MAX: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use super::busiest_second;

    #[test]
    fn a_second_begins_anywhere_and_ends_before_its_end() {
        assert_eq!(busiest_second(vec![]), 0);
        assert_eq!(busiest_second(vec![5]), 1);
        assert_eq!(busiest_second(vec![1900, 0, 950, 999, 1000, 1949, 1950]), 5);
    }
}
