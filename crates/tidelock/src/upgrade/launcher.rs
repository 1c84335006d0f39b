//! The process between a tidelock and the one that is to go on in its place: it starts that program, waits for it, and ends as it
//! does. Once the new one serves, the launcher is killed. The new one is the child of whoever adopts orphans then, before systemd
//! is told that it is the main process: systemd does not wait for the end of a main process that is not its own child, and kills
//! everything in the control group instead (`main_pid_alien` in its service.c).
//!
//! It is this binary again, even if its file has another program in it by now.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;

use rustix::process::{
    Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal, set_parent_process_death_signal,
};
use signal_hook::consts::SIGTERM;

use super::message::Message;
use super::stream::Stream;

/// What starts `program` with these arguments, the first of which is its name. SIGTERM says that it is not wanted any more.
pub(super) fn command(program: &Path, arguments: impl Iterator<Item = OsString>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(NAME).arg(OF).arg(program).args(arguments);
    command
}

/// Whether this process was started to be a launcher, by its name and its first argument.
pub(crate) fn asked_to_be_one() -> bool {
    let mut arguments = std::env::args_os();
    arguments.next().is_some_and(|name| name == NAME) && arguments.next().is_some_and(|word| word == OF)
}

/// Launches one program, and ends as it does.
pub(crate) fn main() -> ExitCode {
    // The first two are its own.
    let mut arguments = std::env::args_os().skip(2);
    let Some(program) = arguments.next() else { return ExitCode::FAILURE };
    match launch(Path::new(&program), arguments) {
        Ok(status) => end_as(status),
        Err(error) => {
            let why = format!("{}: {error}", Path::new(&program).display());
            let said = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map(UnixStream::from);
            // If nobody is there to be told, nobody waits.
            let _ = said.map(|socket| Stream::new(socket).send(&Message::Failed { why }, &[]));
            ExitCode::FAILURE
        }
    }
}

fn launch(program: &Path, mut arguments: impl Iterator<Item = OsString>) -> io::Result<ExitStatus> {
    // In lists of processes it would have the name of that link.
    rustix::thread::set_name(c"launcher")?;
    // Until then the default is what is wanted: there is nobody to be ended.
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM])?;
    // Where the one before is killed, nobody would say that the new one is not wanted.
    set_parent_process_death_signal(Some(Signal::TERM))?;
    let mut command = Command::new(program);
    command.arg0(arguments.next().unwrap_or_else(|| program.into())).args(arguments);
    let mut child = command.spawn()?;
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    // Who waits at the other end sees that the new one is gone.
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    let end = move || {
        for _ in signals.forever() {
            // It may have ended by itself.
            let _ = pidfd_send_signal(&process, Signal::KILL);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(end)?;
    child.wait()
}

fn end_as(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

/// What it is called in lists of processes: `launcher of /usr/bin/tidelock …`.
const NAME: &str = "launcher";
const OF: &str = "of";
