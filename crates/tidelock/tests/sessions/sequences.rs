//! Goal: whatever happens to nodes, and in whatever order, what tidelock counts is what the nodes themselves count, bounds
//! hold, and nobody loses a session but by a rule: its node was drained, taken out or killed.
//! Method: random sequences of reload, drain, undrain, DNS change, node death and clients of every kind; everything is
//! looked at after each step. The seed of a sequence is in what a failure prints; `TIDELOCK_SEQUENCES` says how many
//! are tried, and `TIDELOCK_SEQUENCE` tries one seed.

mod session;

use std::collections::BTreeMap;
use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;
use testkit::Row;
use testkit::TIMEOUT;
use testkit::dns::{Dns, Zone};
use testkit::engineio::PollingSession;
use testkit::origin::Reserved;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;
use tokio::time::{interval, timeout};

use self::session::{Session, close_of};
use crate::model::ModelNode;
use crate::stand::{SECRET, TIDELOCK, Tunnel, verb};

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn in_any_order_counts_are_true_and_nobody_is_lost_but_by_a_rule() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("TIDELOCK_SEQUENCE") {
        Some(seed) => vec![seed],
        None => (0..number("TIDELOCK_SEQUENCES").unwrap_or(3)).map(|_| fastrand::u64(..)).collect(),
    };
    for seed in seeds {
        let _row = Row(format!("TIDELOCK_SEQUENCE={seed}"));
        let mut world = World::new(seed).await;
        for _ in 0..STEPS {
            world.step().await;
            world.is_true().await;
        }
    }
}

/// Nodes A and B stand in the file, C and D behind a name.
struct World {
    dice: Rng,
    dns: Dns,
    proxy: Tidelock,
    nodes: [ModelNode; 4],
    /// What the file says of A and B, or that they are not in it.
    entries: [Option<Entry>; 2],
    /// Whether the name resolves to C, and to D.
    resolves: [bool; 2],
    /// Who was told to drain.
    drains: [bool; 4],
    clients: Vec<Client>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    weight: u32,
    sessions_max: Option<usize>,
    is_backup: bool,
    is_respelt: bool,
}

type Counts = BTreeMap<String, (u64, u64, bool, bool)>;

/// A client with a session.
struct Client {
    /// Which node has it.
    node: usize,
    session: Session,
}

impl World {
    async fn new(seed: u64) -> Self {
        let ([a], [b]) = (Reserved::bind_alike([[127, 0, 0, 1]]), Reserved::bind_alike([[127, 0, 0, 1]]));
        let [c, d] = Reserved::bind_alike([[127, 0, 0, 2], [127, 0, 0, 3]]);
        let nodes = [
            ModelNode::start("a", a),
            ModelNode::start("b", b),
            ModelNode::start("c", c),
            ModelNode::start("d", d),
        ];
        let dns = Dns::start(&Zone::default(), &[("app.test", "127.0.0.2")]).await;
        let entry = Entry { weight: 1, sessions_max: None, is_backup: false, is_respelt: false };
        let entries = [Some(entry); 2];
        let proxy = Tidelock::start(TIDELOCK, &file_of(&nodes, &entries, &dns)).await;
        Self {
            dice: Rng::with_seed(seed),
            dns,
            proxy,
            nodes,
            entries,
            resolves: [true, false],
            drains: [false; 4],
            clients: Vec::new(),
        }
    }

    async fn step(&mut self) {
        let node = self.dice.usize(..4);
        match self.dice.u32(..100) {
            0..50 => self.open().await,
            50..60 => self.leave().await,
            60..70 => self.reload().await,
            70..77 => self.drain(node).await,
            77..86 => self.undrain(node).await,
            86..90 => self.change_names().await,
            90..94 => self.kill(node).await,
            _ => self.revive(node).await,
        }
    }

    fn is_in_roster(&self, node: usize) -> bool {
        if node < 2 { self.entries[node].is_some() } else { self.resolves[node - 2] }
    }

    /// What people call it.
    fn word_of(&self, node: usize) -> String {
        let address = self.nodes[node].address();
        match self.entries.get(node) {
            Some(Some(Entry { is_respelt: true, .. })) => format!("localhost:{}", address.port()),
            _ => address.to_string(),
        }
    }

    /// Whether it may get new sessions.
    fn takes_new(&self, node: usize) -> bool {
        let load = self.nodes[node].load();
        let bound = self.entries.get(node).copied().flatten().and_then(|entry| entry.sessions_max);
        self.is_in_roster(node)
            && self.nodes[node].is_alive()
            && !self.drains[node]
            && bound.is_none_or(|bound| load.polling + load.tunnels < bound)
    }

    async fn open(&mut self) {
        let may: Vec<bool> = (0..4).map(|node| self.takes_new(node)).collect();
        let proxy = self.proxy.address();
        let opened = match self.dice.usize(..2 * QUERIES.len()) {
            kind if kind < QUERIES.len() => match PollingSession::try_open(proxy, QUERIES[kind]).await {
                Ok(session) => {
                    let name = session.handshake.header("x-node").expect("its node's name").as_bytes()[0];
                    let session = if self.dice.bool() {
                        let mut connection = RawConnection::connect(proxy).await;
                        session.begin_poll_with(&mut connection, "&hold").await;
                        Session::Waits(session, connection)
                    } else {
                        Session::Polls(session)
                    };
                    Ok((name, session))
                }
                Err(answer) => Err(answer),
            },
            _ => Tunnel::try_open(&self.proxy).await.map(|tunnel| (tunnel.node, Session::Tunnel(tunnel))),
        };
        match opened {
            Ok((name, session)) => {
                let node = usize::from(name - b'a');
                eprintln!("{} opens {}", self.nodes[node].name, session.kind());
                assert!(may[node], "node {} takes nothing new: {may:?}", self.nodes[node].name);
                self.clients.push(Client { node, session });
            }
            Err(answer) => {
                eprintln!("nobody takes a session: {}", answer.start);
                assert!(matches!(answer.status(), 502 | 503), "{}", answer.text());
                assert!(!may.contains(&true), "a node takes new sessions: {may:?}: {}", answer.text());
            }
        }
    }

    /// Somebody says goodbye.
    async fn leave(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        let Client { node, session } = self.clients.swap_remove(self.dice.usize(..self.clients.len()));
        eprintln!("{} is left by {}", self.nodes[node].name, session.kind());
        match session {
            Session::Tunnel(tunnel) => tunnel.leave().await,
            Session::Polls(session) => assert_eq!(session.post(close_of(&session)).await.status(), 200),
            Session::Waits(session, mut poll) => {
                assert_eq!(session.post(close_of(&session)).await.status(), 200);
                assert_eq!(poll.read_message().await.status(), 200);
            }
        }
    }

    /// The file says something else of A and B.
    async fn reload(&mut self) {
        let before = self.entries;
        for node in 0..2 {
            let entry = Entry {
                weight: self.dice.u32(1..4),
                sessions_max: self.dice.bool().then(|| self.dice.usize(1..12)),
                is_backup: self.dice.u32(..5) == 0,
                is_respelt: self.dice.bool(),
            };
            self.entries[node] = (self.dice.u32(..5) > 0).then_some(entry);
        }
        eprintln!("the file says {:?}", self.entries);
        self.proxy.rewrite(&file_of(&self.nodes, &self.entries, &self.dns));
        let (code, said) = self.verb(&["reload"]).await;
        assert_eq!(code, 0, "{said}");
        for (node, entry) in before.iter().enumerate() {
            if entry.is_some() && self.entries[node].is_none() {
                self.are_told(node).await;
                self.drains[node] = false;
            }
        }
    }

    async fn change_names(&mut self) {
        let before = self.resolves;
        let resolves = [[true, false], [false, true], [true, true]][self.dice.usize(..3)];
        // What a name meant before stays while nothing that it means now answers.
        if !(0..2).any(|node| resolves[node] && self.nodes[2 + node].is_alive()) {
            return;
        }
        self.resolves = resolves;
        eprintln!("the name resolves to {:?}", self.resolves);
        let hosts = [("app.test", "127.0.0.2"), ("app.test", "127.0.0.3")];
        let hosts: Vec<_> =
            hosts.iter().zip(self.resolves).filter(|(_, is)| *is).map(|(host, _)| *host).collect();
        self.dns.change(&hosts).await;
        for node in 2..4 {
            if before[node - 2] && !self.resolves[node - 2] {
                self.are_told(node).await;
                self.drains[node] = false;
            }
        }
    }

    async fn drain(&mut self, node: usize) {
        if !self.is_in_roster(node) {
            return;
        }
        eprintln!("{} drains", self.nodes[node].name);
        let address = self.word_of(node);
        let directory = self.proxy.directory().to_owned();
        let words = ["drain", address.as_str()];
        let ((), (code, said)) = tokio::join!(self.are_told(node), verb(&directory, &words));
        assert!(code == 0 && said.contains("empty"), "{said}");
        self.drains[node] = true;
    }

    async fn undrain(&mut self, node: usize) {
        if !self.is_in_roster(node) {
            return;
        }
        eprintln!("{} drains no more", self.nodes[node].name);
        let (code, said) = self.verb(&["undrain", &self.word_of(node)]).await;
        assert_eq!(code, 0, "{said}");
        self.drains[node] = false;
    }

    /// The clients of a node hear that it leaves, each in its own words.
    async fn are_told(&mut self, node: usize) {
        let (of_it, others) =
            std::mem::take(&mut self.clients).into_iter().partition(|client: &Client| client.node == node);
        self.clients = others;
        let told: Vec<_> =
            of_it.into_iter().map(|client| tokio::spawn(client.session.until_told())).collect();
        for telling in told {
            telling.await.expect("it is told");
        }
    }

    async fn kill(&mut self, node: usize) {
        if !self.nodes[node].is_alive() {
            return;
        }
        eprintln!("{} dies", self.nodes[node].name);
        self.nodes[node].kill();
        let (of_it, others) =
            std::mem::take(&mut self.clients).into_iter().partition(|client: &Client| client.node == node);
        self.clients = others;
        for client in of_it {
            client.session.until_lost().await;
        }
    }

    async fn revive(&mut self, node: usize) {
        if self.nodes[node].is_alive() {
            return;
        }
        eprintln!("{} is back", self.nodes[node].name);
        self.nodes[node].revive();
    }

    /// What is counted is what is there, and everybody goes on.
    async fn is_true(&mut self) {
        let mut seen = Value::Null;
        let counting = async {
            let mut turn = interval(LOOK_EVERY);
            loop {
                turn.tick().await;
                seen = self.proxy.status().await;
                if self.counted(&seen) == Some(self.expected()) {
                    return;
                }
            }
        };
        let is_counted = timeout(TIMEOUT, counting).await.is_ok();
        assert!(
            is_counted,
            "there: {:?}\ncounted: {:?}\n{:#}",
            self.expected(),
            self.counted(&seen),
            seen["upstreams"]
        );
        for node in 0..4 {
            let of_it = self.clients.iter().filter(|client| client.node == node).count();
            let load = self.nodes[node].load();
            assert_eq!(of_it, load.polling + load.tunnels, "{} knows its clients", self.nodes[node].name);
        }
        for client in &mut self.clients {
            client.session.goes_on(self.nodes[client.node].name).await;
        }
    }

    /// Of each node in the roster: its sessions, its tunnels, whether it drains, and whether it is known to be there.
    fn expected(&self) -> Counts {
        let in_roster = (0..4).filter(|&node| self.is_in_roster(node));
        let entry = |node: usize| {
            let (load, is_alive) = (self.nodes[node].load(), self.nodes[node].is_alive());
            let (polling, tunnels) = (load.polling as u64, load.tunnels as u64);
            (
                self.nodes[node].address().to_string(),
                (polling + tunnels, tunnels, self.drains[node], is_alive),
            )
        };
        in_roster.map(entry).collect()
    }

    /// The same as the status has it.
    fn counted(&self, status: &Value) -> Option<Counts> {
        let nodes = status["upstreams"][0]["nodes"].as_array()?;
        let entry = |node: &Value| {
            let counts = (node["sessions"].as_u64()?, node["tunnels"].as_u64()?);
            let address = node["address"].as_str()?.replace("localhost", "127.0.0.1");
            // A node that nobody has asked since its death is not known to be dead.
            let is_dead =
                self.nodes.iter().any(|node| node.address().to_string() == address && !node.is_alive());
            let is_up = !is_dead && node["state"].as_str()? != "down";
            Some((address, (counts.0, counts.1, node["draining"].as_bool()?, is_up)))
        };
        nodes.iter().map(entry).collect()
    }

    async fn verb(&self, arguments: &[&str]) -> (i32, String) {
        verb(self.proxy.directory(), arguments).await
    }
}

fn file_of(nodes: &[ModelNode; 4], entries: &[Option<Entry>; 2], dns: &Dns) -> String {
    let mut written: Vec<String> = Vec::new();
    for (node, entry) in nodes.iter().zip(entries) {
        let Some(Entry { weight, sessions_max, is_backup, is_respelt }) = entry else { continue };
        let at = match is_respelt {
            true => format!("localhost:{}", node.address().port()),
            false => node.address().to_string(),
        };
        let bound = sessions_max.map(|max| format!(", max_sessions = {max}")).unwrap_or_default();
        written.push(format!("{{ address = \"{at}\", weight = {weight}, backup = {is_backup}{bound} }}"));
    }
    written.push(format!("\"app.test:{}\"", nodes[2].address().port()));
    format!(
        "{SECRET}\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = [{}]\nfull_wait = \"0s\"\ndown_wait = \"0s\"\nsticky = \"engineio\"\n\
         [upstream.nodes.health]\ninterval = \"100ms\"\n[drain]\nwindow = \"0s\"\ndeadline = \"20s\"\n\
         [resolver]\nnameservers = [\"{}\"]\n",
        written.join(", "),
        dns.address()
    )
}

/// Sessions that poll, of every revision and form.
const QUERIES: [&str; 4] = ["EIO=4", "EIO=3", "EIO=4&j=0", "EIO=3&j=0"];
const STEPS: usize = 60;
/// A status that changes tells nobody.
const LOOK_EVERY: Duration = Duration::from_millis(10);
