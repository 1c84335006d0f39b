//! Goal: a request goes where the file says, stays where it belongs, and leaves when its node does.
//! Method: real Socket.IO clients where they can do it, requests by hand where a test must see what a node would have
//! got; the real binary, and its verbs.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::json;
use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::message::Message;
use testkit::node::{NodePlan, three};
use testkit::origin::ScriptedOrigin;
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock};
use tokio::process::Command;

/// Three origins that say their numbers.
async fn origins() -> [ScriptedOrigin; 3] {
    let says = async |text: &str| {
        ScriptedOrigin::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{text}")).await
    };
    [says("0").await, says("1").await, says("2").await]
}

fn file_to(origins: &[ScriptedOrigin], sticky: &str) -> FilePlan {
    let line = format!("sticky = \"{sticky}\"");
    FilePlan::to_addresses(origins.iter().map(ScriptedOrigin::address)).top(SECRET).upstream(&line)
}

/// One request with these header lines, on a connection of its own.
async fn ask(address: SocketAddr, target: &str, lines: &str) -> Message {
    let mut client = RawConnection::connect(address).await;
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await;
    let answer = client.read_message().await;
    assert_eq!(answer.status(), 200, "{}", answer.text());
    answer
}

/// The name and value of the cookie in an answer, and all of its attributes.
fn cookie_of(answer: &Message) -> (String, String) {
    let line = answer.header("set-cookie").expect("a cookie");
    let (pair, attributes) = line.split_once("; ").expect("attributes");
    (pair.to_owned(), attributes.to_owned())
}

async fn verb(tidelock: &Tidelock, arguments: &[&str]) {
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).env("XDG_RUNTIME_DIR", tidelock.directory()).kill_on_drop(true);
    let output = command.output().await.expect("tidelock can be run");
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

#[tokio::test]
async fn a_cookie_keeps_a_client_on_its_node_and_is_no_business_of_the_node() {
    let origins = origins().await;
    let tidelock = Tidelock::start(TIDELOCK, &file_to(&origins, "cookie").text()).await;
    let mut seen = BTreeMap::new();
    for _ in 0..9 {
        let first = ask(tidelock.address(), "/", "").await;
        let (cookie, attributes) = cookie_of(&first);
        assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax");
        let (name, value) = cookie.split_once('=').expect("a pair");
        assert!(name.starts_with("tidelock-nodes-") && name.len() == 19, "the key's name: {name}");
        assert_eq!(value.len(), 12, "a code and nothing else: {value}");
        for _ in 0..3 {
            let again = ask(tidelock.address(), "/", &format!("Cookie: a=1; {cookie}; b=2\r\n")).await;
            assert_eq!(again.text(), first.text(), "it stays");
            assert_eq!(again.header("set-cookie"), None, "it has its cookie");
        }
        seen.insert(first.text(), cookie);
    }
    assert_eq!(seen.len(), 3, "new clients go to all nodes: {seen:?}");
    let cookies = origins.iter().flat_map(ScriptedOrigin::requests);
    let cookies: Vec<_> = cookies.filter_map(|request| request.header("cookie").map(str::to_owned)).collect();
    assert_eq!(cookies, vec!["a=1; b=2"; 27]);

    // A value that nobody made is a client that is new.
    for forged in ["AAAAAAAA", "", "127.0.0.1:80", "AAAAAAAAA"] {
        let answer = ask(tidelock.address(), "/", &format!("Cookie: {}={forged}\r\n", name_in(&seen))).await;
        assert_eq!(cookie_of(&answer).0, seen[&answer.text()], "{forged:?} is replaced");
    }
}

#[tokio::test]
async fn over_https_a_cookie_is_secure_whoever_ends_the_tls() {
    let origins = origins().await;
    let file = file_to(&origins, "cookie:place").top("trusted_proxies = [\"127.0.0.1\"]").text();
    let tidelock = Tidelock::start(TIDELOCK, &file).await;
    let (cookie, attributes) = cookie_of(&ask(tidelock.address(), "/", "X-Forwarded-Proto: https\r\n").await);
    assert!(cookie.starts_with("place="), "{cookie}");
    assert_eq!(attributes, "Path=/; HttpOnly; Secure; SameSite=None");
    let untrusting = Tidelock::start(TIDELOCK, &file_to(&origins, "cookie").text()).await;
    let (_, attributes) = cookie_of(&ask(untrusting.address(), "/", "X-Forwarded-Proto: https\r\n").await);
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Lax", "nobody is believed");
}

#[tokio::test]
async fn the_cookie_of_a_node_that_leaves_moves_on() {
    let origins = origins().await;
    let file = file_to(&origins, "cookie").text() + "[drain]\nwindow = \"0s\"\n";
    let tidelock = Tidelock::start(TIDELOCK, &file).await;
    let first = ask(tidelock.address(), "/", "").await;
    let (cookie, _) = cookie_of(&first);
    let index: usize = first.text().parse().expect("a number");
    let node = origins[index].address().to_string();
    verb(&tidelock, &["drain", &node]).await;
    let moved = ask(tidelock.address(), "/", &format!("Cookie: {cookie}\r\n")).await;
    assert_ne!(moved.text(), first.text());
    let (new_cookie, _) = cookie_of(&moved);
    let again = ask(tidelock.address(), "/", &format!("Cookie: {new_cookie}\r\n")).await;
    assert_eq!((again.text(), again.header("set-cookie")), (moved.text(), None));
    // What it has now is where it stays, also when the first is back.
    verb(&tidelock, &["undrain", &node]).await;
    let again = ask(tidelock.address(), "/", &format!("Cookie: {new_cookie}\r\n")).await;
    assert_eq!(again.text(), moved.text());
}

#[tokio::test]
async fn what_a_request_says_places_it_alike_on_every_tidelock_and_after_a_restart() {
    let origins = origins().await;
    type Asked = (&'static str, fn(usize) -> (String, String));
    let ways: [Asked; 4] = [
        ("sticky = \"ip\"", |n| ("/".into(), format!("X-Forwarded-For: 192.0.2.{n}\r\n"))),
        ("sticky = \"header:X-User\"", |n| ("/".into(), format!("x-user: u{n}\r\n"))),
        ("sticky = \"query:room\"", |n| (format!("/?x=1&room={n}&y"), String::new())),
        ("balance = \"hash:cookie:user\"", |n| ("/".into(), format!("Cookie: a=b; user=u{n}\r\n"))),
    ];
    for (way, request) in ways {
        let file = file_to(&origins, "none").top("trusted_proxies = [\"127.0.0.1\"]").text();
        let file = file.replace("sticky = \"none\"", way);
        let mut placed = Vec::new();
        for _ in 0..2 {
            let tidelock = Tidelock::start(TIDELOCK, &file).await;
            let mut places = Vec::new();
            for number in 0..24 {
                let (target, lines) = request(number);
                let answer = ask(tidelock.address(), &target, &lines).await;
                assert_eq!(answer.header("set-cookie"), None);
                places.push(answer.text());
            }
            placed.push(places);
        }
        assert_eq!(placed[0], placed[1], "{way}");
        for node in ["0", "1", "2"] {
            assert!(placed[0].iter().any(|place| place == node), "{way}: {:?}", placed[0]);
        }
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn real_clients_stay_on_the_node_that_their_header_or_query_or_address_means() {
    let nodes = three(NodePlan::js).await;
    for (sticky, options) in [
        ("header:X-User", json!({ "extraHeaders": { "X-User": "ada" } })),
        ("query:user", json!({ "query": { "user": "ada" } })),
        ("ip", json!({})),
    ] {
        let file = FilePlan::to(&nodes).top(SECRET).upstream(&format!("sticky = \"{sticky}\"")).text();
        let tidelock = Tidelock::start(TIDELOCK, &file).await;
        let plan = ClientPlan {
            count: 6,
            mode: Mode::Default,
            echoes: 2,
            hold: true,
            options,
            ..ClientPlan::to(tidelock.url())
        };
        let clients = Clients::start(&plan).await;
        let report = clients.ready().await;
        assert_eq!((report.connected, report.upgraded), (6, 6), "{sticky}: {report:#?}");
        assert_eq!(report.connect_errors, [""; 0], "{sticky}");
        assert_eq!(report.nodes.len(), 1, "{sticky}: one value, one node: {:?}", report.nodes);
        clients.end().await;
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn no_node_has_more_sessions_than_it_may_and_all_full_is_said() {
    let nodes = three(NodePlan::js).await;
    let full: Vec<String> = nodes
        .iter()
        .map(|node| format!("{{ address = \"{}\", max_sessions = 4 }}", node.address()))
        .collect();
    let file = FilePlan::to(&nodes).top(SECRET).text();
    let start = file.find("nodes = [\"").expect("a list of nodes");
    let end = start + file[start..].find('\n').expect("a line");
    let file = format!("{}nodes = [{}]{}", &file[..start], full.join(", "), &file[end..]);
    let tidelock = Tidelock::start(TIDELOCK, &file).await;
    let plan = ClientPlan { count: 12, hold: true, ..ClientPlan::to(tidelock.url()) };
    let clients = Clients::start(&plan).await;
    let report = clients.ready().await;
    assert!(report.nodes.values().all(|&count| count == 4), "{report:#?}");
    let mut late = RawConnection::connect(tidelock.address()).await;
    late.send("GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = late.read_message().await;
    assert_eq!(answer.status(), 503, "{}", answer.text());
    // What is there already goes on, and what is no session does not care.
    late.send("GET /socket.io/socket.io.js HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_ne!(late.read_message().await.status(), 503);
    clients.end().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_node_that_is_added_gets_its_share_of_the_sessions_that_are_there() {
    let nodes = three(NodePlan::js).await;
    let more = "[upstream.nodes.rebalance]\npercent = 50\nevery = \"1s\"\nsettle = \"0s\"\n";
    let two = format!("{}{more}", FilePlan::to(&nodes[..2]).top(SECRET).text());
    let all = format!("{}{more}", FilePlan::to(&nodes).top(SECRET).text());
    for mode in [Mode::Default, Mode::Polling] {
        let tidelock = Tidelock::start(TIDELOCK, &two).await;
        let plan = ClientPlan { count: 24, mode, hold: true, ..ClientPlan::to(tidelock.url()) };
        let mut clients = Clients::start(&plan).await;
        assert_eq!(clients.ready().await.nodes.len(), 2);
        tidelock.rewrite(&all);
        verb(&tidelock, &["reload"]).await;
        clients.until_connects(24 + 8).await;
        for node in &nodes {
            node.until_sessions(8).await;
        }
        let report = clients.report().await;
        assert_eq!(report.connect_errors, [""; 0], "{mode:?}");
        assert_eq!(report.disconnects.len(), 8, "{mode:?}: no more than it takes: {report:#?}");
        if mode == Mode::Default {
            assert_eq!(report.close_codes, [1012; 8]);
        }
        clients.end().await;
        for node in &nodes {
            node.until_sessions(0).await;
        }
    }
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const SECRET: &str = "sticky_secret = \"0123456789abcdef0123456789abcdef\"";

/// The name of the cookie, which tells the key.
fn name_in(seen: &BTreeMap<String, String>) -> &str {
    seen.values().next().and_then(|cookie| cookie.split('=').next()).expect("a cookie was set")
}
