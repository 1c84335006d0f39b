//! The task of a running process: it passes commands on to the keeper until everything of the process is gone, or is another
//! tidelock's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;
use std::time::Duration;

use tokio::io::{AsyncWriteExt, BufReader, Lines};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::child::Child;
use super::launch::Ending;
use super::orphans;
use super::reservation::Reservation;
use crate::handover::{HoldRequest, InstanceFiles};
use crate::keeper::order::{Command, Report};
use crate::logs::{Output, Read};

/// What the task of a process is asked.
#[derive(Debug)]
pub(super) enum Asked {
    Command(Command),
    Hold(HoldRequest),
}

/// The files that another tidelock would need, once more each.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) output: Output,
    pub(super) channel: Option<OwnedFd>,
}

impl Held {
    pub(super) fn of(output: &Output, channel: Option<&StdStream>) -> io::Result<Self> {
        let once_more = |file: &OwnedFd| file.try_clone();
        let output = Output { stdout: once_more(&output.stdout)?, stderr: once_more(&output.stderr)? };
        let channel = channel.map(|channel| channel.as_fd().try_clone_to_owned()).transpose()?;
        Ok(Self { output, channel })
    }

    fn files(&self, keeper: &OwnedWriteHalf) -> io::Result<InstanceFiles> {
        Ok(InstanceFiles {
            keeper: keeper.as_ref().as_fd().try_clone_to_owned()?,
            stdout: self.output.stdout.try_clone()?,
            stderr: self.output.stderr.try_clone()?,
            channel: self.channel.as_ref().map(OwnedFd::try_clone).transpose()?,
        })
    }
}

/// The task of a running process.
#[derive(Debug)]
pub(super) struct Attended {
    pub(super) child: Child,
    pub(super) reports: Lines<BufReader<OwnedReadHalf>>,
    pub(super) orders: OwnedWriteHalf,
    pub(super) pid: i32,
    pub(super) mark: String,
    pub(super) place: Reservation,
    pub(super) held: Held,
    pub(super) read: Read,
}

/// How the watch over a process ends.
enum Over {
    Reported(Option<Report>),
    /// It is another tidelock's. What is here is dropped once nothing of it is touched here any more.
    Taken(mpsc::Sender<()>),
}

impl Attended {
    /// Until everything of it is gone, and its keeper too, which it then `says`; or until it is another's.
    pub(super) async fn run(mut self, asked: mpsc::Receiver<Asked>, says: watch::Sender<Option<Ending>>) {
        let reported = match self.watch(asked).await {
            Over::Reported(report) => report,
            Over::Taken(last) => {
                // Dropped, it would tell the keeper that nobody is there any more.
                self.orders.forget();
                self.place.folder.is_anothers = true;
                if let Some(seat) = &self.place.seat {
                    seat.give_away();
                }
                self.read.stop().await;
                drop(last);
                return;
            }
        };
        self.child.ended().await;
        let ending = match reported {
            Some(Report::Code(code)) => Ending::Code(code),
            Some(Report::Signal(signal)) => Ending::Signal(signal),
            _ => {
                let (pid, mark) = (self.pid, self.mark);
                let _ = spawn_blocking(move || orphans::kill(pid, &mark)).await;
                Ending::KeeperLost
            }
        };
        // Whoever hears that it has ended finds what it has said last, even if others say much.
        let _ = timeout(READ_TIMEOUT, self.read.until_its_end()).await;
        drop(self.place);
        says.send_replace(Some(ending));
    }

    async fn watch(&mut self, mut asked: mpsc::Receiver<Asked>) -> Over {
        let mut is_wanted = true;
        loop {
            tokio::select! {
                report = next(&mut self.reports) => return Over::Reported(report),
                ask = asked.recv(), if is_wanted => match ask {
                    // If the keeper is gone the reports end.
                    Some(Asked::Command(command)) => drop(self.orders.write_all(&command.encode()).await),
                    Some(Asked::Hold(HoldRequest { files, taken })) => {
                        // Without files for them the request is dropped, and that is the answer.
                        if let Ok(ours) = self.held.files(&self.orders)
                            && files.send(ours).is_ok()
                            && let Ok(last) = taken.await
                        {
                            return Over::Taken(last);
                        }
                    }
                    None => {
                        is_wanted = false;
                        let _ = self.orders.shutdown().await;
                    }
                },
            }
        }
    }
}

pub(super) async fn next(reports: &mut Lines<BufReader<OwnedReadHalf>>) -> Option<Report> {
    Report::decode(&reports.next_line().await.ok()??)
}

/// What it has written last is read in no time, unless it has left its output to somebody who still has it.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// A keeper takes each at once. When so many wait it does not run, and the kill that comes with the end of its socket
/// ends what it keeps.
pub(super) const COMMANDS_MAX: usize = 64;
