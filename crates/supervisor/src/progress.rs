//! What somebody who has given an order hears about it.

use std::collections::BTreeSet;

use tokio::sync::mpsc;

/// How far a verb has got. Steps may be left out if they are not read in time; the end never is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It goes on: a line for people, such as `chat/0: ready after 150ms`.
    Step(String),
    /// It is done: what was done, in lines. Nothing follows.
    Done(String),
    /// It was not done, or not to its end: why, in lines. Nothing follows.
    Failed(String),
}

/// Tells one follower. It may be of several apps.
#[derive(Debug)]
pub(crate) struct Following {
    steps: mpsc::Sender<Progress>,
    /// Room for the end, however slowly steps are read.
    end: mpsc::OwnedPermit<Progress>,
    /// Whose steps are of interest.
    apps: BTreeSet<String>,
    /// What it waits for.
    tickets: BTreeSet<u64>,
    done: Vec<String>,
    failed: Vec<String>,
}

/// A follower, and where it hears.
pub(crate) fn following() -> (Following, mpsc::Receiver<Progress>) {
    let (steps, progress) = mpsc::channel(STEPS_MAX);
    let end =
        steps.clone().try_reserve_owned().unwrap_or_else(|_| unreachable!("the channel is new and has room"));
    let (apps, tickets) = (BTreeSet::new(), BTreeSet::new());
    (Following { steps, end, apps, tickets, done: Vec::new(), failed: Vec::new() }, progress)
}

impl Following {
    pub(crate) fn wait_for(&mut self, app: &str, ticket: u64) {
        self.apps.insert(app.to_owned());
        self.tickets.insert(ticket);
    }

    pub(crate) fn waits_for(&self, ticket: u64) -> bool {
        self.tickets.contains(&ticket)
    }

    pub(crate) fn waits_for_nothing(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Something happened to an app.
    pub(crate) fn step(&self, app: &str, text: &str) {
        if self.apps.contains(app) {
            // Whoever does not read in time misses a step.
            let _ = self.steps.try_send(Progress::Step(text.to_owned()));
        }
    }

    /// One of the things that it waits for has ended.
    pub(crate) fn note(&mut self, ticket: u64, outcome: Result<String, String>) {
        if self.tickets.remove(&ticket) {
            match outcome {
                Ok(done) => self.done.push(done),
                Err(why) => self.failed.push(why),
            }
        }
    }

    /// All that it waited for has ended.
    pub(crate) fn finish(mut self) {
        if self.failed.is_empty() {
            let done = self.done.join("\n");
            self.end(Progress::Done(done));
        } else {
            let mut lines = std::mem::take(&mut self.failed);
            lines.append(&mut self.done);
            self.end(Progress::Failed(lines.join("\n")));
        }
    }

    pub(crate) fn end(self, end: Progress) {
        self.end.send(end);
    }
}

/// Steps that were not read, and the end.
const STEPS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_heard_by_those_who_read_no_step() {
        let (mut follow, mut progress) = following();
        follow.wait_for("chat", 1);
        follow.wait_for("api", 2);
        for number in 0..1000 {
            follow.step("chat", &number.to_string());
            follow.step("other", "nobody asked");
        }
        follow.note(2, Err("api: no".to_owned()));
        follow.note(1, Ok("chat: yes".to_owned()));
        assert!(follow.waits_for_nothing());
        follow.finish();
        let mut heard = Vec::new();
        while let Ok(progress) = progress.try_recv() {
            heard.push(progress);
        }
        assert_eq!(heard.first(), Some(&Progress::Step("0".to_owned())));
        assert_eq!(heard.last(), Some(&Progress::Failed("api: no\nchat: yes".to_owned())));
        assert_eq!(heard.len(), STEPS_MAX);
    }
}
