//! Goal: a node that hangs, fails, lags or is overrun costs its clients as little as it can, and comes back only once
//! it is well. Method: real Socket.IO nodes that are stopped and go on, scripted origins that misbehave, the real
//! binary. No test says how long anything takes; what has a rate is judged by the node's own clock.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::message::Message;
use testkit::node::{Node, NodePlan};
use testkit::origin::{Absent, Origin, ScriptedOrigin, Step};
use testkit::process::{Mark, Signal, tells};
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock};

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const ERROR: &str = "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno";
const GET: &str = "GET /headers HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

/// A proxy with one worker, so that one pool sees everything; `upstream` are lines of its upstream, `more` tables.
async fn start(nodes: &[SocketAddr], upstream: &str, more: &str) -> Tidelock {
    Tidelock::start(TIDELOCK, &file(nodes, upstream, more)).await
}

fn file(nodes: &[SocketAddr], upstream: &str, more: &str) -> String {
    let plan = FilePlan::to_addresses(nodes.iter().copied()).top("workers = 1").upstream(upstream);
    format!("{}{more}", plan.text())
}

async fn ask(proxy: &Tidelock, request: &str) -> Message {
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(request).await;
    client.read_message().await
}

/// Waits for the line after `mark` that says so of the node.
async fn until(proxy: &mut Tidelock, mark: Mark, what: &str, address: SocketAddr) -> String {
    let address = format!("address={address}");
    let says = |line: &str| tells(line, what) && line.contains(&address);
    proxy.process().wait_for_lines_since(mark, 1, says).await.remove(0)
}

async fn two() -> (Node, Node) {
    tokio::join!(Node::start(NodePlan::js("a")), Node::start(NodePlan::js("b")))
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_node_that_hangs_is_left_alone_until_it_answers() {
    let (mut a, b) = two().await;
    let upstream = "try_timeout = \"200ms\"";
    let mut proxy = start(&[a.address(), b.address()], upstream, "[timeouts]\nanswer = \"2s\"\n").await;
    for _ in 0..4 {
        assert_eq!(ask(&proxy, GET).await.status(), 200);
    }
    a.process().signal(Signal::STOP);
    let hung = a.address();
    // Ties take turns, so that one of two meets it.
    for _ in 0..2 {
        assert_eq!(ask(&proxy, GET).await.status(), 200, "it is asked of the other node");
    }
    until(&mut proxy, Mark::default(), "node_down", hung).await;
    // Its port still accepts, and by that alone it would have been back many times.
    for _ in 0..60 {
        let answer = ask(&proxy, "GET /slow?ms=50 HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(answer.text(), "slow b");
    }
    let lines = proxy.process().lines_since(Mark::default());
    assert!(lines.iter().all(|line| !tells(line, "node_up")), "{lines:?}");
    a.process().signal(Signal::CONT);
    until(&mut proxy, Mark::default(), "node_up", hung).await;
}

#[tokio::test]
async fn only_what_may_be_asked_twice_moves_on() {
    let hanging = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let posts =
        start(&[hanging.address()], "try_timeout = \"100ms\"", "[timeouts]\nanswer = \"400ms\"\n").await;
    // With nobody else to ask, what is slow is waited for.
    let answer = ask(&posts, GET).await;
    assert_eq!(answer.text(), "504 Gateway Timeout\n");
    let origin = ScriptedOrigin::answering(OK).await;
    let nodes = [hanging.address(), origin.address()];
    let proxy = start(&nodes, "try_timeout = \"100ms\"", "[timeouts]\nanswer = \"400ms\"\n").await;
    let before = hanging.requests().len();
    let statuses = [ask(&proxy, POST).await.status(), ask(&proxy, POST).await.status()];
    assert!(statuses.contains(&504) && statuses.contains(&200), "{statuses:?}");
    let posted = |origin: &ScriptedOrigin, from: usize| {
        origin.requests()[from..].iter().filter(|request| request.start.starts_with("POST")).count()
    };
    assert_eq!((posted(&hanging, before), posted(&origin, 0)), (1, 1), "each was sent once");
}

/// Readiness is an answer, not a port.
#[tokio::test]
async fn a_node_that_only_listens_is_not_back() {
    let absent = Absent::bind();
    let address = absent.address();
    let origin = ScriptedOrigin::answering(OK).await;
    let mut proxy = start(&[address, origin.address()], "", "").await;
    for _ in 0..2 {
        assert_eq!(ask(&proxy, GET).await.status(), 200);
    }
    until(&mut proxy, Mark::default(), "node_down", address).await;
    let is_well = Arc::new(AtomicBool::new(false));
    let answers = is_well.clone();
    let returned = ScriptedOrigin::start_on(absent.appear(64), move |_| {
        vec![if answers.load(Relaxed) { Step::send(OK) } else { Step::Hold }]
    });
    returned.until_requests(6).await;
    let lines = proxy.process().lines_since(Mark::default());
    assert!(lines.iter().all(|line| !tells(line, "node_up")), "{lines:?}");
    is_well.store(true, Relaxed);
    until(&mut proxy, Mark::default(), "node_up", address).await;
}

#[tokio::test]
async fn errors_in_a_row_take_a_node_out_for_longer_each_time() {
    let failing = ScriptedOrigin::answering(ERROR).await;
    let origin = ScriptedOrigin::answering(OK).await;
    let outliers = "[upstream.nodes.outliers]\nerrors = 3\nejection = \"1s\"\n";
    let health = "[upstream.nodes.health]\nslow_start = \"0s\"\n";
    let nodes = [failing.address(), origin.address()];
    let mut proxy = start(&nodes, "", &format!("{outliers}{health}")).await;
    for want in ["at_least=1s", "at_least=2s"] {
        let mark = proxy.process().mark();
        let asked = ask_until(&mut proxy, mark, "node_down").await;
        assert!(asked.iter().filter(|status| **status == 500).count() >= 3, "{asked:?}");
        let line = until(&mut proxy, mark, "node_down", failing.address()).await;
        assert!(line.contains("cause=\"errors in a row\"") && line.contains(want), "{line}");
        assert_eq!(ask(&proxy, GET).await.status(), 200);
        until(&mut proxy, mark, "node_up", failing.address()).await;
    }
    // Nobody is left to take its place: an error is still an answer.
    let alone = start(&[failing.address()], "", outliers).await;
    for _ in 0..10 {
        assert_eq!(ask(&alone, GET).await.status(), 500);
    }
}

/// Asks on until the log says `what`, and gives the statuses.
async fn ask_until(proxy: &mut Tidelock, mark: Mark, what: &str) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !proxy.process().lines_since(mark).iter().any(|line| tells(line, what)) {
        assert!(statuses.len() < 5_000, "{what} is never said: {}", proxy.process().output());
        statuses.push(ask(proxy, GET).await.status());
    }
    statuses
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_node_that_lags_far_behind_the_others_is_left_out() {
    let slow = NodePlan::js("a").env("DELAY", "150");
    let (a, b, c) =
        tokio::join!(Node::start(slow), Node::start(NodePlan::js("b")), Node::start(NodePlan::js("c")));
    let outliers = "[upstream.nodes.outliers]\nlatency_factor = 5\nrequests_min = 5\n";
    let nodes = [a.address(), b.address(), c.address()];
    let mut proxy = start(&nodes, "", outliers).await;
    ask_until(&mut proxy, Mark::default(), "node_down").await;
    let line = until(&mut proxy, Mark::default(), "node_down", a.address()).await;
    assert!(line.contains("its answers take far longer than the others'"), "{line}");
}

/// Nothing of the answer has gone out yet, so that another node can give it.
#[tokio::test]
async fn an_answer_that_is_reset_in_its_head_is_asked_for_elsewhere() {
    let torn = ScriptedOrigin::start(|_| vec![Step::send("HTTP/1.1 200 OK\r\nContent-"), Step::Reset]).await;
    let origin = ScriptedOrigin::answering(OK).await;
    let proxy = start(&[torn.address(), origin.address()], "", "").await;
    for _ in 0..4 {
        assert_eq!(ask(&proxy, GET).await.text(), "ok");
    }
    assert!(!torn.requests().is_empty());
    let statuses = [ask(&proxy, POST).await.status(), ask(&proxy, POST).await.status()];
    assert!(statuses.contains(&200), "{statuses:?}");
    let posts = |origin: &ScriptedOrigin| {
        origin.requests().iter().filter(|request| request.start.starts_with("POST")).count()
    };
    assert_eq!(posts(&torn) + posts(&origin), 2, "no POST is sent twice");
}

#[tokio::test]
async fn while_no_node_can_be_reached_a_request_waits_if_it_may() {
    let absent = Absent::bind();
    let mut proxy = start(&[absent.address()], "down_wait = \"30s\"", "").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(POST).await;
    proxy.process().wait_for_line(|line| tells(line, "node_down")).await;
    let _returned = ScriptedOrigin::start_on(absent.appear(16), |_| vec![Step::send(OK)]);
    assert_eq!(client.read_message().await.status(), 200);
}

/// The connection on which `request` has come. Probes come, too.
async fn asked(origin: &Origin, request: &str) -> RawConnection {
    let line = request.lines().next().unwrap_or_default();
    loop {
        let mut node = origin.accept().await;
        if let Some(asked) = node.try_next_request().await {
            if asked.start == line {
                return node;
            }
            node.send(OK).await;
        }
    }
}

/// The only process of an app falls while it is at a request. Who may ask twice waits until it is back, as those do who come a
/// moment later.
#[tokio::test]
async fn a_get_that_dies_with_the_last_node_waits_for_its_return() {
    for (request, status) in [(GET, 200), (POST, 502)] {
        let origin = Origin::bind().await;
        let address = origin.address();
        let mut proxy = start(&[address], "down_wait = \"30s\"", "").await;
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(request).await;
        let node = asked(&origin, request).await;
        drop((origin, node));
        if status == 200 {
            until(&mut proxy, Mark::default(), "node_down", address).await;
            let origin = Origin::bind_at(address).await;
            asked(&origin, request).await.send(OK).await;
        }
        assert_eq!(client.read_message().await.status(), status, "{request}");
    }
}

/// But it does not go on for ever, if it is the request that fells the process: the second time it is told, and its like at once.
#[tokio::test]
async fn a_get_that_fells_the_last_node_is_asked_twice_and_its_like_once() {
    let mut origin = Origin::bind().await;
    let address = origin.address();
    let mut proxy = start(&[address], "down_wait = \"30s\"", "").await;
    for deaths in [2, 1] {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(GET).await;
        for death in 1..=deaths {
            let node = asked(&origin, GET).await;
            drop((origin, node));
            if death < deaths {
                until(&mut proxy, Mark::default(), "node_down", address).await;
            } else {
                assert_eq!(client.read_message().await.status(), 502, "{deaths} deaths");
            }
            origin = Origin::bind_at(address).await;
        }
    }
}

/// All nodes of a pool are restarted at once, as by a deploy that knows no better. Nothing is lost, with nothing said in the
/// file.
#[tokio::test]
async fn a_pool_that_is_restarted_as_a_whole_loses_nothing() {
    let nodes = [Absent::bind(), Absent::bind()];
    let addresses = nodes.each_ref().map(Absent::address);
    let mut proxy = start(&addresses, "", "").await;
    let mut clients = Vec::new();
    for request in [GET, POST].iter().cycle().take(20) {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(request).await;
        clients.push(client);
    }
    for address in addresses {
        until(&mut proxy, Mark::default(), "node_down", address).await;
    }
    let _returned = nodes.map(|node| ScriptedOrigin::start_on(node.appear(64), |_| vec![Step::send(OK)]));
    for mut client in clients {
        assert_eq!(client.read_message().await.status(), 200);
    }
}

#[tokio::test]
async fn a_request_that_waits_goes_to_a_node_that_a_reload_brings() {
    let absent = Absent::bind();
    let mut proxy = start(&[absent.address()], "down_wait = \"60s\"", "").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(POST).await;
    proxy.process().wait_for_line(|line| tells(line, "node_down")).await;
    let origin = ScriptedOrigin::answering(OK).await;
    proxy.rewrite(&file(&[origin.address()], "down_wait = \"60s\"", ""));
    proxy.process().signal(Signal::HUP);
    assert_eq!(client.read_message().await.status(), 200);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn each_kind_of_probe_finds_a_real_node_well_and_a_stopped_one_not() {
    for probe in [
        "probe = \"http\"\npath = \"/headers?x=1\"\nstatus = \"200\"\nbody = \"\\\"url\\\":\\\"/headers?x=1\\\"\"",
        "probe = \"engineio\"",
    ] {
        let (mut a, b) = two().await;
        let health = format!("[upstream.nodes.health]\n{probe}\ninterval = \"100ms\"\ntimeout = \"2s\"\n");
        let mut proxy = start(&[a.address(), b.address()], "", &health).await;
        if probe.contains("engineio") {
            // Sessions are opened, and closed again without a trace.
            a.until_sessions_closed(3).await;
            let sessions = a.sessions().await;
            assert!(sessions.sessions <= 1, "{sessions:?}");
            assert!(sessions.closed.iter().all(|closed| closed.reason == "transport close"), "{sessions:?}");
        }
        a.process().signal(Signal::STOP);
        let line = until(&mut proxy, Mark::default(), "node_down", a.address()).await;
        assert!(line.contains("no answer to a probe in time"), "{probe}: {line}");
        a.process().signal(Signal::CONT);
        let line = until(&mut proxy, Mark::default(), "node_up", a.address()).await;
        assert!(line.contains("it answers probes"), "{probe}: {line}");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_probe_is_answered_as_it_should_be_or_not_at_all() {
    let (a, _b) = two().await;
    for (probe, cause) in [
        ("probe = \"http\"\npath = \"/nowhere\"", "a probe got another status"),
        ("probe = \"http\"\nbody = \"nowhere\"", "a probe did not find its text in the body"),
        ("probe = \"engineio\"\npath = \"/nowhere\"", "a probe got no session"),
    ] {
        let health = format!("[upstream.nodes.health]\n{probe}\ninterval = \"100ms\"\n");
        let mut proxy = start(&[a.address()], "", &health).await;
        let line = until(&mut proxy, Mark::default(), "node_down", a.address()).await;
        assert!(line.contains(cause), "{probe}: {line}");
        // It is the only one, and is asked all the same.
        assert_eq!(ask(&proxy, GET).await.status(), 200);
    }
    // A port is enough for one that asks for no more.
    let absent = Absent::bind();
    let address = absent.address();
    let health = "[upstream.nodes.health]\nprobe = \"tcp\"\ninterval = \"100ms\"\n";
    let mut proxy = start(&[address], "", health).await;
    until(&mut proxy, Mark::default(), "node_down", address).await;
    let _returned = ScriptedOrigin::start_on(absent.appear(64), |_| vec![Step::Hold]);
    until(&mut proxy, Mark::default(), "node_up", address).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_storm_is_let_in_at_the_nodes_pace_and_sessions_do_not_feel_it() {
    let (a, b) = two().await;
    let config = FilePlan::to([&a, &b]).upstream("handshake_rate = \"20/s\"").text();
    let proxy = Tidelock::start(TIDELOCK, &config).await;
    let plan = |count, mode| ClientPlan { count, mode, hold: true, ..ClientPlan::to(proxy.url()) };
    let mut polling = Clients::start(&plan(6, Mode::Polling)).await;
    let mut sockets = Clients::start(&plan(6, Mode::Websocket)).await;
    tokio::join!(polling.ready(), sockets.ready());
    let (a_before, b_before) = (a.sessions().await.opened, b.sessions().await.opened);
    let mut storm = Clients::start(&plan(300, Mode::Websocket)).await;
    // While it rages, everybody who was there is answered.
    let mut rounds = 0;
    let connected = |line: &&String| line.starts_with("{\"event\":\"connect\"");
    while storm.process().lines_since(Mark::default()).iter().filter(connected).count() < 300 {
        for answer in polling.who().await.iter().chain(&sockets.who().await) {
            assert!(answer.is_some(), "a session has gone deaf in round {rounds}");
        }
        rounds += 1;
        assert!(rounds < 100_000, "the storm does not end: {}", storm.process().output());
    }
    assert!(rounds > 5, "it was over before anybody was asked");
    let report = storm.end().await;
    assert_eq!((report.connected, report.connect_errors.len()), (300, 0), "{:?}", report.connect_errors);
    for clients in [polling, sockets] {
        let report = clients.end().await;
        assert_eq!((report.connected, report.disconnects.len()), (6, 0), "{:?}", report.disconnects);
    }
    for (node, before) in [(&a, a_before), (&b, b_before)] {
        let opened = node.sessions().await.opened_ms.split_off(before);
        assert!((149..=151).contains(&opened.len()), "{}: {}", node.name(), opened.len());
        assert_pace(&opened, 20.0);
    }
}

/// In no stretch of time did more come than the rate allows, but for what a busy machine lets pile up on its way.
fn assert_pace(opened_ms: &[f64], rate: f64) {
    for (first, from) in opened_ms.iter().enumerate() {
        for (last, to) in opened_ms.iter().enumerate().skip(first + 20) {
            let (count, seconds) = ((last - first + 1) as f64, (to - from) / 1000.0);
            assert!(count <= seconds * rate + 1.0 + PILED_UP, "{count} in {seconds} s");
        }
    }
}

const PILED_UP: f64 = 8.0;
