//! Clients as they are: curl, socket.io-client over HTTP/2 of Node.js, and Chromium, whose WebSockets go over the connection that its
//! polls went over (RFC 8441).

use std::path::PathBuf;

use testkit::certificates::Authority;
use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::node::{Node, NodePlan, three};
use testkit::page::{HeldTab, PagePlan, meet};
use testkit::process::{Signal, tells};
use testkit::tidelock::{FilePlan, Tidelock, directory};
use tokio::process::Command;

const BINARY: &str = env!("CARGO_BIN_EXE_tidelock");

/// A proxy of these nodes that speaks HTTP/2 over TLS, its URL, and the certificate to trust.
async fn over_tls(nodes: &[Node], more: &str) -> (Tidelock, String, PathBuf) {
    let (authority, directory) = (Authority::new("test"), directory());
    let files = authority.issue(&["localhost"]).write(directory.path(), "leaf");
    let trusted = directory.path().join("authority.pem");
    std::fs::write(&trusted, authority.pem()).expect("the folder is the test's");
    let file = FilePlan::to(nodes).tls(&files).text().replace("[[route]]", "http2 = true\n[[route]]");
    let tidelock = Tidelock::start_in(directory, BINARY, &format!("{file}{more}")).await;
    let url = format!("https://localhost:{}", tidelock.address().port());
    (tidelock, url, trusted)
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs curl and Node.js: `cargo xtask test`")]
async fn curl_gets_and_posts() {
    let node = [Node::start(NodePlan::js("a")).await];
    let (tidelock, url, trusted) = over_tls(&node, "").await;
    let folder = tidelock.directory().join("body");
    let body = "0123456789".repeat(100_000);
    std::fs::write(&folder, &body).expect("the folder is the test's");
    let asks: [&[&str]; 3] = [
        &["/headers"],
        &["/echo", "--data-binary", "@body"],
        &["/echo", "--data-binary", "@body", "-H", "Expect: 100-continue"],
    ];
    for ask in asks {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--http2", "-o", "answer", "-w", "%{http_version} %{http_code}", "--cacert"])
            .arg(&trusted);
        curl.arg(format!("{url}{}", ask[0]))
            .args(&ask[1..])
            .current_dir(tidelock.directory())
            .kill_on_drop(true);
        let output = curl.output().await.expect("curl runs");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "2 200",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let answer = std::fs::read_to_string(tidelock.directory().join("answer")).expect("curl wrote it");
        assert!(ask[0] == "/headers" || answer == body, "{} bytes", answer.len());
    }
}

/// nghttp2's own client, many streams at a time; what it counts as failed is what broke a rule of its library.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs h2load and Node.js: `cargo xtask test`")]
async fn h2load_finds_every_answer_whole() {
    let node = [Node::start(NodePlan::js("a")).await];
    let (tidelock, url, _) = over_tls(&node, "").await;
    let body = tidelock.directory().join("body");
    std::fs::write(&body, "0123456789".repeat(20_000)).expect("the folder is the test's");
    let body = body.to_str().expect("a path of the test's");
    for (path, more) in [("/headers", &[][..]), ("/echo", &["-d", body])] {
        let mut h2load = Command::new("h2load");
        h2load.args(["-n", "2000", "-c", "4", "-m", "16"]).args(more).arg(format!("{url}{path}"));
        let output = h2load.kill_on_drop(true).output().await.expect("h2load runs");
        let printed = String::from_utf8_lossy(&output.stdout);
        let counted = "2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout";
        assert!(printed.contains(counted) && printed.contains("2000 2xx"), "{printed}");
        assert!(printed.contains("Application protocol: h2"), "{printed}");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn socket_io_polls_and_upgrades() {
    let nodes = three(NodePlan::js).await;
    let (_tidelock, url, trusted) = over_tls(&nodes, "").await;
    for mode in [Mode::Polling, Mode::Websocket, Mode::Default] {
        let plan = ClientPlan {
            count: 12,
            mode,
            echoes: 3,
            http2: true,
            ca: Some(trusted.display().to_string()),
            ..ClientPlan::to(url.clone())
        };
        let report = Clients::start(&plan).await.result().await;
        assert_eq!(
            (report.connected, report.echoes_ok, report.echoes_failed),
            (12, 72, 0),
            "{mode:?}: {report:#?}"
        );
        assert_eq!((report.connect_errors, report.upgrade_errors), (vec![], vec![]), "{mode:?}");
        assert!(report.nodes.len() == 3, "{:?}", report.nodes);
    }
}

async fn verb(tidelock: &Tidelock, name: &str, node: &Node) {
    let mut verb = Command::new(BINARY);
    verb.args([name, &node.address().to_string()])
        .env("XDG_RUNTIME_DIR", tidelock.directory())
        .kill_on_drop(true);
    assert!(verb.output().await.expect("the verb runs").status.success());
}

/// As over HTTP/1: each session of the node moves once, WebSockets with 1012, and no poll is cut.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_drained_node_hands_its_sessions_over() {
    let nodes = three(NodePlan::js).await;
    let (tidelock, url, trusted) = over_tls(&nodes, "[drain]\nwindow = \"2s\"\n").await;
    let plan = |mode| ClientPlan {
        count: 30,
        mode,
        hold: true,
        http2: true,
        ca: Some(trusted.display().to_string()),
        ..ClientPlan::to(url.clone())
    };
    let websocket = Clients::start(&plan(Mode::Default)).await;
    let on_b = websocket.ready().await.nodes["b"];
    let polling = Clients::start(&plan(Mode::Polling)).await;
    let polling_on_b = polling.ready().await.nodes["b"];
    verb(&tidelock, "drain", &nodes[1]).await;
    websocket.until_connects(30 + on_b).await;
    polling.until_connects(30 + polling_on_b).await;
    for (mut clients, moved) in [(websocket, on_b), (polling, polling_on_b)] {
        let report = clients.report().await;
        assert_eq!((report.connected, report.nodes.get("b")), (30, None), "{report:#?}");
        assert_eq!(report.connect_errors, [""; 0]);
        assert_eq!(report.disconnects, vec!["transport close"; moved]);
        assert!(report.close_codes.iter().all(|code| *code == 1012), "{:?}", report.close_codes);
    }
    assert_eq!(nodes[1].sessions().await.sessions, 0);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Chromium: `cargo xtask test`")]
async fn chromium_polls_and_upgrades() {
    let node = [Node::start(NodePlan::chat("node-1", BINARY)).await];
    let (mut tidelock, url, _) = over_tls(&node, "").await;
    let meeting = meet(&PagePlan { insecure: true, ..PagePlan::at(url) }).await;
    assert_eq!(meeting.errors, [""; 0]);
    for tab in meeting.tabs {
        assert_eq!(tab.transports, ["–", "polling", "polling → websocket…", "polling → websocket"]);
    }
    node[0].until_sessions(0).await;
    tidelock.process().signal(Signal::TERM);
    tidelock.process().exit().await;
}

/// A tab whose node is drained goes to the other, one whose file is read again stays, and one whose node is no longer in the file goes
/// back; the person at it can chat all the while, and the console is silent.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Chromium: `cargo xtask test`")]
async fn chromium_stays_through_a_drain_and_reloads() {
    let nodes =
        [Node::start(NodePlan::chat("a", BINARY)).await, Node::start(NodePlan::chat("b", BINARY)).await];
    let (mut tidelock, url, _) = over_tls(&nodes, "[drain]\nwindow = \"1s\"\n").await;
    let (mut tab, first) = HeldTab::open(&url).await;
    let is_first = |node: &&Node| node.name() == first.node;
    let (left, other) = if is_first(&&nodes[0]) { (&nodes[0], &nodes[1]) } else { (&nodes[1], &nodes[0]) };

    verb(&tidelock, "drain", left).await;
    let moved = tab.moved_from(left.name()).await;
    assert_eq!((moved.node.as_str(), moved.transport.as_str()), (other.name(), "polling → websocket"));
    assert_eq!(tab.say("after the drain").await, moved);

    let file = std::fs::read_to_string(tidelock.file()).expect("the file is the test's");
    reload(&mut tidelock, &file.replace("[drain]", "[timeouts]\nidle = \"50s\"\n[drain]")).await;
    assert_eq!(tab.say("after a reload").await, moved, "a reload that leaves its node alone moves nobody");

    verb(&tidelock, "undrain", left).await;
    let address = |node: &Node| node.address().to_string();
    let both = format!("{:?}", nodes.each_ref().map(address));
    let without = file.replace(&both, &format!("{:?}", [address(left)]));
    reload(&mut tidelock, &without).await;
    assert_eq!(tab.moved_from(other.name()).await.node, left.name());
    tab.say("after its node was taken out").await;

    let farewell = tab.leave().await;
    assert_eq!((farewell.errors, farewell.protocols), (vec![], vec!["h2".to_owned()]));
}

async fn reload(tidelock: &mut Tidelock, file: &str) {
    tidelock.rewrite(file);
    let mark = tidelock.process().mark();
    tidelock.process().signal(Signal::HUP);
    tidelock.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
}
