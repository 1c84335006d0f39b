//! Goal: a browser's pin holds while its node can be had, is no reason to wait for one that cannot, and takes nothing from
//! the cookies of the app. Method: the app with logins in its process, in nodes that are full, failing, down, standing in for
//! others, replaced, or taken out.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::TIMEOUT;
use testkit::node::{Node, NodePlan, three};
use testkit::process::Signal;
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock};
use tokio::time::timeout;

use crate::logins::{Jar, two};
use crate::stand::{TIDELOCK, verb};

/// A login at one of two nodes, and what is to be known of it.
struct Login {
    jar: Jar,
    /// What the app said at the login.
    said: Value,
    here: usize,
    pin: String,
}

impl Login {
    async fn at(proxy: &Tidelock) -> Self {
        let mut jar = Jar::default();
        let said = jar.json(proxy, "POST /login?user=ada").await;
        let pin = jar.pin().map(|(_, pin)| pin.clone()).expect("a pin");
        Self { here: usize::from(said["node"] == "b"), jar, said, pin }
    }

    /// The page says that somebody else has answered, and the pin is as it was.
    async fn is_passed_over(&mut self, proxy: &Tidelock) -> bool {
        let page = self.jar.json(proxy, "GET /me").await;
        assert_eq!(self.jar.pin().map(|(_, pin)| pin), Some(&self.pin), "it stays");
        page["node"] != self.said["node"]
    }

    async fn until_passed_over(&mut self, proxy: &Tidelock) {
        let passed_over = async { while !self.is_passed_over(proxy).await {} };
        timeout(TIMEOUT, passed_over).await.expect("somebody else answers");
    }

    async fn until_back(&mut self, proxy: &Tidelock) {
        let back = async { while self.is_passed_over(proxy).await {} };
        timeout(TIMEOUT, back).await.expect("its node answers again");
    }

    async fn holds(&mut self, proxy: &Tidelock) {
        for _ in 0..3 {
            assert_eq!(self.jar.user(proxy).await, (self.said.clone(), self.said.clone()));
        }
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_nodes_own_cookie_of_our_name_carries_the_pin() {
    for rolling in ["0", "1"] {
        let nodes = two(|name| NodePlan::login(name).env("ROLLING", rolling)).await;
        let file = FilePlan::to(&nodes).upstream("sticky = \"auto:app\"");
        let proxy = Tidelock::start(TIDELOCK, &file.text()).await;
        let mut jar = Jar::default();
        let set = jar.ask(&proxy, "GET /set?name=app&value=dark").await;
        let lines = set.all("set-cookie");
        assert!(lines.len() == 1 && lines[0].ends_with("; Path=/"), "one cookie carries both: {lines:?}");
        assert!(jar.0["app"].starts_with("dark.") && jar.0["app"].len() == 17, "{jar:?}");
        let login = jar.json(&proxy, "POST /login?user=ada").await;
        let seen = |text: &Value| text["cookies"].as_str().unwrap_or_default().to_owned();
        for _ in 0..4 {
            let cookies = jar.json(&proxy, "GET /cookies").await;
            assert_eq!(cookies["node"], login["node"]);
            assert!(seen(&cookies).starts_with("app=dark; connect.sid="), "{cookies}");
            assert_eq!(jar.user(&proxy).await, (login.clone(), login.clone()));
        }
        // What the node takes away is its own.
        jar.ask(&proxy, "GET /set?name=app").await;
        assert_eq!(jar.0["app"].len(), 12, "{jar:?}");
        for _ in 0..4 {
            let cookies = jar.json(&proxy, "GET /cookies").await;
            assert_eq!(cookies["node"], login["node"]);
            assert!(seen(&cookies).starts_with("connect.sid="), "{cookies}");
            assert_eq!(jar.user(&proxy).await, (login.clone(), login.clone()));
        }
    }
}

/// A browser keeps one cookie for each path, and sends ours beside the node's.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_cookie_of_our_name_for_another_path_is_not_enough() {
    let nodes = two(NodePlan::login).await;
    let file = FilePlan::to(&nodes).upstream("sticky = \"auto:app\"");
    let proxy = Tidelock::start(TIDELOCK, &file.text()).await;
    let set = Jar::default().ask(&proxy, "GET /set?name=app&value=dark&path=/chat").await;
    let [own, ours] = set.all("set-cookie")[..] else { panic!("{:?}", set.all("set-cookie")) };
    let pin = own.strip_prefix("app=dark.").and_then(|rest| rest.strip_suffix("; Path=/chat")).expect("both");
    assert_eq!(ours, format!("app={pin}; Path=/; HttpOnly; SameSite=Lax"));
    let mut jar = Jar::default();
    jar.0.insert("app".to_owned(), format!("dark.{pin}; app={pin}; x=1"));
    assert_eq!(jar.json(&proxy, "GET /cookies").await["cookies"], "app=dark; x=1");
}

/// What a route changes comes first: a mount makes it a cookie for another path, and cookies that go no further are none.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_route_that_changes_cookies_is_heeded() {
    let nodes = two(NodePlan::login).await;
    let routes = "[[route]]\npath = \"/app\"\nstrip = true\nupstream = \"nodes\"\n[[route]]\n\
                  response_headers = { remove = [\"Set-Cookie\"] }\n";
    let file = FilePlan::to(&nodes).upstream("sticky = \"auto:app\"").text().replace("[[route]]\n", routes);
    let proxy = Tidelock::start(TIDELOCK, &file).await;
    let set = Jar::default().ask(&proxy, "GET /app/set?name=app&value=dark").await;
    let [own, ours] = set.all("set-cookie")[..] else { panic!("{:?}", set.all("set-cookie")) };
    let pin = own.strip_prefix("app=dark.").and_then(|rest| rest.strip_suffix("; Path=/app")).expect("both");
    assert_eq!(ours, format!("app={pin}; Path=/; HttpOnly; SameSite=Lax"));
    let set = Jar::default().ask(&proxy, "GET /set?name=app&value=dark").await;
    assert_eq!(set.all("set-cookie"), [""; 0]);
}

/// A value without a pin is the node's own business.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_cookie_of_our_name_without_a_pin_reaches_the_node() {
    let nodes = two(NodePlan::login).await;
    let file = FilePlan::to(&nodes).upstream("sticky = \"auto:app\"");
    let proxy = Tidelock::start(TIDELOCK, &file.text()).await;
    let mut jar = Jar::default();
    jar.0.insert("app".to_owned(), "dark".to_owned());
    assert_eq!(jar.json(&proxy, "GET /cookies").await["cookies"], "app=dark");
    // Nor does it lose that when the app sets another one.
    let login = jar.json(&proxy, "POST /login?user=ada").await;
    for _ in 0..4 {
        let cookies = jar.json(&proxy, "GET /cookies").await;
        assert_eq!(cookies["node"], login["node"]);
        assert!(cookies["cookies"].as_str().is_some_and(|all| all.starts_with("app=dark; connect.sid=")));
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_full_node_is_passed_over_and_keeps_its_logins() {
    let nodes = two(NodePlan::login).await;
    let bounded = |node: &Node| format!("{{ address = \"{}\", max_connections = 1 }}", node.address());
    let plain = FilePlan::to(&nodes).text();
    let list = format!("{:?}", nodes.each_ref().map(|node| node.address().to_string()));
    let file = plain.replace(&list, &format!("[{}, {}]", bounded(&nodes[0]), bounded(&nodes[1])));
    let proxy = Tidelock::start(TIDELOCK, &file).await;
    let mut login = Login::at(&proxy).await;
    let (name, pin) = login.jar.pin().expect("a pin");
    // The login itself is counted until a moment after its answer.
    let is_idle = |status: &Value| status["upstreams"][0]["nodes"][login.here]["in_flight"] == 0;
    while !is_idle(&proxy.status().await) {}
    let mut holding = RawConnection::connect(proxy.address()).await;
    holding.send(format!("GET /hold HTTP/1.1\r\nHost: a\r\nCookie: {name}={pin}\r\n\r\n")).await;
    let mut nodes = nodes;
    nodes[login.here].process().wait_for_line(|line| line == "held").await;
    for _ in 0..4 {
        assert!(login.is_passed_over(&proxy).await, "it is full");
    }
    // One request of its own is enough to make it full, until that is counted no more.
    drop(holding);
    login.until_back(&proxy).await;
    let holds = async { while login.jar.json(&proxy, "GET /me").await != login.said {} };
    timeout(TIMEOUT, holds).await.expect("the login is there again");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_ejected_node_is_passed_over_and_keeps_its_logins() {
    let nodes = two(NodePlan::login).await;
    let outliers = "[upstream.nodes.outliers]\nerrors = 3\nejection = \"1s\"\n";
    let proxy = Tidelock::start(TIDELOCK, &(FilePlan::to(&nodes).text() + outliers)).await;
    let mut login = Login::at(&proxy).await;
    let ejected = async {
        while !login.is_passed_over(&proxy).await {
            for _ in 0..3 {
                login.jar.ask(&proxy, "GET /fail").await;
            }
        }
    };
    timeout(TIMEOUT, ejected).await.expect("it is ejected");
    login.until_back(&proxy).await;
    login.holds(&proxy).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_pin_waits_for_its_node_to_come_up_again() {
    let mut nodes = two(NodePlan::login).await;
    let proxy = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).text()).await;
    let mut login = Login::at(&proxy).await;
    nodes[login.here].kill().await;
    for _ in 0..4 {
        assert!(login.is_passed_over(&proxy).await, "it is down");
    }
    nodes[login.here].restart().await;
    login.until_back(&proxy).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_backups_pin_holds_only_while_backups_serve() {
    let mut nodes = two(NodePlan::login).await;
    let plain = FilePlan::to(&nodes).text();
    let backup = format!("\"{}\"", nodes[1].address());
    let table = format!("{{ address = {backup}, backup = true }}");
    let proxy = Tidelock::start(TIDELOCK, &plain.replace(&backup, &table)).await;
    nodes[0].kill().await;
    let mut login = Login::at(&proxy).await;
    assert_eq!(login.said["node"], "b");
    login.holds(&proxy).await;
    nodes[0].restart().await;
    login.until_passed_over(&proxy).await;
    for _ in 0..4 {
        assert!(login.is_passed_over(&proxy).await, "it stands in for nobody");
    }
}

/// The process that comes in its place has another port, slot or generation, and never knew the login.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_instances_pin_dies_with_its_process() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/js/login.mjs");
    let proxy = Tidelock::start_app(TIDELOCK, &[script, "-i", "2", "--listen", "127.0.0.1:0"]).await;
    let mut login = Login::at(&proxy).await;
    assert_eq!(login.jar.json(&proxy, "GET /me").await, login.said);
    let (code, said) = verb(proxy.directory(), &["reload", "login"]).await;
    assert_eq!(code, 0, "{said}");
    let before = counts(&proxy.status().await);
    for _ in 0..10 {
        assert!(login.jar.json(&proxy, "GET /me").await["user"].is_null());
    }
    let status = proxy.status().await;
    let after = counts(&status);
    assert_eq!((after.0 - before.0, after.1 - before.1), (0, 10), "none was pinned, and all are counted");
    assert_eq!(status["upstreams"][0]["foreign_secret"], false, "after a roll that is nobody's mistake");
}

/// Who runs several instances of an app with logins is told once how its browsers are kept, and what to write if there is no
/// need for it; whoever runs one is told nothing.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_app_with_several_instances_that_sets_cookies_is_told_of_once() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/js/login.mjs");
    let says = |line: &str| line.contains("sets cookies");
    for (instances, want) in [("2", 1), ("1", 0)] {
        let arguments = [script, "-i", instances, "--listen", "127.0.0.1:0"];
        let mut proxy = Tidelock::start_app(TIDELOCK, &arguments).await;
        for _ in 0..4 {
            Jar::default().json(&proxy, "POST /login?user=ada").await;
        }
        if want > 0 {
            proxy.process().wait_for_line(says).await;
        }
        proxy.process().signal(Signal::TERM);
        proxy.process().exit().await;

        let output = proxy.process().output();
        let told: Vec<_> = output.lines().filter(|line| says(line)).collect();
        assert_eq!(told.len(), want, "{instances} instances: {told:?}");
        assert!(told.iter().all(|line| line.contains("engineio") && line.contains("login")), "{told:?}");
    }
}

/// How many exchanges pins have decided, and how many pins have proved nothing.
fn counts(status: &Value) -> (u64, u64) {
    let workers = status["workers"].as_array().expect("workers");
    let pinned = workers.iter().map(|worker| worker["pinned"].as_u64().expect("a count")).sum();
    (pinned, status["upstreams"][0]["unverifiable"].as_u64().expect("a count"))
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_node_that_was_taken_out_has_its_logins_when_it_is_back() {
    let nodes = two(NodePlan::login).await;
    let both = FilePlan::to(&nodes).text() + "[drain]\nwindow = \"0s\"\n";
    let proxy = Tidelock::start(TIDELOCK, &both).await;
    let mut login = Login::at(&proxy).await;
    let other = [&nodes[1 - login.here]];
    proxy.rewrite(&(FilePlan::to(other).text() + "[drain]\nwindow = \"0s\"\n"));
    assert_eq!(verb(proxy.directory(), &["reload"]).await.0, 0);
    for _ in 0..4 {
        assert!(login.is_passed_over(&proxy).await, "it is not there");
    }
    proxy.rewrite(&both);
    assert_eq!(verb(proxy.directory(), &["reload"]).await.0, 0);
    login.holds(&proxy).await;
}

/// Another upstream has other nodes, whatever the cookie is called.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_pin_of_another_upstream_is_none() {
    let nodes = two(NodePlan::login).await;
    let others = [Node::start(NodePlan::login("c")).await, Node::start(NodePlan::login("d")).await];
    let list = |nodes: &[Node; 2]| format!("{:?}", nodes.each_ref().map(|node| node.address().to_string()));
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nhost = \"app.example\"\nupstream = \"one\"\n[[route]]\n\
         upstream = \"two\"\n[upstream.one]\nsticky = \"auto:pin\"\nnodes = {}\n[upstream.two]\nsticky = \"auto:pin\"\n\
         nodes = {}\n",
        list(&nodes),
        list(&others)
    );
    let proxy = Tidelock::start(TIDELOCK, &file).await;
    let mut jar = Jar::default();
    let login = jar.json(&proxy, "POST /login?user=ada").await;
    let pin = jar.0["pin"].clone();
    let mut seen = Vec::new();
    for _ in 0..8 {
        let answer = jar.ask_host(&proxy, "other.example", "GET /cookies").await;
        let said: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert!(!said["cookies"].to_string().contains(&pin), "a node sees no pin: {said}");
        seen.push(said["node"].to_string());
    }
    assert!(seen.contains(&"\"c\"".to_owned()) && seen.contains(&"\"d\"".to_owned()), "{seen:?}");
    assert_eq!(jar.0["pin"], pin, "nobody took it away");
    assert_eq!(jar.json(&proxy, "GET /me").await, login);
}

/// In a rhythm that would bring each login to the same node, if requests took turns and nothing else.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn logins_spread_over_all_nodes() {
    let nodes = three(NodePlan::login).await;
    let proxy = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).top("workers = 1").text()).await;
    let mut logins = BTreeMap::new();
    for _ in 0..200 {
        let mut jar = Jar::default();
        jar.ask(&proxy, "GET /").await;
        jar.ask(&proxy, "GET /").await;
        let login = jar.json(&proxy, "POST /login?user=ada").await;
        *logins.entry(login["node"].to_string()).or_insert(0) += 1;
    }
    // A node whose last answer is only just out has one request more under way, and is passed over.
    assert!(logins.len() == 3 && logins.values().all(|count| (57..=77).contains(count)), "{logins:?}");
}
