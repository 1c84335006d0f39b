//! As the first process of a container, or of any PID namespace: what is orphaned there becomes its child and has to be waited for,
//! whoever started it, such as `docker exec` and its probes. So this process does that alone, as `docker run --init` has it,
//! and tidelock is a child of it.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1};

/// Runs tidelock as a child, with the arguments of this process, and gives back how that ended. `None` if this is not the first
/// process, or there can be no other.
pub(crate) fn main() -> Option<ExitCode> {
    if std::process::id() != 1 {
        return None;
    }
    // From here on none is lost that comes before the child is there.
    let mut signals =
        signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1]).ok()?;
    let mut arguments = std::env::args_os();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(arguments.next().unwrap_or_else(|| "tidelock".into())).args(arguments);
    // A group of its own, so that Ctrl-C at a terminal comes once, by way of this process: two mean that it shall end at once.
    let child = command.process_group(0).spawn().ok()?;
    let tidelock = Pid::from_child(&child);
    let forward = move || {
        for signal in signals.forever() {
            let signal = Signal::from_named_raw(signal);
            // If it has ended, so has this process in a moment.
            let _ = signal.map(|signal| kill_process(tidelock, signal));
        }
    };
    if thread::Builder::new().name("signals".into()).spawn(forward).is_err() {
        // The child ends with this process, as all of the namespace does.
        return Some(ExitCode::FAILURE);
    }
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == tidelock => {
                return Some(code_of(ExitStatus::from_raw(status.as_raw())));
            }
            Ok(_) | Err(Errno::INTR) => {}
            // There is no child any more, and so no tidelock.
            Err(_) => return Some(ExitCode::FAILURE),
        }
    }
}

/// As a shell has it for what a signal has ended.
fn code_of(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
