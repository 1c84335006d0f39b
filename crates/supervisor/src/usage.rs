//! What processes take, sample by sample.

use std::collections::BTreeMap;
use std::time::Duration;

use config::roster::InstanceId;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::process_table::{ProcessTable, Usage};
use crate::status::InstanceStatus;

/// The last samples of an app's instances.
#[derive(Debug, Default)]
pub(crate) struct Usages {
    of: BTreeMap<InstanceId, Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    cpu: Duration,
    memory: u64,
    percent: Option<f32>,
}

impl Usages {
    /// `uptime` is how long its process has run: the first sample counts from its start.
    pub(crate) fn note(&mut self, id: InstanceId, usage: Usage, uptime: Duration, now: Instant) {
        let before = self.of.get(&id).copied();
        let percent = match before {
            // The clock of the system counts in hundredths of a second: over a shorter time it says nothing.
            Some(before) if now - before.at < SHORTEST => {
                if let Some(sample) = self.of.get_mut(&id) {
                    sample.memory = usage.resident_bytes;
                }
                return;
            }
            Some(before) => {
                let share = usage.cpu.saturating_sub(before.cpu).div_duration_f32(now - before.at);
                Some(share * 100.0)
            }
            None if uptime < SHORTEST => None,
            None => Some(usage.cpu.div_duration_f32(uptime) * 100.0),
        };
        self.of.insert(id, Sample { at: now, cpu: usage.cpu, memory: usage.resident_bytes, percent });
    }

    pub(crate) fn forget(&mut self, id: InstanceId) {
        self.of.remove(&id);
    }

    pub(crate) fn add_to(&self, status: &mut InstanceStatus) {
        let Some(sample) = self.of.get(&status.id).filter(|_| status.pid.is_some()) else { return };
        status.memory = Some(sample.memory);
        status.cpu_percent = sample.percent;
    }
}

/// Counts the processes of the machine now and then, elsewhere than on the control thread.
#[derive(Debug)]
pub(crate) struct Counting {
    /// Somebody has to know how much memory there is.
    pub(crate) is_periodic: bool,
    /// Somebody wants to know now.
    pub(crate) is_asked: bool,
    next: Instant,
    running: Option<(JoinHandle<ProcessTable>, bool)>,
}

/// A process table.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) process_table: ProcessTable,
    /// It was time for it, and nobody asked.
    pub(crate) is_periodic: bool,
}

impl Counting {
    pub(crate) fn new() -> Self {
        Self { is_periodic: false, is_asked: false, next: Instant::now() + EVERY, running: None }
    }

    /// The next process table, if there is a reason for one.
    ///
    /// # Cancel safety
    /// Cancel-safe: a table that is being read is given by the next call.
    pub(crate) async fn next(&mut self) -> Counted {
        if self.running.is_none() {
            if !self.is_asked {
                if self.is_periodic {
                    sleep_until(self.next).await;
                } else {
                    std::future::pending::<()>().await;
                }
            }
            let is_due = self.is_periodic && self.next <= Instant::now();
            self.running = Some((spawn_blocking(ProcessTable::take), is_due));
        }
        let Some((running, is_periodic)) = &mut self.running else { return std::future::pending().await };
        // Only the end of the runtime takes it away.
        let counted = Counted { process_table: running.await.unwrap_or_default(), is_periodic: *is_periodic };
        if counted.is_periodic {
            self.next = Instant::now() + EVERY;
        }
        self.running = None;
        counted
    }
}

/// So often memory is looked at. PM2 does it every 30 s, and misses what grows fast.
const EVERY: Duration = Duration::from_secs(2);
/// Between two samples that say something about processor time.
const SHORTEST: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_look_shows_what_it_has_taken_since_its_start() {
        let (mut usages, id, now) =
            (Usages::default(), InstanceId { slot: 0, generation: 1 }, Instant::now());
        let usage = |cpu| Usage { processes: 1, cpu: Duration::from_millis(cpu), resident_bytes: 1 };
        usages.note(id, usage(500), Duration::from_secs(2), now);
        assert_eq!(usages.of[&id].percent, Some(25.0));
        usages.note(id, usage(1500), Duration::from_secs(3), now + Duration::from_secs(1));
        assert_eq!(usages.of[&id].percent, Some(100.0));
        // It may have begun a moment ago.
        let other = InstanceId { slot: 1, generation: 2 };
        usages.note(other, usage(10), Duration::from_millis(20), now);
        assert_eq!(usages.of[&other].percent, None);
    }
}
