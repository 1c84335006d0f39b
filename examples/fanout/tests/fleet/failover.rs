//! Another server takes over, because it is told to or because the master dies.

use std::process::Stdio;

use fanout::{Mode, Options, connect_cluster, connect_sentinel};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::{
    four::{Four, Row},
    redis_server::{RedisCluster, RedisServer},
    soon, until,
};

/// A master, its replica, and one Sentinel that decides alone.
pub struct Watched {
    pub servers: [RedisServer; 2],
    pub url: String,
    // Killed when the test ends.
    _sentinel: Child,
    _directory: TempDir,
}

pub const SERVICE: &str = "main-one";

impl Watched {
    pub async fn start() -> Self {
        let master = RedisServer::start().await;
        let replica = master.replica().await;
        let directory = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let port = testkit::port::free();
            let Some(sentinel) = sentinel(port, master.port, &directory).await else { continue };
            let url = format!("redis://127.0.0.1:{port}");
            let watched =
                Self { servers: [master, replica], url, _sentinel: sentinel, _directory: directory };
            until("the Sentinel knows the replica", async || {
                let replicas = watched.command(&["SENTINEL", "REPLICAS", SERVICE]).await;
                format!("{replicas:?}").contains(&format!("{}", watched.servers[1].port))
            })
            .await;
            return watched;
        }
        panic!("redis-sentinel does not start");
    }

    async fn command(&self, arguments: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut connection = crate::connection(&self.url).await?;
        redis::cmd(arguments[0]).arg(&arguments[1..]).query_async(&mut connection).await
    }

    /// Until the replica has taken over.
    pub async fn taken_over(&self) {
        self.taken_over_by(1).await;
    }

    /// Has the Sentinel put the other server in the place of this one. It takes ten seconds more until it tells this one, and
    /// only then are the connections to it cut: before that nothing has happened to anybody.
    async fn replace(&self, server: usize) {
        until("the Sentinel is ready", async || {
            self.command(&["SENTINEL", "FAILOVER", SERVICE]).await.is_ok()
        })
        .await;
        self.taken_over_by(1 - server).await;
        until("it is told", async || {
            // Which cuts the connection of whoever asks at that moment.
            let told = self.servers[server].command(&["INFO", "replication"]).await;
            told.is_ok_and(|told| format!("{told:?}").contains("role:slave"))
        })
        .await;
    }

    async fn taken_over_by(&self, server: usize) {
        until("the replica takes over", async || {
            let address = self.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE]).await.unwrap();
            let (_, port): (String, u16) = redis::from_redis_value(address).unwrap();
            port == self.servers[server].port
        })
        .await;
    }

    async fn four(&self) -> Four {
        let redis = json!({ "urls": [self.url], "sentinel": SERVICE });
        Four::start(Mode::Classic, redis, async || {
            connect_sentinel(&[&self.url], SERVICE, Options::default()).await.unwrap()
        })
        .await
    }
}

async fn sentinel(port: u16, master: u16, directory: &TempDir) -> Option<Child> {
    let settings = directory.path().join("sentinel.conf");
    let text = format!(
        "port {port}\nbind 127.0.0.1\nsentinel monitor {SERVICE} 127.0.0.1 {master} 1\n\
         sentinel down-after-milliseconds {SERVICE} 500\nsentinel failover-timeout {SERVICE} 5000\n"
    );
    std::fs::write(&settings, text).unwrap();
    let mut process = Command::new("redis-server")
        .arg(&settings)
        .arg("--sentinel")
        .current_dir(directory.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("redis-server is installed");
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let came_up = async {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.contains("+monitor") {
                return true;
            }
        }
        false
    };
    let came_up = soon("the Sentinel", came_up).await;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    came_up.then_some(process)
}

/// What a master that dies may have written to some subscribers and not yet to others. Nobody can tell, in Node.js neither. As
/// much of one node's as is on its way for twenty milliseconds.
pub const TORN: usize = 4;

/// Nothing that a Rust node says is dropped, and the other Rust node misses no more of it than what was `torn`. Nor do Node.js
/// nodes, or no more than of what they say to each other: they may come back later. Whether a Node.js node's messages arrive is
/// for its own Redis client to say, which does not wait for anybody.
fn check(four: &Four, rows: &[Row], torn: usize) {
    let by_node: Vec<_> =
        rows.iter().filter(|row| row.from.starts_with("js") && row.from != row.to).collect();
    for (node, name) in four.rust.iter().zip(["rust1", "rust2"]) {
        let stats = node.fleet.stats();
        assert_eq!(stats.dropped(), 0, "{stats:?}");
        for row in rows.iter().filter(|row| row.from == name && row.to != name) {
            let as_node = by_node.iter().any(|js| js.lost * row.said >= row.lost * js.said);
            let kept = row.lost <= torn || row.to.starts_with("js") && as_node;
            assert!(kept, "{row:?} {stats:?}\n{rows:#?}");
        }
    }
    assert!(rows.iter().all(|row| row.astray == 0), "{rows:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_that_an_operator_orders_costs_no_more_than_it_costs_node() {
    let watched = Watched::start().await;
    let four = watched.four().await;
    let rows = four
        .talk_while(async {
            watched.replace(0).await;
        })
        .await;
    check(&four, &rows, 0);
    for node in &four.rust {
        assert!(node.fleet.stats().gaps >= 1, "it was cut off");
    }
}

/// Of what a Node.js node says when it is back, a node hears what comes after it has subscribed again, so that the sooner it
/// is there the better. Whether one failover finds it before or after a Node.js node is chance; three are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_node_js_nodes_say_in_a_failover_is_heard_as_by_a_node_beside() {
    const FAILOVERS: usize = 3;
    let watched = Watched::start().await;
    let four = watched.four().await;
    let rows = four
        .talk_while(async {
            for failover in 0..FAILOVERS {
                watched.replace(failover % 2).await;
                four.assembled().await;
            }
        })
        .await;
    let lost_of_node_js = |to: &[&str]| -> usize {
        let of = rows.iter().filter(|row| row.from.starts_with("js") && row.from != row.to);
        of.filter(|row| to.contains(&row.to)).map(|row| row.lost).sum()
    };
    let beside = lost_of_node_js(&["js1", "js2"]);
    // What two nodes say in the twentieth of a second that a pause and an attempt may take.
    let pause = FAILOVERS * 2 * 10;
    for rust in ["rust1", "rust2"] {
        let lost = lost_of_node_js(&[rust]);
        eprintln!("{rust} {lost}, beside {beside}");
        assert!(lost <= beside + pause, "{lost} and {beside}\n{rows:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_costs_no_more_than_it_costs_node() {
    let mut watched = Watched::start().await;
    let four = watched.four().await;
    let rows = four
        .talk_while(async {
            watched.servers[0].stop().await;
            watched.taken_over().await;
        })
        .await;
    check(&four, &rows, TORN);
}

#[tokio::test]
async fn a_name_that_no_sentinel_knows_is_an_error_at_once() {
    let watched = Watched::start().await;
    let error = connect_sentinel(&[&watched.url], "another", Options::default()).await.unwrap_err();
    let error = error.to_string();
    assert!(error.contains("another") && error.contains("Sentinel"), "{error}");
    // Sentinels that are away may know it when they are back.
    let nobody = format!("redis://127.0.0.1:{}", testkit::port::free());
    assert!(connect_sentinel(&[&nobody], "another", Options::default()).await.is_ok());
    assert!(connect_sentinel(&[&nobody, &watched.url], SERVICE, Options::default()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_takes_over_in_a_cluster_is_followed() {
    let mut cluster = RedisCluster::start().await;
    cluster.replicate("socket.io#/#").await;
    let urls = cluster.urls();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let options = || Options { mode: Mode::Sharded, ..Options::default() };
    let redis = json!({ "urls": urls, "cluster": true });
    let four =
        Four::start(Mode::Sharded, redis, async || connect_cluster(&urls, options()).await.unwrap()).await;
    let rows = four
        .talk_while(async {
            cluster.master_of("socket.io#/#").await.stop().await;
            cluster.taken_over().await;
        })
        .await;
    check(&four, &rows, TORN);
}
