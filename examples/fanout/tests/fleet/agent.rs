//! A Node.js process that does what it is told, over its standard input and output.

use std::{
    collections::HashMap,
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::{Value as Json, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::oneshot,
};

use crate::soon;

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Json, String>>>>>;

pub struct Agent {
    stdin: tokio::sync::Mutex<ChildStdin>,
    waiting: Waiting,
    next: AtomicU64,
    // Killed when the test ends.
    process: Child,
}

impl Agent {
    pub async fn start(script: &str) -> Self {
        let js = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/js");
        assert!(js.join("node_modules").exists(), "run `npm ci` in {}", js.display());
        let mut command = Command::new("node");
        command.arg(js.join(script));
        Self::spawn(command)
    }

    /// Another program that speaks as the scripts do.
    pub fn spawn(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let waiting = Waiting::default();
        let stdout = process.stdout.take().unwrap();
        tokio::spawn(read_answers(BufReader::new(stdout), waiting.clone()));
        let stdin = tokio::sync::Mutex::new(process.stdin.take().unwrap());
        Self { stdin, waiting, next: AtomicU64::new(1), process }
    }

    /// The hard way.
    pub async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    /// Calls an operation of the script, and panics with its error.
    pub async fn call(&self, op: &str, parameters: Json) -> Json {
        self.try_call(op, parameters).await.unwrap_or_else(|error| panic!("{op}: {error}"))
    }

    pub async fn try_call(&self, op: &str, mut parameters: Json) -> Result<Json, String> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (done, answer) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, done);
        parameters["id"] = json!(id);
        parameters["op"] = json!(op);
        let line = format!("{parameters}\n");
        self.stdin.lock().await.write_all(line.as_bytes()).await.unwrap();
        soon(op, answer).await.expect("the process is alive")
    }
}

async fn read_answers(stdout: impl AsyncBufReadExt + Unpin, waiting: Waiting) {
    let mut lines = stdout.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let mut answer: Json =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("not an answer: {line}"));
        let Some(done) = waiting.lock().unwrap().remove(&answer["id"].as_u64().unwrap()) else { continue };
        let _ = done.send(match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer["result"].take()),
        });
    }
    waiting.lock().unwrap().clear();
}
