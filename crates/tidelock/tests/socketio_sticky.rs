//! Goal: every request of a session meets the session's node, with no cookie, with no memory that tidelocks share, and
//! whatever happens to the tidelock in between.
//! Method: real clients where they can do it, requests by hand for what no client does; real nodes, but for the test
//! that must see what a node would have got.

use testkit::clients::{ClientPlan, Clients, Mode, Report};
use testkit::engineio::PollingSession;
use testkit::message::Message;
use testkit::node::{Node, NodePlan, three};
use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::{Mark, Signal};
use testkit::raw::get;
use testkit::relay::Relay;
use testkit::tidelock::{FilePlan, Tidelock};

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn two_tidelocks_agree_by_their_secret_alone() {
    let nodes = three(often_pinging).await;
    let file = FilePlan::to(&nodes).top(SECRET).text();
    for mode in [Mode::Polling, Mode::Default] {
        let (mut one, mut two) =
            tokio::join!(Tidelock::start(TIDELOCK, &file), Tidelock::start(TIDELOCK, &file));
        let before = opened(&nodes).await;
        let plan = ClientPlan {
            alternate: vec![one.url(), two.url()],
            count: 12,
            mode,
            echoes: 4,
            hold: true,
            ..ClientPlan::to(one.url())
        };
        let mut clients = Clients::start(&plan).await;
        let report = clients.ready().await;
        assert_untroubled(&report, 12);
        assert_eq!(report.upgraded, if mode == Mode::Default { 12 } else { 0 }, "{report:#?}");
        assert_eq!((report.echoes_ok, report.echoes_failed), (96, 0), "{report:#?}");
        for who in clients.who().await.into_iter().flatten() {
            assert!(who.client_sid.starts_with(&who.sid), "{who:?}");
            assert_eq!(who.client_sid.len(), who.sid.len() + TAG_BYTES, "{who:?}");
        }
        // Both had a part in every session, or the test has shown nothing.
        for tidelock in [&mut one, &mut two] {
            let by_tag = |line: &str| line.contains("\"sticky\":\"tag\"");
            tidelock.process().wait_for_lines_since(Mark::default(), 12, by_tag).await;
        }
        assert_untroubled(&clients.end().await, 12);
        assert_eq!(opened(&nodes).await - before, 12, "one handshake for each client");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn without_tags_one_tidelock_learns_every_session() {
    let nodes = three(often_pinging).await;
    let file = FilePlan::to(&nodes).upstream("sticky = \"engineio-learned\"").text();
    let tidelock = Tidelock::start(TIDELOCK, &file).await;
    for version in [4, 2] {
        for mode in [Mode::Polling, Mode::Websocket, Mode::Default] {
            let plan = ClientPlan {
                count: 12,
                version,
                mode,
                echoes: 2,
                hold: true,
                ..ClientPlan::to(tidelock.url())
            };
            let mut clients = Clients::start(&plan).await;
            let report = clients.ready().await;
            assert_untroubled(&report, 12);
            assert_eq!(report.echoes_ok, 48, "{report:#?}");
            // This is what it is for: apps that compare the ids at both ends.
            for who in clients.who().await.into_iter().flatten() {
                assert_eq!(who.client_sid, who.sid, "version {version}, {mode:?}");
            }
            assert_untroubled(&clients.end().await, 12);
        }
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn jsonp_sessions_are_learned() {
    let nodes = three(NodePlan::js).await;
    let tidelock = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).text()).await;
    // Enough sessions that chance does not find the right node for each request of each.
    for index in 0..9 {
        let session = PollingSession::open(tidelock.address(), "EIO=4&j=0").await;
        assert!(session.handshake.text().starts_with("___eio[0](\"0{"), "{:?}", session.handshake.text());
        assert_eq!(session.sid.len(), NODE_SID_BYTES, "an escaped id is not tagged");
        assert_eq!(session.post("40").await.text(), "ok", "session {index}");
        let connected = session.poll().await.text();
        assert!(connected.starts_with("___eio[0](\"40{"), "session {index}: {connected}");
    }
    for index in 0..9 {
        let session = PollingSession::open(tidelock.address(), "EIO=3&j=0").await;
        assert_eq!(session.sid.len(), NODE_SID_BYTES);
        // The node connects an EIO=3 session to the main namespace by itself.
        let connected = session.poll().await.text();
        assert!(connected.starts_with("___eio[0](\""), "session {index}: {connected}");
        assert_eq!(session.post("1:1").await.text(), "ok", "session {index}");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_forged_tag_opens_nothing() {
    let nodes = three(NodePlan::js).await;
    let file = FilePlan::to(&nodes).top(SECRET).text();
    let tidelock = Tidelock::start(TIDELOCK, &file).await;
    let other_file =
        FilePlan::to(&nodes).top("sticky_secret = \"another secret of 32 bytes or more\"").text();
    let other = Tidelock::start(TIDELOCK, &other_file).await;
    let session = PollingSession::open(tidelock.address(), "EIO=4").await;
    let (sid, tag) = session.sid.split_at(NODE_SID_BYTES);
    assert_eq!(tag.len(), TAG_BYTES);

    let forged = format!("{sid}{}", if tag == "AAAAAAAA" { "BBBBBBBB" } else { "AAAAAAAA" });
    assert_session_unknown(&session.with_sid(&forged).poll().await, "a tag that nobody made");
    assert_session_unknown(&session.with_sid(&forged).post("40").await, "the same on a POST");
    assert_session_unknown(&session.with_sid("AAAAAAAAAAAAAAAAAAAA").poll().await, "an id that nobody gave");
    assert_session_unknown(&session.at(other.address()).poll().await, "a tag under another secret");
    let elsewhere = loop {
        let elsewhere = PollingSession::open(tidelock.address(), "EIO=4").await;
        if !elsewhere.sid.ends_with(tag) {
            break elsewhere;
        }
    };
    let swapped = format!("{sid}{}", &elsewhere.sid[NODE_SID_BYTES..]);
    assert_session_unknown(&session.with_sid(&swapped).poll().await, "a tag of another node");

    // None of it has touched the session itself.
    assert_eq!(session.post("40").await.text(), "ok");
    assert!(session.poll().await.text().starts_with("40{"));
}

/// What a query says twice, or in escapes, means to us what it means to the node alone; and with one node, it is the node
/// that refuses.
#[tokio::test]
async fn an_id_however_it_is_spelt_reaches_the_node_without_its_tag() {
    let origin = ScriptedOrigin::start(|request| {
        let is_handshake = !request.start.contains("id=");
        let body = if is_handshake { OPEN_PACKET } else { "6" };
        vec![Step::send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))]
    })
    .await;
    let tidelock =
        Tidelock::start(TIDELOCK, &FilePlan::to_addresses([origin.address()]).top(SECRET).text()).await;
    let session = PollingSession::open(tidelock.address(), "EIO=4").await;
    let sid = &session.sid;
    assert_eq!(sid.len(), NODE_SID_BYTES + TAG_BYTES);
    let (node_sid, tag) = sid.split_at(NODE_SID_BYTES);
    let escaped_tag = format!("{}%{:02X}", &tag[..TAG_BYTES - 1], tag.as_bytes()[TAG_BYTES - 1]);
    let escaped_id = format!("%{:02X}{}", node_sid.as_bytes()[0], &node_sid[1..]);
    let long = "A".repeat(2000);
    for (pairs, forwarded) in [
        (format!("&sid={sid}"), format!("&sid={node_sid}")),
        (format!("&sid={sid}&t=abc"), format!("&sid={node_sid}&t=abc")),
        (format!("&xsid={sid}&sid={sid}"), format!("&xsid={sid}&sid={node_sid}")),
        (format!("&t=sid={sid}&sid={sid}"), format!("&t=sid={sid}&sid={node_sid}")),
        (format!("&sid={sid}&sid={sid}"), format!("&sid={sid}&sid={node_sid}")),
        (format!("&sid=&sid={sid}"), format!("&sid=&sid={node_sid}")),
        (format!("&sid={sid}&%73id={sid}"), format!("&sid={sid}&%73id={node_sid}")),
        (format!("&%73id={sid}"), format!("&%73id={node_sid}")),
        (format!("&sid={node_sid}{escaped_tag}"), format!("&sid={node_sid}")),
        (format!("&sid={escaped_id}{tag}"), format!("&sid={escaped_id}")),
        (format!("&sid={sid}+"), format!("&sid={sid}+")),
        (format!("&sid={long}{sid}"), format!("&sid={long}{sid}")),
        ("&sid=".to_owned(), "&sid=".to_owned()),
        ("&sid".to_owned(), "&sid".to_owned()),
    ] {
        assert_eq!(session.poll_spelt(&pairs).await.status(), 200, "{pairs}");
        let request = origin.requests().pop().expect("it was answered");
        let target = format!("GET /socket.io/?EIO=4&transport=polling{forwarded} HTTP/1.1");
        assert_eq!(request.start, target);
    }
    // And what is not Engine.IO's keeps its `sid`, whatever that means to the app.
    get(tidelock.address(), &format!("/app?sid={sid}&sid={sid}")).await;
    assert_eq!(
        origin.requests().pop().map(|request| request.start),
        Some(format!("GET /app?sid={sid}&sid={sid} HTTP/1.1"))
    );
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn sessions_of_a_removed_node_begin_again_elsewhere() {
    let nodes = three(often_pinging).await;
    let mut before = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes).top(SECRET).text()).await;
    let relay = Relay::to(before.address()).await;
    let plan = ClientPlan { count: 30, mode: Mode::Polling, hold: true, ..ClientPlan::to(relay.url()) };
    let mut clients = Clients::start(&plan).await;
    let report = clients.ready().await;
    assert_untroubled(&report, 30);
    let lost = report.nodes["c"];

    let after = Tidelock::start(TIDELOCK, &FilePlan::to(&nodes[..2]).top(SECRET).text()).await;
    relay.switch(after.address());
    before.process().signal(Signal::TERM);
    assert!(before.process().exit().await.success());
    clients.until_connects(30 + lost).await;
    let answers = clients.who().await;
    let on = |name: &str| answers.iter().flatten().filter(|who| who.node == name).count();
    assert_eq!((on("a") + on("b"), on("c")), (30, 0), "{answers:?}");
    let report = clients.end().await;
    assert_eq!(report.disconnects.len(), lost, "only those of the node that is gone: {report:#?}");
    assert_eq!(report.connect_errors, [""; 0]);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_plain_restart_costs_each_session_one_handshake() {
    let nodes = three(often_pinging).await;
    let file = FilePlan::to(&nodes).top(SECRET).top("drain.deadline = \"1s\"");
    let mut tidelock = Tidelock::start(TIDELOCK, &file.text()).await;
    let (address, url) = (tidelock.address(), tidelock.url());
    let plan = |version, mode| ClientPlan { count: 20, version, mode, hold: true, ..ClientPlan::to(&url) };
    let mut all = [
        Clients::start(&plan(4, Mode::Polling)).await,
        Clients::start(&plan(4, Mode::Websocket)).await,
        Clients::start(&plan(2, Mode::Polling)).await,
    ];
    for clients in &all {
        assert_untroubled(&clients.ready().await, 20);
    }
    assert_eq!(opened(&nodes).await, 60);

    tidelock.process().signal(Signal::TERM);
    assert!(tidelock.process().exit().await.success());
    for clients in &all {
        clients.until_disconnects(20).await;
    }
    let _again = Tidelock::start(TIDELOCK, &file.at(address).text()).await;
    for clients in &mut all {
        clients.until_connects(40).await;
        let report = clients.report().await;
        assert_eq!((report.connected, report.disconnects.len()), (20, 20), "{report:#?}");
        // Whoever came back too early met nobody (status 0 is how a poll says so), and no node noticed.
        let refused = |error: &String| error.ends_with("error: 0") || error.contains("ECONNREFUSED");
        assert!(report.connect_errors.iter().all(refused), "{report:#?}");
    }
    assert_eq!(opened(&nodes).await, 120);
}

fn assert_session_unknown(answer: &Message, what: &str) {
    assert_eq!(answer.status(), 400, "{what}: {}", answer.text());
    let body: serde_json::Value = serde_json::from_slice(&answer.body).expect(what);
    assert_eq!(body, serde_json::json!({ "code": 1, "message": "Session ID unknown" }), "{what}");
    // Without them a page of another origin could not read the answer, and would not begin again.
    assert_eq!(answer.header("access-control-allow-origin"), Some("http://page.example"), "{what}");
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"), "{what}");
}

fn assert_untroubled(report: &Report, count: usize) {
    assert_eq!(report.connected, count, "{report:#?}");
    assert_eq!(report.connect_errors, [""; 0]);
    assert_eq!(report.upgrade_errors, [""; 0]);
    assert_eq!(report.disconnects, [""; 0]);
    assert_eq!(report.echoes_failed, 0);
}

/// Polls that end often are many requests, each of which could go to the wrong place.
fn often_pinging(name: &str) -> NodePlan {
    NodePlan::js(name).env("PING_INTERVAL", "300")
}

async fn opened(nodes: &[Node]) -> usize {
    let mut opened = 0;
    for node in nodes {
        opened += node.sessions().await.opened;
    }
    opened
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const SECRET: &str = "sticky_secret = \"a secret of 32 bytes, or of some more\"";
const NODE_SID_BYTES: usize = 20;
const TAG_BYTES: usize = 8;
const OPEN_PACKET: &str = r#"0{"sid":"abcdefghijklmnopqrst","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
