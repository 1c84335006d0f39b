//! As the first process of a container, or of any PID namespace: what is orphaned there becomes its child and has to be waited for,
//! whoever started it, such as `docker exec` and its probes. So this process does that alone, as `docker run --init` has it,
//! and tidelock is a child of it.

use std::fs;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::upgrade;

/// Runs tidelock as a child, with the arguments of this process, and gives back how that ended. `None` if this is not the first
/// process, or there can be no other.
pub(crate) fn main() -> Option<ExitCode> {
    if std::process::id() != 1 {
        return None;
    }
    // From here on none is lost that comes before the child is there.
    let all = [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2];
    let mut signals = signal_hook::iterator::Signals::new(all).ok()?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(arguments.next().unwrap_or_else(|| "tidelock".into())).args(arguments);
    // A group of its own, so that Ctrl-C at a terminal comes once, by way of this process: two mean that it shall end at once.
    let child = command.process_group(0).spawn().ok()?;
    let mut tidelock = Pid::from_child(&child);
    let current = Arc::new(AtomicI32::new(tidelock.as_raw_nonzero().get()));
    let whom = current.clone();
    let forward = move || {
        for signal in signals.forever().filter_map(Signal::from_named_raw) {
            let current = Pid::from_raw(whom.load(Ordering::Relaxed));
            // While it finishes what it has begun, another one may serve. If it has ended, so has this process in a moment.
            for pid in current.into_iter().chain(current.and_then(successor)) {
                let _ = kill_process(pid, signal);
            }
        }
    };
    if thread::Builder::new().name("signals".into()).spawn(forward).is_err() {
        // The child ends with this process, as all of the namespace does.
        return Some(ExitCode::FAILURE);
    }
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == tidelock => match successor(tidelock) {
                Some(successor) => {
                    tidelock = successor;
                    current.store(tidelock.as_raw_nonzero().get(), Ordering::Relaxed);
                }
                None => return Some(code_of(ExitStatus::from_raw(status.as_raw()))),
            },
            Ok(_) | Err(Errno::INTR) => {}
            // There is no child any more, and so no tidelock.
            Err(_) => return Some(ExitCode::FAILURE),
        }
    }
}

/// The tidelock that goes on in the place of this one: its child, or ours by now.
fn successor(of: Pid) -> Option<Pid> {
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(Pid::from_raw).find(|pid| *pid != of && is_successor(*pid, of).unwrap_or(false))
}

fn is_successor(pid: Pid, of: Pid) -> Option<bool> {
    let words = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let is_told = words.split(|&byte| byte == 0).nth(1)?.starts_with(upgrade::WORD.as_bytes());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse::<i32>().ok()?;
    Some(is_told && (parent == 1 || parent == of.as_raw_nonzero().get()))
}

/// As a shell has it for what a signal has ended.
fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
