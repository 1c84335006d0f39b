//! What is left when somebody killed a keeper: found by its process group and by the mark in its environment, which
//! everything inherits that does not clear its environment. Blocks.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::environment::MARK;
use crate::process_table::ProcessTable;

/// Kills all that bear `mark` or are in `group`, until none is left.
pub(crate) fn kill(group: i32, mark: &str) {
    let wanted = format!("{MARK}={mark}").into_bytes();
    for _ in 0..ROUNDS {
        let process_table = ProcessTable::take();
        let mut left = process_table.group(group);
        // The children of one that is killed have the mark too, and there may be new ones in each round.
        left.extend(process_table.descendants(1).into_iter().filter(|&pid| bears(pid, &wanted)));
        left.sort_unstable();
        left.dedup();
        if left.is_empty() {
            return;
        }
        for pid in left.into_iter().filter_map(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
            // As the first process of a container tidelock inherits what has no parent.
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
        thread::sleep(PAUSE);
    }
}

fn bears(pid: i32, mark: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|variable| variable == mark)
}

/// A second in all: what is left then cannot be killed.
const ROUNDS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(10);
