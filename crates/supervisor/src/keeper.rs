//! The keeper of one instance: a small process between tidelock and the app that starts the app's process, waits for
//! all that comes of it, and kills all of it when tidelock says so, or is no more. It is tidelock's own binary under
//! another name, so that `killall tidelock` does not take it along.
//!
//! Linux gives the orphans among its descendants to it (PR_SET_CHILD_SUBREAPER), so that children of children are
//! found even if they forked twice or have a session of their own. It lives as long as the socket on its stdin:
//! whatever way tidelock ends, the kernel closes that. PR_SET_PDEATHSIG would miss grandchildren, and would fire when
//! the thread that started the process ends.
//!
//! There is no runtime here, no thread and no log: it has to work when nothing else does.

pub(crate) mod order;

use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command as Program, ExitCode, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use crate::privileges;
use crate::process_table::ProcessTable;
use order::{Command, Order, Report};

/// Whether this process was started to be a keeper. The first thing that `main` asks, before it looks at arguments.
#[must_use]
pub fn asked_to_be_one() -> bool {
    let mut arguments = std::env::args_os();
    arguments.next().is_some_and(|name| name == NAME) && arguments.next().is_some_and(|word| word == OF)
}

/// Keeps one instance until it is gone. The order comes over stdin; stdout and stderr are the instance's.
#[must_use]
pub fn main() -> ExitCode {
    match keep() {
        Ok(()) => ExitCode::SUCCESS,
        // Tidelock sees that the socket ends without a report. There is nobody else to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

/// What a keeper is called in lists of processes: `keeper of chat/0`.
pub(crate) const NAME: &str = "keeper";
pub(crate) const OF: &str = "of";
/// What a keeper's own environment tells jemalloc, which runs a thread beside tidelock: a keeper has little to give back,
/// and is to have one thread only.
pub(crate) const ALLOCATOR: (&str, &str) = ("_RJEM_MALLOC_CONF", "background_thread:false");

fn keep() -> io::Result<()> {
    // Not `tidelock`, for the reason in the head of this file.
    rustix::thread::set_name(c"keeper")?;
    set_child_subreaper(Some(getpid()))?;
    // Whoever stops a whole group or control group politely means the app, and tidelock, but not who waits for them.
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2] {
        signal_hook::flag::register(signal, ignored.clone())?;
    }
    let (ended, rings) = UnixStream::pair()?;
    ended.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGCHLD, rings)?;

    let mut tidelock = UnixStream::from(rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?);
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    let mut first = FirstBytes { socket: &tidelock, channel: None };
    let order = Order::read(&mut first)?;
    let channel = first.channel;
    let started = start(&order, channel.as_ref());
    // The app's output ends with the app, not with its keeper, and only the app holds its channel.
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    drop(channel);
    match started {
        Ok(app) => {
            // If nobody is there to be told, the loop finds that out too.
            let _ = tidelock.write_all(Report::Started(app.as_raw_nonzero().get()).encode().as_bytes());
            Kept { app, end: None, is_stopping: false, kills: None }.watch(tidelock, ended)
        }
        Err(error) => {
            let report = Report::Failed(error.raw_os_error().unwrap_or(0));
            tidelock.write_all(report.encode().as_bytes())
        }
    }
}

fn start(order: &Order, channel: Option<&OwnedFd>) -> io::Result<Pid> {
    let (program, arguments) = order.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = Program::new(program);
    command.args(arguments).env_clear().envs(order.environment.iter().map(|(name, value)| (name, value)));
    // An input that never says anything and never ends, as under PM2: there are apps that end with it.
    let (input, held) = io::pipe()?;
    command.current_dir(&order.cwd).stdin(input).process_group(0);
    std::mem::forget(held);
    if let Some((user, group)) = order.account {
        // Groups beside its own are taken from it: those of root are not meant for it.
        command.uid(user).gid(group);
    }
    if let Some(channel) = channel {
        // There is one thread here and one child, so that nobody else inherits it.
        fcntl_setfd(channel, FdFlags::empty())?;
        command.env("NODE_CHANNEL_FD", channel.as_raw_fd().to_string());
        command.env("NODE_CHANNEL_SERIALIZATION_MODE", "json");
    }
    if order.no_new_privs {
        // Inherited by the child. The keeper itself executes nothing else.
        rustix::thread::set_no_new_privs(true)?;
    }
    privileges::hand_nothing_on()?;
    // Dropping a `Child` neither kills it nor waits for it: whoever ends is waited for below.
    let child = command.spawn()?;
    privileges::keep_ends_alone()?;
    Ok(Pid::from_child(&child))
}

/// The app's process and all that came of it.
#[derive(Debug)]
struct Kept {
    app: Pid,
    /// How the app's process ended.
    end: Option<ExitStatus>,
    /// A signal was asked for: what is left after the app's process may end by itself, as node under `npm start` does
    /// when the signal ended npm at once. Tidelock's deadline is the bound.
    is_stopping: bool,
    /// How many times it has killed all that it found, once it does that.
    kills: Option<u32>,
}

impl Kept {
    /// Until nobody is left.
    fn watch(mut self, mut tidelock: UnixStream, mut ended: UnixStream) -> io::Result<()> {
        tidelock.set_nonblocking(true)?;
        let mut is_there = true;
        loop {
            let nobody_is_left = self.wait_for_all_that_ended();
            if let (true, Some(end)) = (nobody_is_left, self.end) {
                tidelock.set_nonblocking(false)?;
                return tidelock.write_all(report(end).encode().as_bytes());
            }
            // One that ends without being told to was not about to hand anything over to its children.
            if !is_there || (self.end.is_some() && !self.is_stopping) {
                self.kills.get_or_insert(0);
            }
            if let Some(kills) = &mut self.kills {
                *kills = kills.saturating_add(1);
                self.kill();
            }
            pause(&tidelock, is_there, &ended, self.kills)?;
            while let Ok(1..) = ended.read(&mut [0; 64]) {}
            is_there = is_there && self.obey(&mut tidelock);
        }
    }

    /// Takes the ends of all children that have one by now, the app's and those of orphans that the kernel has
    /// given to us. Whether there are no children any more.
    fn wait_for_all_that_ended(&mut self) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.app => {
                    self.end = Some(ExitStatus::from_raw(status.as_raw()));
                }
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    /// Does what tidelock asks; `false` if it is gone.
    fn obey(&mut self, tidelock: &mut UnixStream) -> bool {
        loop {
            let mut command = [0; 2];
            match tidelock.read(&mut command) {
                Ok(2) => match Command::decode(command) {
                    Command::Signal(signal) => self.signal(signal),
                    Command::Kill => {
                        self.kills.get_or_insert(0);
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Commands are written whole, and two bytes are not torn on a Unix socket.
                Ok(_) | Err(_) => return false,
            }
        }
    }

    fn signal(&mut self, signal: i32) {
        self.is_stopping = true;
        let Some(signal) = Signal::from_named_raw(signal) else { return };
        if self.end.is_none() {
            let _ = kill_process_group(self.app, signal);
        } else {
            // The number of its group may be another's by now.
            self.each(signal);
        }
    }

    fn kill(&self) {
        if self.end.is_none() {
            let _ = kill_process_group(self.app, Signal::KILL);
        }
        self.each(Signal::KILL);
    }

    fn each(&self, signal: Signal) {
        for pid in ProcessTable::take().descendants(getpid().as_raw_nonzero().get()) {
            // One that ended meanwhile is a zombie until this process waits for it, or its parent has done so a moment
            // ago; a number is not given again that soon.
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, signal));
        }
    }
}

/// Until something happens. While it kills, it looks again soon: children of children that were killed come to it
/// without a signal. A process that the kernel cannot end, since it waits for a disk, is no reason to look all the time.
fn pause(tidelock: &UnixStream, is_there: bool, ended: &UnixStream, kills: Option<u32>) -> io::Result<()> {
    let soon =
        kills.map(|kills| Timespec { tv_sec: 0, tv_nsec: if kills < 100 { 5_000_000 } else { 200_000_000 } });
    let mut waits = vec![PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN)];
    if is_there {
        waits.push(PollFd::from_borrowed_fd(tidelock.as_fd(), PollFlags::IN));
    }
    match poll(&mut waits, soon.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn report(end: ExitStatus) -> Report {
    match (end.code(), end.signal()) {
        (Some(code), _) => Report::Code(code),
        (None, Some(signal)) => Report::Signal(signal),
        (None, None) => Report::Code(0),
    }
}

/// Reads the order, and takes the app's channel that comes with its first bytes.
#[derive(Debug)]
struct FirstBytes<'a> {
    socket: &'a UnixStream,
    channel: Option<OwnedFd>,
}

impl Read for FirstBytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut beside = RecvAncillaryBuffer::new(&mut space);
        let read =
            recvmsg(self.socket, &mut [IoSliceMut::new(into)], &mut beside, RecvFlags::CMSG_CLOEXEC)?.bytes;
        for message in beside.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                self.channel = files.last().or(self.channel.take());
            }
        }
        Ok(read)
    }
}
