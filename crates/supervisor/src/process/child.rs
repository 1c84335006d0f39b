//! A child of tidelock whose end is waited for. The kernel tells of it through a file (pidfd_open(2), Linux 5.3), so that no
//! handler of SIGCHLD is needed: tokio's looks for ended children whenever any of its threads wakes, and those that move
//! bytes wake for each of them.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::spawn_blocking;

/// A running child.
#[derive(Debug)]
pub(super) struct Child(Option<std::process::Child>);

impl Child {
    /// Starts `command`.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Self> {
        left_behind(|left| left.retain_mut(|child| matches!(child.try_wait(), Ok(None))));
        Ok(Self(Some(command.spawn()?)))
    }

    /// What stands for a child of another process, which waits for it.
    pub(super) fn of_another() -> Self {
        Self(None)
    }

    pub(super) fn id(&self) -> Option<i32> {
        self.0.as_ref().and_then(|child| i32::try_from(child.id()).ok())
    }

    /// Waits until it has ended, and reaps it.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub(super) async fn ended(&mut self) {
        let Some(child) = &mut self.0 else { return };
        let file = pidfd_open(Pid::from_child(child), PidfdFlags::empty());
        let told = file.map_err(io::Error::from).and_then(watch);
        match told {
            Ok(told) => {
                let _ = told.readable().await;
                // It has ended, so that this does not wait.
                let _ = child.wait();
                self.0 = None;
            }
            // No file is left for it, or the kernel has none of the kind: a thread waits in its place.
            Err(_) => {
                if let Some(mut child) = self.0.take() {
                    let _ = spawn_blocking(move || child.wait()).await;
                }
            }
        }
    }
}

#[expect(deprecated, reason = "unsound for types whose file can change under it, which an OwnedFd's cannot")]
fn watch(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(file, Interest::READABLE)
}

/// What nobody waits for any more is let go of by the system once somebody has asked how it ended, which the next start does.
impl Drop for Child {
    fn drop(&mut self) {
        if let Some(child) = self.0.take() {
            left_behind(|left| left.push(child));
        }
    }
}

fn left_behind<T>(of: impl FnOnce(&mut Vec<std::process::Child>) -> T) -> T {
    static LEFT: Mutex<Vec<std::process::Child>> = Mutex::new(Vec::new());
    of(&mut LEFT.lock().unwrap_or_else(PoisonError::into_inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_there(pid: i32) -> bool {
        std::path::Path::new(&format!("/proc/{pid}")).exists()
    }

    #[tokio::test]
    async fn its_end_is_told() {
        let mut command = Command::new("cat");
        command.stdin(std::process::Stdio::piped());
        let mut child = Child::spawn(&mut command).expect("cat is there");
        let pid = child.id().expect("it runs");
        {
            let mut ended = std::pin::pin!(child.ended());
            let looked =
                std::future::poll_fn(|cx| std::task::Poll::Ready(ended.as_mut().poll(cx).is_ready()));
            assert!(!looked.await, "it waits for its input");
        }
        drop(child.0.as_mut().and_then(|child| child.stdin.take()));
        child.ended().await;
        assert!(!is_there(pid), "nothing of it is left");
        child.ended().await;
    }

    #[tokio::test]
    async fn one_that_nobody_waits_for_leaves_nothing_behind() {
        let mut command = Command::new("true");
        let child = Child::spawn(&mut command).expect("true is there");
        let pid = child.id().expect("it runs");
        drop(child);
        // Each start looks once, and the first may be too early.
        while is_there(pid) {
            Child::spawn(&mut command).expect("true is there").ended().await;
        }
    }
}
