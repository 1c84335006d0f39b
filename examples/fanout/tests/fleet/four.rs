//! Two Node.js nodes and two Rust nodes, a client on each, and everybody talking to everybody while something happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use fanout::{Fanout, Mode};
use serde_json::{Value as Json, json};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{agent::Agent, node_js, rust_node::RustNode, until};

/// The nodes' names, which are also those of the clients on them.
pub const NAMES: [&str; 4] = ["js1", "js2", "rust1", "rust2"];

pub struct Four {
    pub js: [Agent; 2],
    pub rust: [RustNode; 2],
    pub clients: Agent,
}

/// What became of one node's messages at one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub from: &'static str,
    pub to: &'static str,
    pub said: usize,
    pub lost: usize,
    /// In how many pieces.
    pub pieces: usize,
    /// Heard twice, or out of order.
    pub astray: usize,
}

impl Row {
    fn of(from: &'static str, to: &'static str, said: usize, heard: &[usize]) -> Self {
        let numbers: BTreeSet<usize> = heard.iter().copied().collect();
        let missing = |number: &usize| !numbers.contains(number);
        let pieces = (0..said).filter(|number| missing(number) && (*number == 0 || !missing(&(number - 1))));
        let mut newest = None;
        let in_order = |number: &&usize| {
            let is_newer = newest.is_none_or(|newest| **number > newest);
            newest = newest.max(Some(**number));
            is_newer
        };
        let astray = heard.len() - heard.iter().filter(in_order).count();
        Self { from, to, said, lost: said - numbers.len(), pieces: pieces.count(), astray }
    }
}

impl Four {
    pub async fn start<F: Future<Output = Fanout>>(mode: Mode, redis: Json, connect: impl Fn() -> F) -> Self {
        let start = node_js(redis, mode);
        let js = [Agent::start("node.cjs").await, Agent::start("node.cjs").await];
        let mut urls = Vec::new();
        for node in &js {
            urls.push(format!("http://127.0.0.1:{}", node.call("start", start.clone()).await));
        }
        let rust =
            [RustNode::serve(connect().await, &["/"]).await, RustNode::serve(connect().await, &["/"]).await];
        urls.extend(rust.iter().map(|node| node.url.clone()));
        let four = Self { js, rust, clients: Agent::start("clients.cjs").await };
        four.assembled().await;
        for (name, url) in NAMES.iter().zip(urls) {
            four.clients.call("connect", json!({ "name": name, "url": url })).await;
            four.clients.call("join", json!({ "name": name, "rooms": ["room"] })).await;
        }
        four
    }

    /// Until each sees all of them.
    pub async fn assembled(&self) {
        for node in &self.js {
            until("Node.js sees four", async || {
                node.try_call("serverCount", json!({})).await.is_ok_and(|count| count == json!(4))
            })
            .await;
        }
        for node in &self.rust {
            until("Rust sees four", async || {
                node.fleet.of("/").unwrap().server_count().await.is_ok_and(|count| count == 4)
            })
            .await;
        }
    }

    /// Everybody says numbers to the room, two hundred a second each, before, while and after `happens`. By sender and receiver.
    pub async fn talk_while(&self, happens: impl Future<Output = ()>) -> Vec<Row> {
        let silence = Arc::new(AtomicBool::new(false));
        let speakers = [0, 1].map(|n| speak(&self.rust[n], NAMES[2 + n], silence.clone()));
        for (node, name) in self.js.iter().zip(NAMES) {
            let code = format!(
                "globalThis.said = 0;
                 globalThis.talk = setInterval(() => io.to('room').emit('said', '{name}', said++), 5)[Symbol.toPrimitive]()"
            );
            node.call("run", json!({ "code": code })).await;
        }
        self.all_heard(400).await;
        happens.await;
        self.assembled().await;
        let so_far = self.clients.call("count", json!({ "name": "js1", "event": "said" })).await;
        self.all_heard(so_far.as_u64().unwrap() as usize + 400).await;

        let mut said = Vec::new();
        for node in &self.js {
            let code = "clearInterval(talk); io.to('room').emit('end'); return said";
            said.push(node.call("run", json!({ "code": code })).await.as_u64().unwrap() as usize);
        }
        silence.store(true, Relaxed);
        for speaker in speakers {
            said.push(speaker.await.unwrap());
        }
        let mut rows = Vec::new();
        for to in NAMES {
            let log = self.clients.call("received", json!({ "name": to, "event": "end", "count": 4 })).await;
            let mut heard = BTreeMap::<&str, Vec<usize>>::new();
            for entry in log.as_array().unwrap().iter().filter(|entry| entry[0] == "said") {
                let number = entry[2].as_u64().unwrap() as usize;
                heard.entry(entry[1].as_str().unwrap()).or_default().push(number);
            }
            for (from, said) in NAMES.into_iter().zip(&said) {
                rows.push(Row::of(from, to, *said, &heard.remove(from).unwrap_or_default()));
            }
        }
        rows
    }

    async fn all_heard(&self, count: usize) {
        for name in NAMES {
            self.clients.call("count", json!({ "name": name, "event": "said", "atLeast": count })).await;
        }
    }
}

fn speak(node: &RustNode, name: &'static str, silence: Arc<AtomicBool>) -> JoinHandle<usize> {
    let io = node.io.clone();
    tokio::spawn(async move {
        let mut beat = interval(Duration::from_millis(5));
        beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut said = 0;
        while !silence.load(Relaxed) {
            beat.tick().await;
            io.to("room").emit("said", &(name, said)).await.unwrap();
            said += 1;
        }
        io.to("room").emit("end", &crate::NOTHING).await.unwrap();
        said
    })
}
