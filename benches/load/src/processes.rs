//! What other processes use of the machine, as /proc tells it. The load reads it itself, at the very moments between
//! which it counts: another process would be scheduled late on a busy machine.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// Processes that belong together: those that were named, and their children.
#[derive(Clone, Debug, Default)]
pub struct Processes(Vec<u32>);

/// What [`Processes`] have used, or used between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Time on a CPU, user and system together, in nanoseconds, of the threads that live.
    pub cpu_ns: u64,
    /// Proportional share of the memory that is resident, in bytes.
    pub memory_bytes: u64,
}

impl Processes {
    /// The processes of `ids`, and the children that they have now.
    #[must_use]
    pub fn of(ids: &[u32]) -> Self {
        let mut all = ids.to_vec();
        let mut at = 0;
        while let Some(&id) = all.get(at) {
            all.extend(children(id));
            at += 1;
        }
        Self(all)
    }

    /// One process, whatever children it has.
    #[must_use]
    pub fn alone(id: u32) -> Self {
        Self(vec![id])
    }

    /// Time on a CPU until now, in nanoseconds. The scheduler's own count: that of /proc/PID/stat moves in steps of
    /// 10 ms, this one in those of the scheduler, and exactly when a thread goes to sleep.
    ///
    /// # Errors
    /// If one of them is gone.
    pub fn cpu_ns(&self) -> Result<u64> {
        self.0.iter().map(|id| cpu_ns_of(*id)).sum()
    }

    /// Proportional share of resident memory (PSS: a page that two processes share counts half for each), in bytes.
    ///
    /// # Errors
    /// If one of them is gone, or belongs to another user.
    pub fn memory_bytes(&self) -> Result<u64> {
        self.0.iter().map(|id| memory_bytes_of(*id)).sum()
    }
}

fn cpu_ns_of(id: u32) -> Result<u64> {
    let tasks = format!("/proc/{id}/task");
    let mut sum = 0;
    for task in fs::read_dir(&tasks).with_context(|| tasks.clone())? {
        // A thread may end between the listing and this.
        if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
            sum += text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}

fn memory_bytes_of(id: u32) -> Result<u64> {
    let path = format!("/proc/{id}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<u64>().ok()).map(|kib| kib * 1024).with_context(|| path)
}

fn children(id: u32) -> Vec<u32> {
    let path = Path::new("/proc").join(id.to_string()).join(format!("task/{id}/children"));
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|child| child.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_of_this_process_are_seen() {
        let own = Processes::of(&[std::process::id()]);
        let (cpu, memory) = (own.cpu_ns().unwrap(), own.memory_bytes().unwrap());
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(own.memory_bytes().unwrap() >= memory + (60 << 20));
        // Touching so much takes milliseconds, and the scheduler looks at least that often.
        let mut sum = 0_u64;
        while own.cpu_ns().unwrap() == cpu {
            sum += block.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        }
        assert!(own.cpu_ns().unwrap() > cpu, "{sum}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        // Above the greatest id that Linux gives.
        assert!(Processes::of(&[u32::MAX]).cpu_ns().is_err());
    }
}
