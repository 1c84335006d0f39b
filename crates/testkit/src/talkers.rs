//! Real clients of an app with rooms, who talk to each other, and say what of it was heard.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::node::script;
use crate::process::{Mark, Process};

/// Running clients, of `js/talkers.mjs`. Dropping it ends them.
#[derive(Debug)]
pub struct Talkers {
    process: Process,
}

/// What became of a round, in which each client says a text and some bytes to its room.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Round {
    /// So many messages there are to hear, over all clients.
    pub expected: usize,
    /// What was not heard, and by whom.
    pub lost: Vec<String>,
    /// How many were heard twice.
    pub doubled: usize,
    /// How many were not heard as they were said.
    pub changed: usize,
}

/// What the app said to a client on one of its instances.
#[derive(Clone, Debug, Deserialize)]
pub struct Answers {
    /// How many clients of its room answered a question to all of them.
    pub asked: Answer<usize>,
    /// The ids of the sockets in its room.
    pub fetched: Answer<Vec<String>>,
    /// The process ids of all instances.
    pub instances: Answer<Vec<u64>>,
}

/// An answer, or why there is none.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer<T> {
    /// It was found out.
    Found(T),
    /// In the app's words.
    Error(String),
}

#[derive(Deserialize)]
struct All {
    answers: Vec<Answers>,
}

#[derive(Deserialize)]
struct Instances {
    instances: Vec<u64>,
}

impl Talkers {
    /// Starts so many clients, which take turns in so many rooms.
    #[must_use]
    pub fn start(url: &str, count: usize, rooms: usize) -> Self {
        let mut command = Command::new("node");
        command.arg(script("talkers.mjs"));
        command.arg(serde_json::json!({ "url": url, "count": count, "rooms": rooms }).to_string());
        Self { process: Process::spawn("talkers", command) }
    }

    /// Waits until clients have come to be in their room so many times, over all of them and since the start.
    pub async fn until_connects(&self, count: usize) {
        let is_one = |line: &str| line.starts_with("{\"event\":\"connect\"");
        self.process.wait_for_lines_since(Mark::default(), count, is_one).await;
    }

    /// Waits until each of so many instances knows all of them. Returns their process ids.
    pub async fn until_meshed(&mut self, instances: usize) -> Vec<u64> {
        let all: Instances = self.command("mesh", &format!("mesh {instances}")).await;
        all.instances
    }

    /// Lets each client say a text and so many bytes.
    pub async fn round(&mut self, bytes: usize) -> Round {
        self.command("round", &format!("round {bytes}")).await
    }

    /// Asks the app by a client on each instance.
    pub async fn ask(&mut self) -> Vec<Answers> {
        let all: All = self.command("ask", "ask").await;
        all.answers
    }

    /// Lets an instance say so many messages of so many bytes to a room that nobody is in.
    pub async fn flood(&mut self, count: usize, bytes: usize) {
        let _: serde_json::Value = self.command("flood", &format!("flood {count} {bytes}")).await;
    }

    /// Closes the clients on an instance.
    pub async fn leave(&mut self, instance: u64) {
        let _: serde_json::Value = self.command("leave", &format!("leave {instance}")).await;
    }

    async fn command<T: DeserializeOwned>(&mut self, event: &str, line: &str) -> T {
        let mark = self.process.mark();
        self.process.write_line(line).await;
        let prefix = format!("{{\"event\":\"{event}\"");
        let line =
            self.process.wait_for_lines_since(mark, 1, |line| line.starts_with(&prefix)).await.remove(0);
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }
}
