//! A child process that belongs to a test: its output is kept, and it ends with its guard.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, kill_process, prlimit};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::TIMEOUT;

pub use rustix::process::Signal;

/// How long all steps of a script may take.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(240);

/// A running child. Dropping it kills it; its stdin is a pipe that closes then too.
///
/// Every method that waits panics after [`TIMEOUT`], or where it says so another time, with all that the process printed.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    printed: watch::Receiver<Printed>,
}

/// A place in the output of a [`Process`]: what it printed later comes after the mark.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark(usize);

#[derive(Debug, Default)]
struct Printed {
    /// Lines of both streams in the order of their arrival.
    lines: Vec<String>,
    streams_ended: usize,
}

impl Process {
    /// Starts `command`; `name` is what panics call it.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn spawn(name: impl Into<String>, mut command: Command) -> Self {
        let name = name.into();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name}: cannot start {command:?}: {error}"));
        let (said, printed) = watch::channel(Printed::default());
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let stderr = child.stderr.take().expect("stderr is a pipe");
        // Both tasks end with the streams they read, that is with the process.
        tokio::spawn(collect(stdout, said.clone()));
        tokio::spawn(collect(stderr, said));
        let stdin = child.stdin.take();
        Self { name, child, stdin, printed }
    }

    /// Its process id.
    ///
    /// # Panics
    /// If its end was waited for already.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("{} has ended", self.name))
    }

    /// Sends it `signal`.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.rustix_pid(), signal)
            .unwrap_or_else(|error| panic!("{}: {signal:?}: {error}", self.name));
    }

    /// Lets it open `count` files more than it has now, and no more.
    ///
    /// # Panics
    /// If this process may not do that.
    pub fn limit_files(&self, count: usize) {
        // The limit is one of numbers, and some below it may be free.
        let open = self.files();
        let limit = (0..).filter(|file| !open.contains(file)).nth(count).expect("there are numbers left");
        let nofile = Resource::Nofile;
        let limit = Rlimit { current: Some(limit), maximum: getrlimit(nofile).maximum };
        prlimit(Some(self.rustix_pid()), nofile, limit)
            .unwrap_or_else(|error| panic!("{}: no such limit: {error}", self.name));
    }

    /// The most memory that it has had resident until now, in bytes.
    ///
    /// # Panics
    /// Without /proc.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The memory that it has resident now, in bytes.
    ///
    /// # Panics
    /// Without /proc.
    #[must_use]
    pub fn resident_memory(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// The same, with what it shares with other processes counted by its share alone.
    ///
    /// # Panics
    /// Without /proc.
    #[must_use]
    pub fn proportional_memory(&self) -> u64 {
        self.memory_in("smaps_rollup", "Pss:")
    }

    fn memory(&self, kind: &str) -> u64 {
        self.memory_in("status", kind)
    }

    fn memory_in(&self, file: &str, kind: &str) -> u64 {
        let path = format!("/proc/{}/{file}", self.pid());
        let status = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let kib = status.lines().find_map(|line| line.strip_prefix(kind)?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {kind} in {status}")) * 1024
    }

    fn files(&self) -> Vec<u64> {
        let directory = format!("/proc/{}/fd", self.pid());
        let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{directory}: {error}"));
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
    }

    /// How many files each of its epolls watches, idle ones left out. An epoll that another one watches counts as a part
    /// of that: a runtime has one, with what it has parked in a second one below, so that this tells how connections are
    /// spread over threads.
    #[must_use]
    pub fn watched_by_epolls(&self) -> Vec<usize> {
        let watched = |file: u64| -> Option<(u64, Vec<u64>)> {
            let info = std::fs::read_to_string(format!("/proc/{}/fdinfo/{file}", self.pid())).ok()?;
            let mut files: Vec<_> = info.lines().filter_map(watched_file).collect();
            files.sort_unstable();
            (!files.is_empty()).then_some((file, files))
        };
        let epolls: HashMap<_, _> = self.files().into_iter().filter_map(watched).collect();
        let below: HashSet<_> = epolls.values().flatten().filter(|file| epolls.contains_key(file)).collect();
        let on_top = epolls.iter().filter(|(file, _)| !below.contains(file)).map(|(_, files)| files);
        // An epoll that was duplicated is the same epoll, and shows the same files.
        let on_top: BTreeSet<_> = on_top.collect();
        let count = |files: &Vec<u64>| files.iter().map(|file| epolls.get(file).map_or(1, Vec::len)).sum();
        on_top.into_iter().map(count).collect()
    }

    fn rustix_pid(&self) -> Pid {
        i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("the kernel gives positive ids")
    }

    /// Waits for its end and says how it ended.
    pub async fn exit(&mut self) -> ExitStatus {
        match timeout(TIMEOUT, self.child.wait()).await {
            Ok(status) => status.expect("a child can be waited for"),
            Err(_) => panic!("{} does not end; {}", self.name, self.output()),
        }
    }

    /// Kills it (SIGKILL) and waits until it is gone.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap_or_else(|error| panic!("{}: cannot be killed: {error}", self.name));
    }

    /// Writes `line` and a line end to its stdin.
    pub async fn write_line(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap_or_else(|| panic!("{}: stdin is closed", self.name));
        if let Err(error) = stdin.write_all(format!("{line}\n").as_bytes()).await {
            panic!("{}: {line:?} was not taken: {error}; {}", self.name, self.output());
        }
    }

    /// Closes its stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The end of what it has printed until now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.printed.borrow().lines.len())
    }

    /// What it printed since `mark`, both streams together.
    #[must_use]
    pub fn lines_since(&self, mark: Mark) -> Vec<String> {
        self.printed.borrow().lines[mark.0..].to_vec()
    }

    /// The first line that `matches`, printed already or still to come.
    pub async fn wait_for_line(&self, matches: impl Fn(&str) -> bool) -> String {
        self.wait_for_lines_since(Mark::default(), 1, matches).await.remove(0)
    }

    /// The line at the end of a script of many steps, each of which has a timeout of its own: together they may take
    /// longer than one wait may, in a browser on a busy machine above all.
    pub(crate) async fn wait_for_result(&self, matches: impl Fn(&str) -> bool) -> String {
        self.wait_for_lines(Mark::default(), 1, matches, SCRIPT_TIMEOUT).await.remove(0)
    }

    /// The first `count` lines after `mark` that `matches`.
    pub async fn wait_for_lines_since(
        &self,
        mark: Mark,
        count: usize,
        matches: impl Fn(&str) -> bool,
    ) -> Vec<String> {
        self.wait_for_lines(mark, count, matches, TIMEOUT).await
    }

    async fn wait_for_lines(
        &self,
        mark: Mark,
        count: usize,
        matches: impl Fn(&str) -> bool,
        within: Duration,
    ) -> Vec<String> {
        let matching = |printed: &Printed| -> Vec<String> {
            printed.lines[mark.0..].iter().filter(|line| matches(line)).take(count).cloned().collect()
        };
        let mut printed = self.printed.clone();
        let done =
            printed.wait_for(|printed| printed.streams_ended == STREAMS || matching(printed).len() == count);
        let found = match timeout(within, done).await {
            Ok(Ok(printed)) => matching(&printed),
            Ok(Err(_)) | Err(_) => matching(&self.printed.borrow()),
        };
        assert!(
            found.len() == count,
            "{}: {} of {count} lines came; {}",
            self.name,
            found.len(),
            self.output()
        );
        found
    }

    /// All that it printed, ready for the message of a panic.
    #[must_use]
    pub fn output(&self) -> String {
        let lines = &self.printed.borrow().lines;
        format!("{} printed:\n  | {}", self.name, lines.join("\n  | "))
    }
}

/// Whether this line of tidelock's log tells of `event`, as docs/operating.md names it. Its words may change, this does not.
#[must_use]
pub fn tells(line: &str, event: &str) -> bool {
    let told = line.split_once(" event=\"").and_then(|(_, rest)| rest.split_once('"'));
    told.is_some_and(|(name, _)| name == event)
}

/// One that an epoll watches, in a line of what the kernel says about the epoll.
fn watched_file(line: &str) -> Option<u64> {
    line.strip_prefix("tfd:")?.split_whitespace().next()?.parse().ok()
}

async fn collect(stream: impl AsyncRead + Unpin, said: watch::Sender<Printed>) {
    let mut lines = BufReader::new(stream).split(b'\n');
    // A read error is the end of the stream too.
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
        said.send_modify(|printed| printed.lines.push(line));
    }
    said.send_modify(|printed| printed.streams_ended += 1);
}

const STREAMS: usize = 2;
