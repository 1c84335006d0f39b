//! Goal: a login that the app keeps in its process holds, on the page and in the page's socket, with the default file; and
//! clients without cookies are spread as if there were none. Method: express-session's default store on two Node.js nodes,
//! and clients with a jar of cookies.

use std::collections::BTreeMap;

use serde_json::Value;
use testkit::TIMEOUT;
use testkit::engineio::PollingSession;
use testkit::message::Message;
use testkit::node::{Node, NodePlan};
use testkit::process::Signal;
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock};
use tokio::time::timeout;

use crate::stand::{TIDELOCK, verb};

/// A browser's cookies, as far as one host and one path go.
#[derive(Debug, Default, Clone)]
pub(crate) struct Jar(pub(crate) BTreeMap<String, String>);

impl Jar {
    pub(crate) async fn ask(&mut self, proxy: &Tidelock, request: &str) -> Message {
        self.ask_host(proxy, "app.example", request).await
    }

    /// Cookies are not told apart by host.
    pub(crate) async fn ask_host(&mut self, proxy: &Tidelock, host: &str, request: &str) -> Message {
        let cookies: Vec<String> = self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let line =
            if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let mut connection = RawConnection::connect(proxy.address()).await;
        let text = format!(
            "{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n{line}\r\n"
        );
        connection.send(text).await;
        let answer = connection.read_message().await;
        for set in answer.all("set-cookie") {
            let (name, value) = set.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
            // So it is taken away by express.
            if value.is_empty() {
                self.0.remove(name);
            } else {
                self.0.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }

    pub(crate) async fn json(&mut self, proxy: &Tidelock, request: &str) -> Value {
        let answer = self.ask(proxy, request).await;
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
    }

    /// Who the app says is there, on a page and in a socket that polls with the same cookies.
    pub(crate) async fn user(&mut self, proxy: &Tidelock) -> (Value, Value) {
        let page = self.json(proxy, "GET /me").await;
        let open = self.ask(proxy, "GET /socket.io/?EIO=4&transport=polling").await.text();
        let sid = testkit::engineio::sid(&open).unwrap_or_else(|| panic!("no session in {open}"));
        let session = PollingSession::open(proxy.address(), "EIO=4").await.with_sid(&sid);
        assert_eq!(session.post("40").await.text(), "ok");
        let mut said = String::new();
        while !said.contains("42[") {
            said += &session.poll().await.text();
        }
        let event = said.split('\u{1e}').find_map(|packet| packet.strip_prefix("42")).expect("an event");
        let event: Value = serde_json::from_str(event).expect("JSON");
        (page, event[1].clone())
    }

    pub(crate) fn pin(&self) -> Option<(&String, &String)> {
        self.0.iter().find(|(name, _)| name.starts_with("tidelock-"))
    }
}

pub(crate) async fn two(plan: impl Fn(&str) -> NodePlan) -> [Node; 2] {
    [Node::start(plan("a")).await, Node::start(plan("b")).await]
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn logins_in_memory_hold_with_the_default_file() {
    for rolling in ["0", "1"] {
        let nodes = two(|name| NodePlan::login(name).env("ROLLING", rolling)).await;
        let proxy = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).text()).await;
        let mut on_a = 0;
        for number in 0..20 {
            let (mut jar, user) = (Jar::default(), format!("user-{number}"));
            // The first page has no session, and nothing of ours.
            jar.ask(&proxy, "GET /").await;
            assert!(jar.0.is_empty(), "{jar:?}");
            let login = jar.json(&proxy, &format!("POST /login?user={user}")).await;
            assert!(jar.pin().is_some_and(|(name, _)| name.starts_with("tidelock-nodes-")), "{jar:?}");
            for _ in 0..3 {
                let (page, socket) = jar.user(&proxy).await;
                assert_eq!((&page, &socket), (&login, &login), "user {number} holds everywhere");
            }
            on_a += usize::from(login["node"] == "a");
        }
        // Each goes anywhere: fewer than two of twenty on a node is one case in 25,000.
        assert!((2..=18).contains(&on_a), "spread: {on_a} of 20 on one node");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn who_has_no_cookies_sees_none_and_is_spread_evenly() {
    let nodes = two(NodePlan::js).await;
    let proxy = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).text()).await;
    for _ in 0..20 {
        let session = PollingSession::open(proxy.address(), "EIO=4").await;
        assert_eq!(session.handshake.all("set-cookie"), [""; 0]);
    }
    for node in &nodes {
        assert_eq!(node.sessions().await.opened, 10);
    }
}

/// Engine.IO's own cookie, whose value is the id, is no login.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn engine_ios_own_cookie_pins_nobody() {
    let nodes = two(|name| NodePlan::js(name).env("COOKIE", "io")).await;
    let proxy = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).text()).await;
    let session = PollingSession::open(proxy.address(), "EIO=4").await;
    let cookies = session.handshake.all("set-cookie");
    assert!(cookies.len() == 1 && cookies[0].starts_with("io="), "{cookies:?}");
}

/// A pin is this secret's, this upstream's, and no tag; whatever else stands there counts as none.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_pin_that_nobody_signed_is_none() {
    let nodes = two(NodePlan::login).await;
    let file = FilePlan::to(&nodes).top("sticky_secret = \"a secret of 32 bytes, or of some more\"");
    let proxy = Tidelock::start(TIDELOCK, &file.text()).await;
    let mut jar = Jar::default();
    let login = jar.json(&proxy, "POST /login?user=ada").await;
    let (name, pin) = jar.pin().map(|(name, pin)| (name.clone(), pin.clone())).expect("a pin");
    // The node never sees it.
    for forged in [
        pin[..11].to_owned(),
        format!("{pin}A"),
        format!("{}{}", &pin[..11], other_than(&pin[11..])),
        String::new(),
    ] {
        let mut other = Jar::default();
        other.0.insert(name.clone(), forged.clone());
        let mut seen: Vec<String> = Vec::new();
        for _ in 0..4 {
            seen.push(other.json(&proxy, "GET /me").await["node"].to_string());
        }
        assert!(
            seen.contains(&"\"a\"".to_owned()) && seen.contains(&"\"b\"".to_owned()),
            "{forged}: {seen:?}"
        );
    }
    // Twice, the first that proves something counts.
    let mut twice = Jar::default();
    twice.0.insert("a".to_owned(), format!("1; {name}=forged; {name}={pin}; {name}=x"));
    for _ in 0..4 {
        assert_eq!(twice.json(&proxy, "GET /me").await["node"], login["node"]);
    }
    // As a tag it opens nothing.
    let session = PollingSession::open(proxy.address(), "EIO=4").await;
    for sid in
        [pin.clone(), format!("{}{}", &session.sid[..20], &pin[4..]), format!("{}{pin}", &session.sid[..20])]
    {
        assert_eq!(session.with_sid(&sid).poll().await.status(), 400, "{sid}");
    }
}

/// A drained node keeps its users' pages for the window, and lets go of them afterwards; one that is back has them again.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_drain_takes_users_along_and_ends() {
    let nodes = two(NodePlan::login).await;
    let drain = "[drain]\nwindow = \"0s\"\ndeadline = \"10s\"\n";
    let proxy = Tidelock::start(TIDELOCK, &(FilePlan::to(&nodes).text() + drain)).await;
    let mut jar = Jar::default();
    let login = jar.json(&proxy, "POST /login?user=ada").await;
    let here = usize::from(login["node"] == "b");
    let (address, there) = (nodes[here].address().to_string(), ["a", "b"][1 - here]);
    let pin = jar.pin().map(|(_, pin)| pin.clone());
    let (code, said) = verb(proxy.directory(), &["drain", &address]).await;
    assert_eq!(code, 0, "{said}");
    // The pin goes along with the first answer from elsewhere, and stays there.
    assert_eq!(jar.json(&proxy, "GET /me").await["node"], there);
    let moved = jar.pin().map(|(_, pin)| pin.clone());
    assert_ne!(moved, pin);
    assert_eq!(verb(proxy.directory(), &["undrain", &address]).await.0, 0);
    for _ in 0..4 {
        assert_eq!(jar.json(&proxy, "GET /me").await["node"], there);
    }
}

/// The first login may come when one process is ready and the other is not.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn logins_hold_under_start_without_a_file() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/js/login.mjs");
    let proxy = Tidelock::start_app(TIDELOCK, &[script, "-i", "2", "--listen", "127.0.0.1:0"]).await;
    for number in 0..10 {
        let mut jar = Jar::default();
        let login = jar.json(&proxy, &format!("POST /login?user=user-{number}")).await;
        for _ in 0..3 {
            let (page, socket) = jar.user(&proxy).await;
            assert_eq!((&page, &socket), (&login, &login), "user {number} holds everywhere");
        }
    }
}

/// A node that does not answer for a moment is passed over by what may be asked again, and keeps its logins.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_login_outlives_a_node_that_is_stalled_for_a_moment() {
    let mut nodes = two(NodePlan::login).await;
    let file = FilePlan::to(&nodes).text() + "[timeouts]\nanswer = \"500ms\"\n";
    let proxy = Tidelock::start(TIDELOCK, &file).await;
    let mut jar = Jar::default();
    let login = jar.json(&proxy, "POST /login?user=ada").await;
    let pin = jar.pin().map(|(_, pin)| pin.clone());
    let here = usize::from(login["node"] == "b");
    nodes[here].process().signal(Signal::STOP);
    for _ in 0..4 {
        let page = jar.json(&proxy, "GET /me").await;
        assert!(page["node"] != login["node"] && page["user"].is_null(), "{page}");
    }
    assert_eq!(jar.pin().map(|(_, pin)| pin.clone()), pin, "it stays");
    nodes[here].process().signal(Signal::CONT);
    let back = async { while jar.json(&proxy, "GET /me").await != login {} };
    timeout(TIMEOUT, back).await.expect("the login is there again");
    assert_eq!(jar.user(&proxy).await, (login.clone(), login));
}

/// Who logs in again after their node has died stays where that was, also when the node is back.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_login_whose_node_died_begins_anew_elsewhere() {
    let mut nodes = two(NodePlan::login).await;
    let proxy = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).text()).await;
    let mut jar = Jar::default();
    let login = jar.json(&proxy, "POST /login?user=ada").await;
    let here = usize::from(login["node"] == "b");
    nodes[here].kill().await;
    let page = jar.json(&proxy, "GET /me").await;
    assert!(page["node"] != login["node"] && page["user"].is_null(), "{page}");
    let again = jar.json(&proxy, "POST /login?user=ada").await;
    assert_eq!((&again["node"], &again["user"]), (&page["node"], &login["user"]));
    nodes[here].restart().await;
    for _ in 0..4 {
        assert_eq!(jar.user(&proxy).await, (again.clone(), again.clone()));
    }
}

/// Two tidelocks without a common secret lose logins, and are told so; what pins decide is counted.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn pins_are_counted_and_those_of_another_secret_told() {
    let nodes = two(NodePlan::login).await;
    let secret = |letter: &str| format!("sticky_secret = \"{}\"", letter.repeat(32));
    let file = |letter: &str| FilePlan::to(&nodes).top(&secret(letter)).text();
    let first = Tidelock::start(TIDELOCK, &file("x")).await;
    let second = Tidelock::start(TIDELOCK, &file("y")).await;
    let mut jar = Jar::default();
    jar.json(&first, "POST /login?user=ada").await;
    for proxy in [&first, &second] {
        for _ in 0..10 {
            jar.json(proxy, "GET /me").await;
        }
    }
    let pinned = |status: &Value| {
        let workers = status["workers"].as_array().expect("workers");
        workers.iter().map(|worker| worker["pinned"].as_u64().expect("a count")).sum::<u64>()
    };
    let status = first.status().await;
    assert_eq!((pinned(&status), &status["upstreams"][0]["unverifiable"]), (10, &0.into()), "{status:#}");
    let (_, text) = verb(first.directory(), &["status"]).await;
    assert!(text.contains("10 by our cookie"), "{text}");
    let status = second.status().await;
    let upstream = &status["upstreams"][0];
    assert_eq!((pinned(&status), &upstream["unverifiable"]), (0, &10.into()), "{status:#}");
    assert_eq!(upstream["foreign_secret"], true);
}

fn other_than(letter: &str) -> &'static str {
    if letter == "A" { "B" } else { "A" }
}
