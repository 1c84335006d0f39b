//! What the process takes of memory, against what it may: its resident pages, which the control thread looks up now and then,
//! and what workers have got from the allocator since. They count that where buffers and connections are made, which a
//! request on a connection that is there does not. What was given back meanwhile is seen at the next look; until then it is
//! held to be taken.
//!
//! Short of memory, new buffers are small, new connections come in slowly, and what rests goes; out of it, requests get 503. What
//! the kernel holds for sockets and pipes is not in it: the former is bounded by the kernel (tcp_mem), the latter by `splice`.

use std::cell::Cell;
use std::fmt::{self, Display, Formatter};
use std::fs::{File, read_to_string};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

/// How the process stands with its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    None,
    /// Three quarters of the budget are taken.
    Short,
    /// Nine tenths are, and what is left is for what is under way.
    Out,
}

/// The budget, and what is taken of it.
#[derive(Debug)]
pub(crate) struct Memory {
    pressure: watch::Sender<Pressure>,
    /// The same for those who only want to know.
    hot: AtomicU8,
    /// When it was last looked up.
    resident: AtomicU64,
    /// All that workers have ever got for buffers and connections.
    charged: AtomicU64,
    /// Of this, what `resident` knows of.
    charged_then: AtomicU64,
    budget: AtomicU64,
}

/// A worker's own count of what it gets, which it tells the others now and then.
#[derive(Debug)]
pub(crate) struct Ledger {
    memory: Arc<Memory>,
    untold: Cell<usize>,
}

impl Ledger {
    pub(crate) fn new(memory: Arc<Memory>) -> Self {
        Self { memory, untold: Cell::new(0) }
    }

    /// So much more has come from the allocator.
    pub(crate) fn charge(&self, bytes: usize) {
        let untold = self.untold.get() + bytes;
        self.untold.set(untold);
        if untold >= TOLD_AT {
            self.untold.set(0);
            self.memory.charge(untold as u64);
        }
    }

    pub(crate) fn is_short(&self) -> bool {
        self.memory.is_short()
    }
}

impl Memory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            pressure: watch::Sender::new(Pressure::None),
            hot: AtomicU8::new(Pressure::None as u8),
            resident: AtomicU64::new(0),
            charged: AtomicU64::new(0),
            charged_then: AtomicU64::new(0),
            budget: AtomicU64::new(u64::MAX),
        })
    }

    pub(crate) fn is_short(&self) -> bool {
        self.hot.load(Relaxed) >= Pressure::Short as u8
    }

    pub(crate) fn is_out(&self) -> bool {
        self.hot.load(Relaxed) >= Pressure::Out as u8
    }

    pub(crate) fn listen(&self) -> watch::Receiver<Pressure> {
        self.pressure.subscribe()
    }

    /// Waits until there is enough. Cancel-safe.
    pub(crate) async fn enough(&self) {
        // Its sender is here.
        let _ = self.listen().wait_for(|pressure| *pressure == Pressure::None).await;
    }

    /// How many bytes are taken and how many may be. What was charged since the kernel was last asked is counted
    /// in.
    pub(crate) fn taken_of(&self) -> (u64, u64) {
        let since = self.charged.load(Relaxed).saturating_sub(self.charged_then.load(Relaxed));
        (self.resident.load(Relaxed) + since, self.budget.load(Relaxed))
    }

    #[cold]
    fn charge(&self, bytes: u64) {
        self.charged.fetch_add(bytes, Relaxed);
        self.judge(|before, now| now > before);
    }

    /// So much was resident, after so much had been charged.
    fn note(&self, resident: u64, charged: u64, budget: u64) {
        self.resident.store(resident, Relaxed);
        self.charged_then.store(charged, Relaxed);
        self.budget.store(budget, Relaxed);
        self.judge(|before, now| now != before);
    }

    /// As if so many percent of the budget were taken.
    #[cfg(test)]
    pub(crate) fn set_taken(&self, percent: u64) {
        self.note(percent << 20, self.charged.load(Relaxed), 100 << 20);
    }

    fn judge(&self, is_believed: impl FnOnce(Pressure, Pressure) -> bool) {
        let (taken, budget) = self.taken_of();
        let mut changed = None;
        self.pressure.send_if_modified(|before| {
            let now = pressure(taken, budget, *before);
            if !is_believed(*before, now) {
                return false;
            }
            self.hot.store(now as u8, Relaxed);
            *before = now;
            changed = Some(now);
            true
        });
        let (taken_mib, budget_mib) = (taken >> 20, budget >> 20);
        match changed {
            None => {}
            Some(Pressure::None) => {
                tracing::info!(
                    event = "memory_enough",
                    taken_mib,
                    budget_mib,
                    "there is enough memory again"
                );
            }
            Some(Pressure::Short) => tracing::warn!(
                event = "memory_short",
                taken_mib,
                budget_mib,
                "short of memory: new connections come in slowly, and those that rest are closed (`limits.memory`)"
            ),
            Some(Pressure::Out) => {
                tracing::warn!(
                    event = "memory_out",
                    taken_mib,
                    budget_mib,
                    "out of memory: requests get 503 (`limits.memory`)"
                );
            }
        }
    }
}

/// Whoever was short is so until there is clearly more, or it would be told ten times a second.
fn pressure(taken: u64, budget: u64, before: Pressure) -> Pressure {
    let exceeds = |percent: u64, of: Pressure| {
        let percent = if before >= of { percent - SLACK_PERCENT } else { percent };
        taken >= budget / 100 * percent
    };
    match () {
        () if exceeds(OUT_PERCENT, Pressure::Out) => Pressure::Out,
        () if exceeds(SHORT_PERCENT, Pressure::Short) => Pressure::Short,
        () => Pressure::None,
    }
}

/// A budget (`limits.memory`) that would be short for ever: tidelock takes three quarters of it before anybody has come.
/// In bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLittleMemory {
    /// What tidelock takes at rest.
    pub at_rest: u64,
    /// What it may take.
    pub budget: u64,
}

impl TooLittleMemory {
    /// What is short if `budget`, in bytes, is too little for what this process has taken so far: to be asked
    /// before it serves anybody. Without a budget it is the share that is taken where the file says nothing. `None`
    /// as well where the kernel does not say what is taken.
    #[must_use]
    pub fn now(budget: Option<u64>) -> Option<Self> {
        let at_rest = resident(&mut File::open(STATM).ok()?)? * rustix::param::page_size() as u64;
        Self::of(at_rest, budget.unwrap_or_else(share))
    }

    fn of(at_rest: u64, budget: u64) -> Option<Self> {
        // As if it were short already: only below that is it over again.
        (pressure(at_rest, budget, Pressure::Short) != Pressure::None).then_some(Self { at_rest, budget })
    }

    /// The least budget that would do, in bytes, whole MiB: half is for those who come.
    #[must_use]
    pub fn enough(&self) -> u64 {
        (self.at_rest * 2).next_multiple_of(1 << 20)
    }
}

impl Display for TooLittleMemory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let [at_rest, budget] = [self.at_rest, self.budget].map(|bytes| bytes as f64 / f64::from(1 << 20));
        write!(
            f,
            "tidelock may take {budget:.0} MiB of memory, and takes {at_rest:.0} MiB before anybody has come: it would be short of \
             it for ever, and take new connections slowly"
        )
    }
}

/// Looks it up again and again. `budget` is what the file says, if it does.
pub(crate) async fn watch_memory(memory: Arc<Memory>, budget: impl Fn() -> Option<u64>) {
    let share = share();
    let page = rustix::param::page_size() as u64;
    let mut statm = match File::open(STATM) {
        Ok(statm) => statm,
        Err(error) => return tracing::warn!(%error, "`limits.memory` is not kept"),
    };
    // What was taken at first, and the budget that was last measured by it.
    let (mut at_rest, mut judged) = (None, None);
    loop {
        let budget = budget().unwrap_or(share);
        let charged = memory.charged.load(Relaxed);
        if let Some(pages) = resident(&mut statm) {
            let at_rest = *at_rest.get_or_insert(pages * page);
            if judged.replace(budget) != Some(budget) {
                warn_of(TooLittleMemory::of(at_rest, budget));
            }
            memory.note(pages * page, charged, budget);
        }
        let (taken, budget) = memory.taken_of();
        sleep(if taken > budget / 2 { LOOK_SHARPLY } else { LOOK_EVERY }).await;
    }
}

fn warn_of(too_little: Option<TooLittleMemory>) {
    if let Some(too_little) = too_little {
        tracing::warn!(
            event = "memory_too_little",
            "{too_little} (`limits.memory`: {} MiB would do)",
            too_little.enough() >> 20
        );
    }
}

/// The budget where the file says none.
fn share() -> u64 {
    available() / 100 * SHARE_PERCENT
}

/// Resident pages (proc_pid_statm(5)).
fn resident(statm: &mut File) -> Option<u64> {
    let mut text = [0; 128];
    statm.rewind().ok()?;
    let length = statm.read(&mut text).ok()?;
    std::str::from_utf8(&text[..length]).ok()?.split(' ').nth(1)?.parse().ok()
}

/// How many bytes this process could take: what its cgroup may, and those above it, or else what the machine has.
fn available() -> u64 {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| memory_of(&text));
    let cgroup =
        read_to_string("/proc/self/cgroup").ok().and_then(|text| limit_of(&text, Path::new(CGROUPS)));
    [machine, cgroup].into_iter().flatten().min().unwrap_or(u64::MAX)
}

fn memory_of(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(total.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// The least `memory.max` of a cgroup (version 2) and those above it.
fn limit_of(cgroup: &str, root: &Path) -> Option<u64> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own: PathBuf = root.join(own);
    let up = own.ancestors().take_while(|folder| folder.starts_with(root));
    up.filter_map(|folder| read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok()).min()
}

const STATM: &str = "/proc/self/statm";
const CGROUPS: &str = "/sys/fs/cgroup";
/// Of what there is, unless the file says otherwise: the nodes are often on the same machine.
const SHARE_PERCENT: u64 = 50;
const SHORT_PERCENT: u64 = 75;
const OUT_PERCENT: u64 = 90;
const SLACK_PERCENT: u64 = 5;
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The same from half of the budget on.
const LOOK_SHARPLY: Duration = Duration::from_millis(10);
/// A worker's count is known to the others from so much on.
const TOLD_AT: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_rises_at_once_and_falls_with_some_slack() {
        use Pressure::{None, Out, Short};
        for (taken, before, now) in [
            (74, None, None),
            (75, None, Short),
            (74, Short, Short),
            (69, Short, None),
            (90, None, Out),
            (86, Out, Out),
            (84, Out, Short),
            (10, Out, None),
        ] {
            assert_eq!(pressure(taken, 100, before), now, "{taken} % after {before:?}");
        }
    }

    #[test]
    fn a_budget_that_would_be_short_at_rest_is_too_little() {
        const MIB: u64 = 1 << 20;
        assert_eq!(TooLittleMemory::of(9 * MIB, 16 * MIB), None);
        // Once short, it is so down to 70 %.
        for at_rest in [71, 75, 300] {
            assert!(TooLittleMemory::of(at_rest * MIB, 100 * MIB).is_some(), "{at_rest}");
        }
        assert_eq!(TooLittleMemory::of(69 * MIB, 100 * MIB), None);
        let too_little = TooLittleMemory::of(14 * MIB + 1, 16 * MIB).unwrap();
        assert_eq!(too_little.enough(), 29 * MIB);
        let said = too_little.to_string();
        assert!(said.contains("may take 16 MiB") && said.contains("takes 14 MiB before"), "{said}");
        assert_eq!(
            TooLittleMemory::of(too_little.at_rest, too_little.enough()),
            None,
            "what it advises is enough"
        );
    }

    #[test]
    fn what_is_charged_counts_until_it_is_seen() {
        let memory = Memory::new();
        memory.note(10 << 20, 0, 20 << 20);
        let ledger = Ledger::new(memory.clone());
        assert!(!memory.is_short());
        for _ in 0..5 {
            ledger.charge(1 << 20);
        }
        assert!(memory.is_short() && !memory.is_out());
        ledger.charge(4 << 20);
        assert!(memory.is_out());
        assert_eq!(memory.taken_of(), (19 << 20, 20 << 20));
        // Most of it had been given back.
        memory.note(11 << 20, 9 << 20, 20 << 20);
        assert_eq!((memory.taken_of().0, memory.is_short()), (11 << 20, false));
    }

    #[test]
    fn the_least_limit_of_all_cgroups_above_counts() {
        let root = tempfile::tempdir().unwrap();
        let own = root.path().join("system.slice/tidelock.service");
        std::fs::create_dir_all(&own).unwrap();
        let cgroup = "0::/system.slice/tidelock.service\n";
        assert_eq!(limit_of(cgroup, root.path()), None);
        std::fs::write(own.join("memory.max"), "max\n").unwrap();
        assert_eq!(limit_of(cgroup, root.path()), None);
        std::fs::write(own.join("memory.max"), "2000\n").unwrap();
        std::fs::write(root.path().join("system.slice/memory.max"), "1000\n").unwrap();
        assert_eq!(limit_of(cgroup, root.path()), Some(1000));
        assert_eq!(limit_of("1:name=systemd:/\n", root.path()), None);
    }

    #[test]
    fn this_process_takes_some_of_what_there_is() {
        let taken = resident(&mut File::open("/proc/self/statm").unwrap()).unwrap() * 4096;
        assert!(taken > 1 << 16 && taken < available(), "{taken}");
    }
}
