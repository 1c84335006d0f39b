//! The faults, one for each row: what is done to the nodes or to the proxy while the load runs, and what is asked of
//! whoever stands in between.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::contender::{Contender, Running};
use super::load::{Load, Tally};
use super::origin::{Manner, Origin, Reached};
use super::sockets::{Ends, Sockets};

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    KillClosing,
    Hang,
    BothDown,
    SlowStart,
    ResetMid,
    IdleRace,
    ReloadKept,
    ReloadNew,
    ReloadSockets,
    Stop,
    KillSockets,
}

/// What was seen of one contender in one row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) tally: Tally,
    pub(crate) resets: usize,
    pub(crate) back: Option<Back>,
    pub(crate) sockets: Option<Ends>,
    /// Processes of the proxy, before and after.
    pub(crate) processes: Option<(usize, usize)>,
    /// Whether the proxy ended well, and when.
    pub(crate) ended: Option<Duration>,
    /// When the nodes were dead that the fault kills.
    dead: Option<Instant>,
}

/// How long after its return a node was asked again, or a client was answered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Back {
    After(Duration),
    /// Not while it was watched.
    NotWithin(Duration),
}

/// Two nodes, and the proxy in front of them.
struct Stage {
    nodes: [Origin; 2],
    proxy: Running,
}

impl Fault {
    pub(crate) const ALL: [Self; 12] = [
        Self::Kill,
        Self::KillClosing,
        Self::Hang,
        Self::BothDown,
        Self::SlowStart,
        Self::ResetMid,
        Self::IdleRace,
        Self::ReloadKept,
        Self::ReloadNew,
        Self::ReloadSockets,
        Self::Stop,
        Self::KillSockets,
    ];

    pub(crate) fn number(self) -> usize {
        1 + self as usize
    }

    pub(crate) fn says(self) -> &'static str {
        match self {
            Self::Kill => "a node is killed under load, answers take 30 ms",
            Self::KillClosing => "the same, clients with `Connection: close`",
            Self::Hang => "a node hangs for 4 s (SIGSTOP)",
            Self::BothDown => "both nodes are down for 2 s",
            Self::SlowStart => "a node is back, and takes 1 s for each answer for 3 s",
            Self::ResetMid => "5 % of the answers are reset in their middle",
            Self::IdleRace => "nodes close connections that rest for 40 ms",
            Self::ReloadKept => "5 reloads under load, kept connections",
            Self::ReloadNew => "5 reloads under load, new connections",
            Self::ReloadSockets => "5 reloads with 200 WebSockets",
            Self::Stop => "a graceful stop with 200 WebSockets",
            Self::KillSockets => "a node is killed, with 200 WebSockets on two",
        }
    }

    /// What is asked, in words; [`Fault::misses`] is the same in numbers.
    pub(crate) fn bar(self) -> &'static str {
        match self {
            Self::Kill => "none lost needlessly; back within 1 s; at most 130 ms",
            Self::KillClosing => "none lost needlessly; no pause: at most 130 ms",
            Self::Hang => "none lost needlessly; GETs at most 1.2 s; at most 2 slow",
            Self::BothDown => {
                "first success within 0.2 s of the return; what is lost is told when to come again"
            }
            Self::SlowStart => "none lost needlessly, at most 4 slow",
            Self::ResetMid => "no more lost than answers had begun",
            Self::IdleRace | Self::ReloadKept | Self::ReloadNew => "none lost",
            Self::ReloadSockets => "all alive, not a process more",
            Self::Stop => "each gets a Close 1001 or 1012, spread over the window; the proxy ends by itself",
            Self::KillSockets => "none lost needlessly; 100 get a Close 1012 within 0.2 s, 100 stay",
        }
    }

    /// Where `seen` falls short of the bar. Nothing torn and nothing done twice is asked of every row.
    pub(crate) fn misses(self, seen: &Seen) -> Vec<String> {
        let Seen { tally, .. } = seen;
        let mut misses = Vec::new();
        let mut ask = |is_met: bool, miss: String| {
            if !is_met {
                misses.push(miss);
            }
        };
        let lost = tally.lost_gets + tally.lost_posts;
        ask(tally.torn == 0, format!("{} torn", tally.torn));
        ask(tally.twice == 0, format!("{} twice", tally.twice));
        match self {
            Self::Kill | Self::KillClosing | Self::Hang | Self::SlowStart | Self::KillSockets => {
                ask(tally.needlessly == 0, format!("{} lost needlessly", tally.needlessly));
            }
            Self::BothDown => {
                let told =
                    tally.why.iter().filter(|(why, _)| why.contains("Retry-After")).map(|(_, times)| times);
                let untold = lost - told.sum::<usize>();
                ask(untold <= LOAD_CLIENTS, format!("{untold} lost without Retry-After"));
            }
            Self::ResetMid => ask(lost <= seen.resets, format!("{lost} lost of {} resets", seen.resets)),
            _ => ask(lost == 0, format!("{lost} lost")),
        }
        let within = |back: Option<Back>, ms| back <= Some(Back::After(Duration::from_millis(ms)));
        match self {
            Self::Kill => {
                ask(within(seen.back, 1000), "back too late".to_owned());
                ask(tally.max <= QUICK, format!("max {} ms", tally.max.as_millis()));
            }
            Self::KillClosing => ask(tally.max <= QUICK, format!("max {} ms", tally.max.as_millis())),
            Self::Hang => {
                ask(tally.max_get <= TRY, format!("a GET took {} ms", tally.max_get.as_millis()));
                ask(tally.slow <= 2, format!("{} slow", tally.slow));
            }
            Self::BothDown => ask(within(seen.back, 200), "first success too late".to_owned()),
            Self::SlowStart => ask(tally.slow < 5, format!("{} slow", tally.slow)),
            _ => {}
        }
        let ends = seen.sockets.clone().unwrap_or_default();
        let closed = |codes: &[u16]| codes.iter().filter_map(|code| ends.closed.get(code)).sum::<usize>();
        match self {
            Self::ReloadSockets => {
                ask(ends.alive == SOCKETS, format!("{} alive", ends.alive));
                let (before, after) = seen.processes.unwrap_or_default();
                ask(after <= before, format!("{before} processes became {after}"));
            }
            Self::Stop => {
                ask(closed(&[1001, 1012]) == SOCKETS, format!("{} got a Close", closed(&[1001, 1012])));
                ask(ends.last.saturating_sub(ends.first) > SPREAD_MIN, "all at once".to_owned());
                ask(seen.ended.is_some(), "it does not end".to_owned());
            }
            Self::KillSockets => {
                ask(closed(&[1012]) == SOCKETS / 2, format!("{} got a Close 1012", closed(&[1012])));
                ask(ends.alive == SOCKETS / 2, format!("{} alive", ends.alive));
                ask(ends.last <= AT_ONCE, format!("the last after {} ms", ends.last.as_millis()));
            }
            _ => {}
        }
        misses
    }

    /// Plays the fault before `which` and its two nodes, all of them fresh.
    pub(crate) async fn play(self, which: Contender, tidelock: &std::path::Path) -> Result<Seen> {
        let manner = self.manner();
        let nodes = [Origin::start(manner).await?, Origin::start(manner).await?];
        let proxy = which.start(tidelock, nodes.each_ref().map(Origin::address)).await?;
        let mut stage = Stage { nodes, proxy };
        let address = stage.proxy.address();
        let mut sockets = match self {
            Self::ReloadSockets | Self::Stop | Self::KillSockets => {
                Some(Sockets::open(address, SOCKETS).await?)
            }
            _ => None,
        };
        // A proxy that takes no connections any more would fail a load by that alone.
        let load = (self != Self::Stop).then(|| Load::start(address, self.is_closing()));
        sleep(BEFORE).await;
        sockets.iter_mut().for_each(Sockets::begin);
        let mut seen = stage.act(self, load.as_ref()).await?;
        let samples = match load {
            Some(load) => load.stop().await,
            None => Vec::new(),
        };
        if let Some(sockets) = sockets {
            seen.sockets = Some(sockets.end().await);
        }
        let mut reached = Reached::default();
        stage.nodes.iter().for_each(|node| node.tell(&mut reached));
        seen.resets = reached.resets;
        seen.tally = Tally::of(&samples, &reached, seen.dead.unwrap_or_else(Instant::now));
        Ok(seen)
    }

    fn manner(self) -> Manner {
        let usual = Manner::default();
        match self {
            Self::Kill | Self::KillClosing => Manner { delay_ms: 30, ..usual },
            Self::ResetMid => Manner { reset_percent: 5, ..usual },
            Self::IdleRace => Manner { idle_ms: 40, ..usual },
            _ => usual,
        }
    }

    fn is_closing(self) -> bool {
        matches!(self, Self::KillClosing | Self::ReloadNew)
    }
}

impl Stage {
    async fn act(&mut self, fault: Fault, load: Option<&Load>) -> Result<Seen> {
        let manner = fault.manner();
        let mut seen = Seen::default();
        let [first, second] = &mut self.nodes;
        match fault {
            Fault::Kill | Fault::KillClosing => {
                seen.dead = Some(first.kill().await);
                sleep(Duration::from_secs(1)).await;
                first.start_again(manner).await?;
                seen.back = Some(Back::of(first).await);
                sleep(AFTER).await;
            }
            Fault::Hang => {
                first.stand_still(Duration::from_secs(4)).await;
                sleep(AFTER).await;
            }
            Fault::BothDown => {
                let (one, other) = tokio::join!(first.kill(), second.kill());
                seen.dead = Some(one.max(other));
                sleep(Duration::from_secs(2)).await;
                let (one, other) = tokio::join!(first.start_again(manner), second.start_again(manner));
                one.and(other)?;
                if let Some(load) = load {
                    seen.back = Some(Back::of_clients(load).await);
                }
                sleep(AFTER).await;
            }
            Fault::SlowStart => {
                seen.dead = Some(first.kill().await);
                sleep(Duration::from_secs(1)).await;
                first.start_again(Manner { slow_for_ms: 3000, slow_ms: 1000, ..manner }).await?;
                sleep(Duration::from_secs(4)).await;
            }
            Fault::ResetMid | Fault::IdleRace => sleep(Duration::from_secs(4)).await,
            Fault::ReloadKept | Fault::ReloadNew | Fault::ReloadSockets => {
                let before = self.proxy.processes();
                for _ in 0..5 {
                    self.proxy.reload()?;
                    sleep(RELOADS_APART).await;
                }
                sleep(AFTER).await;
                seen.processes = Some((before, self.proxy.processes()));
            }
            Fault::Stop => {
                let begun = Instant::now();
                self.proxy.stop_gracefully();
                let ended = self.proxy.ended(STOP_MAX).await;
                seen.ended = ended.filter(std::process::ExitStatus::success).map(|_| begun.elapsed());
            }
            Fault::KillSockets => {
                seen.dead = Some(first.kill().await);
                sleep(AFTER * 2).await;
            }
        }
        Ok(seen)
    }
}

impl Back {
    async fn of(node: &Origin) -> Self {
        let since = Instant::now();
        if node.is_asked(BACK_MAX).await { Self::After(since.elapsed()) } else { Self::NotWithin(BACK_MAX) }
    }

    async fn of_clients(load: &Load) -> Self {
        let since = Instant::now();
        while since.elapsed() < FIRST_MAX {
            if let Some(success) = load.success_after(since) {
                return Self::After(success - since);
            }
            sleep(Duration::from_millis(10)).await;
        }
        Self::NotWithin(FIRST_MAX)
    }
}

impl Seen {
    /// The worse of two rounds, number by number.
    pub(crate) fn worse(self, other: Self) -> Self {
        let worse_ends = |a: Ends, b: Ends| if (b.cut, b.last) > (a.cut, a.last) { b } else { a };
        let either = |a: Option<Ends>, b: Option<Ends>| match (a, b) {
            (Some(a), Some(b)) => Some(worse_ends(a, b)),
            (a, b) => a.or(b),
        };
        Self {
            tally: self.tally.worse(other.tally),
            resets: self.resets.max(other.resets),
            back: self.back.max(other.back),
            sockets: either(self.sockets, other.sockets),
            processes: self.processes.max(other.processes),
            dead: None,
            // One round in which it did not end is enough.
            ended: self.ended.and_then(|one| other.ended.map(|two| one.max(two))),
        }
    }
}

const LOAD_CLIENTS: usize = 10;
/// WebSockets, where there are any.
const SOCKETS: usize = 200;
/// The load runs so long before anything happens.
const BEFORE: Duration = Duration::from_millis(800);
const AFTER: Duration = Duration::from_millis(500);
const RELOADS_APART: Duration = Duration::from_millis(600);
const BACK_MAX: Duration = Duration::from_secs(3);
const FIRST_MAX: Duration = Duration::from_secs(10);
const STOP_MAX: Duration = Duration::from_secs(5);

/// An answer takes 30 ms; 100 ms more are allowed.
const QUICK: Duration = Duration::from_millis(130);
/// A try may take 1 s, and the second one follows.
const TRY: Duration = Duration::from_millis(1200);
/// Of a window of 2 s.
const SPREAD_MIN: Duration = Duration::from_secs(1);
const AT_ONCE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts real nodes and a real proxy: the bench itself would otherwise be found broken on the day it is needed.
    #[tokio::test]
    #[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
    async fn the_bench_works() {
        let tidelock = super::super::contender::tidelock("debug").unwrap();
        for fault in [Fault::IdleRace, Fault::KillSockets] {
            let seen = fault.play(Contender::Tidelock, &tidelock).await.unwrap();
            let Tally { gets, posts, torn, twice, .. } = seen.tally;
            assert!(gets > 100 && posts > 100, "{seen:?}");
            assert_eq!((torn, twice), (0, 0), "{seen:?}");
            if let Some(ends) = seen.sockets {
                assert_eq!(ends.alive + ends.cut + ends.closed.values().sum::<usize>(), SOCKETS, "{ends:?}");
                assert_eq!(ends.alive, SOCKETS / 2, "{ends:?}");
            }
        }
    }

    #[test]
    fn what_falls_short_is_said() {
        let check = |fault: Fault, seen: &Seen, misses: &[&str]| assert_eq!(fault.misses(seen), misses);
        let mut seen = Seen { back: Some(Back::After(Duration::from_millis(900))), ..Seen::default() };
        check(Fault::Kill, &seen, &[]);
        seen.tally.lost_posts = 2;
        check(Fault::Kill, &seen, &[]);
        seen.tally.needlessly = 1;
        seen.tally.max = Duration::from_millis(131);
        seen.back = Some(Back::NotWithin(Duration::from_millis(1)));
        check(Fault::Kill, &seen, &["1 lost needlessly", "back too late", "max 131 ms"]);
        check(Fault::ReloadNew, &seen, &["2 lost"]);
        seen.tally.torn = 1;
        seen.resets = 2;
        check(Fault::ResetMid, &seen, &["1 torn"]);
    }
}
