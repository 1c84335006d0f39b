//! What other processes use of the machine, as the kernel tells it. The load reads it itself, at the very moments between
//! which it counts: another process would be scheduled late on a busy machine.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// Processes that belong together: those that were named, and their children.
#[derive(Clone, Debug, Default)]
pub struct Processes(Vec<u32>);

/// What [`Processes`] have used, or used between two moments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Time on a CPU, user and system together, in nanoseconds, of all threads, those that have ended among them.
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

    /// Time on a CPU until now, in nanoseconds, by the clock that the kernel keeps for each process: it is exact, where
    /// /proc/PID/stat moves in steps of 10 ms, and never goes back, as a sum over the threads that live does when one ends.
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
    let of = || format!("the CPU time of process {id}");
    let clock = nix::time::clock_getcpuclockid(Pid::from_raw(i32::try_from(id)?)).with_context(of)?;
    let used = Duration::from(clock.now().with_context(of)?);
    Ok(u64::try_from(used.as_nanos())?)
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
        let sum = block.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        assert!(own.cpu_ns().unwrap() > cpu, "{sum}");
    }

    #[test]
    fn the_work_of_a_thread_that_has_ended_is_not_forgotten() {
        let own = Processes::of(&[std::process::id()]);
        let before = own.cpu_ns().unwrap();
        let work = || (0..10_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum + n));
        let at_its_end = std::thread::spawn(move || (work(), own.cpu_ns().unwrap())).join().unwrap().1;
        assert!(at_its_end > before);
        assert!(Processes::of(&[std::process::id()]).cpu_ns().unwrap() >= at_its_end);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        // Above the greatest id that Linux gives.
        assert!(Processes::of(&[1 << 22]).cpu_ns().is_err());
    }
}
