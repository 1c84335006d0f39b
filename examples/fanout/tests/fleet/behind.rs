//! Two Node.js nodes and two Rust nodes, each a process of its own, behind tidelock, and twelve people who talk all the
//! time while something happens to the nodes or to Redis. Of those whose connection holds nobody may miss a word of another,
//! and nobody may hear one twice.
//!
//! tidelock is only started here, as a process: `cargo build -p tidelock` first, or name a binary in `TIDELOCK`.

use std::{net::SocketAddr, path::PathBuf};

use serde_json::{Value as Json, json};
use testkit::tidelock::{FilePlan, Tidelock};
use tokio::process::Command;

use crate::{
    agent::Agent,
    failover::{SERVICE, Watched},
    redis_server::RedisServer,
    soon, until,
};

const PEOPLE: usize = 12;

/// What may be torn (see `failover`): what the three people on a node say in half a second, at 25 a second each.
const TORN: usize = 3 * 25 / 2;

#[derive(Clone, Copy)]
enum Kind {
    Js,
    Rust,
}

type Kinds = [Kind; 4];
const MIXED: Kinds = [Kind::Js, Kind::Js, Kind::Rust, Kind::Rust];
/// What the others are held against.
const ALL_JS: Kinds = [Kind::Js; 4];

/// Fields end in this order: people before what they are connected to.
struct Behind {
    people: Agent,
    tidelock: Tidelock,
    nodes: Vec<(Agent, u16)>,
    kinds: Kinds,
    redis: Json,
}

fn tidelock() -> PathBuf {
    let built = || std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("tidelock");
    let program = std::env::var_os("TIDELOCK").map_or_else(built, PathBuf::from);
    assert!(program.is_file(), "{program:?} is not there: run `cargo build -p tidelock`");
    program
}

/// On a port of its own, or on the one of the node that it replaces.
async fn node(kind: Kind, redis: &Json, port: u16) -> (Agent, u16) {
    let agent = match kind {
        Kind::Js => Agent::start("node.cjs").await,
        Kind::Rust => {
            let bars = std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("examples/bars");
            assert!(bars.is_file(), "{bars:?} is not there: run `cargo build -p tidelock-fanout --examples`");
            let mut command = Command::new(bars);
            command.arg("node");
            Agent::spawn(command)
        }
    };
    let port =
        agent.call("start", json!({ "redis": redis, "port": port, "patient": true })).await.as_u64().unwrap();
    (agent, u16::try_from(port).unwrap())
}

impl Behind {
    async fn start(redis: Json, kinds: Kinds) -> Self {
        let mut nodes = Vec::new();
        for kind in kinds {
            nodes.push(node(kind, &redis, 0).await);
        }
        let addresses = nodes.iter().map(|(_, port)| SocketAddr::from(([127, 0, 0, 1], *port)));
        let tidelock = Tidelock::start(tidelock(), &FilePlan::to_addresses(addresses).text()).await;
        let behind = Self { people: Agent::start("talkers.cjs").await, tidelock, nodes, kinds, redis };
        behind.assembled().await;
        let connect = json!({ "url": behind.tidelock.url(), "count": PEOPLE });
        let ids = behind.people.call("connect", connect).await;
        // Ids in Node.js have 20 characters and those in Rust 16: every node has as many people as the next.
        let lengths = ids.as_array().unwrap().iter().map(|id| id.as_str().unwrap().len());
        let js = kinds.iter().filter(|kind| matches!(kind, Kind::Js)).count();
        assert_eq!(lengths.filter(|length| *length == 20).count(), PEOPLE * js / kinds.len(), "{ids}");
        behind.people.call("talk", json!({})).await;
        behind.hear(100).await;
        behind
    }

    /// Until every node sees all of them.
    async fn assembled(&self) {
        for (node, _) in &self.nodes {
            until("a node sees four", async || {
                node.try_call("serverCount", json!({})).await.is_ok_and(|count| count == json!(4))
            })
            .await;
        }
    }

    /// Until those who have stayed have heard so many more. Says how many they are.
    async fn hear(&self, count: usize) -> u64 {
        self.people.call("hear", json!({ "count": count })).await.as_u64().unwrap()
    }

    async fn replace(&mut self, number: usize) {
        let (agent, port) = self.nodes.remove(number);
        agent.kill().await;
        self.nodes.insert(number, node(self.kinds[number], &self.redis, port).await);
        self.assembled().await;
    }

    async fn verb(&self, verb: &str, number: usize) {
        let mut command = Command::new(tidelock());
        command.arg(verb).arg(format!("127.0.0.1:{}", self.nodes[number].1));
        command.env("XDG_RUNTIME_DIR", self.tidelock.directory()).current_dir(self.tidelock.directory());
        let output = soon(verb, command.kill_on_drop(true).output()).await.unwrap();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Says how many stayed.
    async fn end(self) -> usize {
        self.report().await["stayed"].as_array().unwrap().len()
    }

    async fn report(&self) -> Json {
        self.hear(400).await;
        let report = self.people.call("report", json!({})).await;
        assert_eq!((&report["lost"], &report["doubled"]), (&json!(0), &json!(0)), "{report:#}");
        report
    }
}

fn alone(redis: &RedisServer) -> Json {
    json!({ "urls": [redis.url()] })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stall_of_redis_costs_nobody_anything() {
    let redis = RedisServer::start().await;
    let behind = Behind::start(alone(&redis), MIXED).await;
    redis.signal("STOP").await;
    // For as long as a Rust node waits for what Redis would have to answer (`command_timeout`), which is two seconds.
    assert_eq!(behind.nodes[2].0.call("serverCount", json!({})).await, json!(null));
    redis.signal("CONT").await;
    assert_eq!(behind.end().await, PEOPLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_killed_cost_those_on_other_nodes_nothing() {
    nodes_are_killed(MIXED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_fleet_of_nodejs_alone_nodes_that_are_killed_cost_the_same() {
    nodes_are_killed(ALL_JS).await;
}

/// One of either half, one after the other.
async fn nodes_are_killed(kinds: Kinds) {
    let redis = RedisServer::start().await;
    let mut behind = Behind::start(alone(&redis), kinds).await;
    for number in [0, 2] {
        behind.replace(number).await;
        behind.hear(200).await;
    }
    let stayed = behind.end().await;
    assert!((1..PEOPLE).contains(&stayed), "{stayed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_costs_those_on_other_nodes_nothing() {
    let redis = RedisServer::start().await;
    for numbers in [[0, 1], [2, 3]] {
        let mut behind = Behind::start(alone(&redis), MIXED).await;
        for number in numbers {
            behind.verb("drain", number).await;
            behind.replace(number).await;
            behind.verb("undrain", number).await;
            behind.hear(200).await;
        }
        let stayed = behind.end().await;
        assert!((1..PEOPLE).contains(&stayed), "{stayed}");
    }
}

/// Nobody is disconnected, nothing is doubled, and afterwards everything is heard again. What Node.js nodes say may be gone, if
/// they are back before the others; of what people on one Rust node said those on the other miss nothing, but for what the
/// master had written to one of the two nodes when it died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_disconnects_nobody_doubles_nothing_and_loses_no_more_between_rust_nodes_than_is_torn() {
    let mut watched = Watched::start().await;
    let behind = Behind::start(json!({ "urls": [watched.url], "sentinel": SERVICE }), MIXED).await;
    watched.servers[0].stop().await;
    watched.taken_over().await;
    behind.assembled().await;
    // Rust nodes hold what they say until all are back, and say it now.
    behind.hear(400).await;
    behind.people.call("mark", json!({})).await;
    let report = behind.report().await;
    assert_eq!(report["stayed"].as_array().unwrap().len(), PEOPLE);
    let mut dropped = 0;
    for (node, _) in &behind.nodes[2..] {
        dropped += node.call("stats", json!({})).await["dropped"].as_u64().unwrap();
    }
    eprintln!("{} messages dropped by Rust nodes, missed in the failover: {}", dropped, report["early"]);
    assert_eq!(dropped, 0, "{report:#}");
    // Each is one for the three people on the other Rust node, from either.
    let missed = report["early"]["rust rust"].as_u64().unwrap() as usize;
    assert!(missed <= 2 * TORN * PEOPLE / 4, "{report:#}");
}
