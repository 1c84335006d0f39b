//! Real redis-server processes on free ports.

use std::process::Stdio;

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

use crate::soon;

pub struct RedisServer {
    pub port: u16,
    arguments: Vec<String>,
    directory: TempDir,
    process: Option<Child>,
}

impl RedisServer {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A port that is free now may be taken a moment later, so that this tries again.
    pub async fn with(arguments: &[&str]) -> Self {
        for _ in 0..20 {
            let mut server = Self {
                port: testkit::port::free(),
                arguments: arguments.iter().map(ToString::to_string).collect(),
                directory: tempfile::tempdir().unwrap(),
                process: None,
            };
            if server.resume().await {
                return server;
            }
        }
        panic!("redis-server does not start");
    }

    /// Also on a port with TLS.
    pub async fn with_tls(arguments: &[&str]) -> (Self, u16) {
        for _ in 0..20 {
            let tls_port = testkit::port::free();
            let port = tls_port.to_string();
            let mut arguments = arguments.to_vec();
            arguments.extend(["--tls-port", &port]);
            let server = Self::with(&arguments).await;
            if server.command(&["PING"]).await.is_ok() {
                return (server, tls_port);
            }
        }
        panic!("redis-server does not start");
    }

    /// A server that copies this one, and has its copy.
    pub async fn replica(&self) -> Self {
        let replica = Self::with(&["--replicaof", "127.0.0.1", &self.port.to_string()]).await;
        crate::until("the replica is in step", async || {
            self.info("replication").await.contains("state=online")
        })
        .await;
        replica
    }

    pub async fn info(&self, section: &str) -> String {
        redis::from_redis_value(self.command(&["INFO", section]).await.unwrap()).unwrap()
    }

    /// Starts the process on the same port as before. Says whether it came up.
    pub async fn resume(&mut self) -> bool {
        let mut process = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .args(&self.arguments)
            .current_dir(self.directory.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server is installed");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let came_up = async {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("Ready to accept connections") {
                    return true;
                }
            }
            false
        };
        let came_up = soon("redis-server", came_up).await;
        // Its pipe must be read on, or a talkative server would block.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        self.process = Some(process);
        came_up
    }

    /// Ends it the hard way, as a crash would.
    pub async fn stop(&mut self) {
        self.process.take().expect("it runs").kill().await.unwrap();
    }

    /// `STOP` makes it hang, `CONT` lets it go on.
    pub async fn signal(&self, signal: &str) {
        let pid = self.process.as_ref().and_then(Child::id).expect("it runs").to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().await.unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub async fn command(&self, arguments: &[&str]) -> redis::RedisResult<redis::Value> {
        let mut connection = crate::connection(&self.url()).await?;
        redis::cmd(arguments[0]).arg(&arguments[1..]).query_async(&mut connection).await
    }
}

const CLUSTER_NODE: [&str; 4] = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];

/// Three masters, each with a third of the slots, and a replica of one of them if a test wants it.
pub struct RedisCluster(Vec<RedisServer>, Option<RedisServer>);

impl RedisCluster {
    pub async fn start() -> Self {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(RedisServer::with(&CLUSTER_NODE).await);
        }
        let thirds = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for ((node, (first, last)), epoch) in nodes.iter().zip(thirds).zip(1..) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", first, last]).await.unwrap();
            // As `redis-cli --cluster create` does. Nodes that all begin at 0 settle the order of their claims only later, and
            // a slot that is moved before that may end with no owner.
            node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch.to_string()]).await.unwrap();
            let port = nodes[0].port.to_string();
            node.command(&["CLUSTER", "MEET", "127.0.0.1", &port]).await.unwrap();
        }
        for node in &nodes {
            crate::until("the cluster forms", async || {
                let info = node.command(&["CLUSTER", "INFO"]).await.unwrap();
                let info: String = redis::from_redis_value(info).unwrap();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
            .await;
        }
        Self(nodes, None)
    }

    pub fn urls(&self) -> Vec<String> {
        self.0.iter().map(RedisServer::url).collect()
    }

    async fn slot_of(&self, channel: &str) -> usize {
        let slot = self.0[0].command(&["CLUSTER", "KEYSLOT", channel]).await.unwrap();
        redis::from_redis_value(slot).unwrap()
    }

    /// The master that a channel's messages go through.
    pub async fn master_of(&mut self, channel: &str) -> &mut RedisServer {
        let slot = self.slot_of(channel).await;
        &mut self.0[third_of(slot)]
    }

    /// Gives the master of a channel a replica.
    pub async fn replicate(&mut self, channel: &str) {
        let master = &self.0[third_of(self.slot_of(channel).await)];
        let replica = RedisServer::with(&CLUSTER_NODE).await;
        replica.command(&["CLUSTER", "MEET", "127.0.0.1", &master.port.to_string()]).await.unwrap();
        let id: String =
            redis::from_redis_value(master.command(&["CLUSTER", "MYID"]).await.unwrap()).unwrap();
        crate::until("it has met the master", async || {
            replica.command(&["CLUSTER", "REPLICATE", &id]).await.is_ok()
        })
        .await;
        crate::until("the replica is in step and known to all", async || {
            let mut known = master.info("replication").await.contains("state=online");
            for node in &self.0 {
                let nodes = node.command(&["CLUSTER", "NODES"]).await.unwrap();
                let nodes: String = redis::from_redis_value(nodes).unwrap();
                known &= nodes.contains(&format!("slave {id}"));
            }
            known
        })
        .await;
        self.1 = Some(replica);
    }

    /// Until the replica is the master.
    pub async fn taken_over(&self) {
        let replica = self.1.as_ref().expect("there is one");
        crate::until("the replica takes over", async || {
            replica.info("replication").await.contains("role:master")
        })
        .await;
    }

    /// Hands a channel's slot to the next master, as a resharding does.
    pub async fn move_slot_of(&mut self, channel: &str) {
        let slot = self.slot_of(channel).await;
        let (from, to) = (&self.0[third_of(slot)], &self.0[(third_of(slot) + 1) % 3]);
        let slot = slot.to_string();
        let id = async |node: &RedisServer| -> String {
            redis::from_redis_value(node.command(&["CLUSTER", "MYID"]).await.unwrap()).unwrap()
        };
        let (from_id, to_id) = (id(from).await, id(to).await);
        to.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]).await.unwrap();
        from.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]).await.unwrap();
        for node in [to, from] {
            node.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]).await.unwrap();
        }
    }
}

fn third_of(slot: usize) -> usize {
    match slot {
        0..=5460 => 0,
        5461..=10922 => 1,
        _ => 2,
    }
}
