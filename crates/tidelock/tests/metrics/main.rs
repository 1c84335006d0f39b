//! Goal: what is counted is what has happened, and the programs that collect it can read it.
//! Method: the real binary between raw clients and scripted nodes, who count too; Debian's promtool and Prometheus.

mod lasting;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use testkit::TIMEOUT;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::port::free_address;
use testkit::process::Process;
use testkit::raw::{RawConnection, get};
use testkit::tidelock::Tidelock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const MESSAGE: &[u8] = b"\x81\x82\0\0\0\0hi";
const SECRET: &str = "sticky_secret = \"0123456789abcdef0123456789abcdef\"\n";

/// Echoes what WebSockets say, and does not find `/missing`.
async fn node() -> ScriptedOrigin {
    ScriptedOrigin::start(|request| match request.header("upgrade") {
        Some(_) => vec![Step::send(SWITCHED), Step::Echo],
        None if request.start.starts_with("GET /missing") => vec![Step::send(NOT_FOUND)],
        None => vec![Step::send(OK)],
    })
    .await
}

fn file(nodes: &[SocketAddr], admin: &str, more: &str) -> String {
    let nodes: Vec<String> = nodes.iter().map(SocketAddr::to_string).collect();
    format!(
        "{SECRET}[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n[[route]]\npath = \"/ws\"\n\
         upstream = \"nodes\"\n[upstream.nodes]\nnodes = {nodes:?}\n[admin]\nsocket = \"admin.sock\"\n{admin}\n{more}"
    )
}

/// The sum of all samples of a metric that have these labels.
fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let samples = samples
        .filter(|rest| rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label)));
    samples.filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}

/// Collects until all of these sums are there, and returns what was collected then. A client has its answer a moment before it is
/// counted.
async fn until(address: SocketAddr, wanted: &[(&str, &[&str], u32)]) -> String {
    let mut turn = interval(Duration::from_millis(20));
    let mut last = String::new();
    let looking = async {
        loop {
            turn.tick().await;
            last = get(address, "/metrics").await.text();
            if wanted.iter().all(|(name, labels, count)| sum(&last, name, labels) == f64::from(*count)) {
                return;
            }
        }
    };
    assert!(timeout(TIMEOUT, looking).await.is_ok(), "{wanted:?} in\n{last}");
    last
}

/// Asks so often on one connection.
async fn ask(address: SocketAddr, path: &str, times: u32) {
    let mut client = RawConnection::connect(address).await;
    for _ in 0..times {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        client.read_message().await;
    }
}

/// Says a verb, and returns what it printed.
async fn verb(proxy: &Tidelock, arguments: &[&str]) -> String {
    let socket = proxy.directory().join("admin.sock");
    let mut command = Command::new(TIDELOCK);
    command.args(arguments).arg("--socket").arg(socket).kill_on_drop(true);
    let output =
        timeout(TIMEOUT, command.output()).await.expect("the verb ends").expect("the binary can be run");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

struct WebSocket(RawConnection);

impl WebSocket {
    async fn open(address: SocketAddr) -> Self {
        let mut client = RawConnection::connect(address).await;
        client.send(HANDSHAKE).await;
        assert_eq!(client.read_head().await.status(), 101);
        Self(client)
    }

    async fn say(&mut self, times: u32) {
        for _ in 0..times {
            self.0.send(MESSAGE).await;
            assert_eq!(self.0.read_exactly(MESSAGE.len()).await, MESSAGE);
        }
    }

    /// It is told to go elsewhere, and says goodbye.
    async fn until_moved(mut self) {
        let close = self.0.read_exactly(4).await;
        assert_eq!(close[..1], [0x88], "{close:?}");
        self.0.read_exactly(usize::from(close[1]) - 2).await;
        self.0.send([0x88, 0x82, 0, 0, 0, 0, close[2], close[3]]).await;
        self.0.read_to_end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_are_what_the_clients_counted_through_a_drain_and_a_reload() {
    let nodes = [node().await, node().await];
    let addresses = [nodes[0].address(), nodes[1].address()];
    let metrics = free_address();
    let admin = format!("listen = \"{metrics}\"");
    let short = "[drain]\nwindow = \"200ms\"\ndeadline = \"5s\"\n";
    let proxy = Tidelock::start(TIDELOCK, &file(&addresses, &admin, short)).await;
    let mut sockets = Vec::new();
    for _ in 0..8 {
        let mut socket = WebSocket::open(proxy.address()).await;
        socket.say(25).await;
        sockets.push(socket);
    }
    let on = |node: &ScriptedOrigin| {
        node.requests().iter().filter(|request| request.header("upgrade").is_some()).count()
    };
    assert_eq!((on(&nodes[0]), on(&nodes[1])), (4, 4));
    // They are counted while they live.
    until(metrics, &[("tidelock_websocket_messages_total", &[], 400), ("tidelock_node_websockets", &[], 8)])
        .await;
    let mut asking = JoinSet::new();
    for path in ["/a", "/b", "/missing", "/d"] {
        asking.spawn(ask(proxy.address(), path, 250));
    }
    let drained = addresses[0].to_string();
    let order = ["drain", &drained];
    let draining = verb(&proxy, &order);
    let moving = async {
        // Which of them are on that node nobody has said; those get nothing more to read than a Close.
        let mut moved = JoinSet::new();
        for socket in sockets {
            moved.spawn(socket.until_moved());
        }
        let mut gone = 0;
        while gone < 4 {
            moved.join_next().await.unwrap().unwrap();
            gone += 1;
        }
        moved
    };
    let (_, stay) = tokio::join!(draining, moving);
    proxy.rewrite(&file(&addresses, &admin, &format!("{short}[limits]\nattempts_max = 2\n")));
    verb(&proxy, &["reload"]).await;
    verb(&proxy, &["undrain", &drained]).await;
    while asking.join_next().await.is_some() {}
    ask(proxy.address(), "/after", 100).await;
    let mut again = WebSocket::open(proxy.address()).await;
    again.say(50).await;
    let asked = |node: &ScriptedOrigin| u32::try_from(node.requests().len()).unwrap();
    let (first, second) = (asked(&nodes[0]), asked(&nodes[1]));
    let node = |address: SocketAddr| format!("node=\"{address}\"");
    let (of_first, of_second) = (node(addresses[0]), node(addresses[1]));
    let wanted: &[(&str, &[&str], u32)] = &[
        ("tidelock_requests_total", &[], 1109),
        ("tidelock_requests_total", &["route=\"/\"", "class=\"2xx\""], 850),
        ("tidelock_requests_total", &["route=\"/\"", "class=\"4xx\""], 250),
        ("tidelock_requests_total", &["route=\"/ws\"", "class=\"1xx\""], 9),
        ("tidelock_request_duration_seconds_count", &["route=\"/\""], 1100),
        ("tidelock_websocket_messages_total", &["direction=\"to_node\""], 250),
        ("tidelock_websocket_messages_total", &["direction=\"to_client\""], 250),
        ("tidelock_websocket_closes_total", &["by=\"tidelock\"", "code=\"1012\""], 4),
        ("tidelock_websocket_closes_total", &[], 4),
        ("tidelock_node_websockets", &[], 5),
        ("tidelock_node_answers_total", &[&of_first], first),
        ("tidelock_node_answers_total", &[&of_second], second),
        ("tidelock_node_answer_duration_seconds_count", &[], 1109),
        ("tidelock_node_takes_part", &[], 2),
        ("tidelock_reloads_total", &["outcome=\"applied\""], 1),
    ];
    until(metrics, wanted).await;
    drop(stay);
}

#[tokio::test]
async fn a_message_in_the_packet_of_the_handshake_or_of_its_answer_is_counted() {
    let node = ScriptedOrigin::start(|_| {
        let greeted = [SWITCHED.as_bytes(), b"\x81\x02hi"].concat();
        vec![Step::Send(greeted), Step::Echo]
    })
    .await;
    let metrics = free_address();
    let proxy =
        Tidelock::start(TIDELOCK, &file(&[node.address()], &format!("listen = \"{metrics}\""), "")).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send([HANDSHAKE.as_bytes(), MESSAGE, MESSAGE].concat()).await;
    assert_eq!(client.read_head().await.status(), 101);
    client.read_exactly(4 + 2 * MESSAGE.len()).await;
    let towards = |direction| format!("direction=\"{direction}\"");
    let (to_node, to_client) = (towards("to_node"), towards("to_client"));
    let wanted: &[(&str, &[&str], u32)] = &[
        ("tidelock_websocket_messages_total", &[&to_node], 2),
        ("tidelock_websocket_messages_total", &[&to_client], 3),
        ("tidelock_websocket_bytes_total", &[&to_node], 16),
        ("tidelock_websocket_bytes_total", &[&to_client], 20),
    ];
    until(metrics, wanted).await;
}

#[tokio::test]
async fn polls_of_sessions_are_counted_apart_and_their_bytes_too() {
    let node = node().await;
    let metrics = free_address();
    let proxy =
        Tidelock::start(TIDELOCK, &file(&[node.address()], &format!("listen = \"{metrics}\""), "")).await;
    let poll = "POST /socket.io/?EIO=4&transport=polling&sid=abcdefghijklmnopqrst HTTP/1.1\r\nHost: a\r\n\
                Content-Length: 4\r\n\r\n42[]";
    let mut client = RawConnection::connect(proxy.address()).await;
    for request in [poll, poll, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na"] {
        client.send(request).await;
        assert_eq!(client.read_message().await.text(), "ok");
    }
    let (of_polls, of_requests): (&[&str], &[&str]) = (&["kind=\"poll\""], &["kind=\"request\""]);
    let wanted: &[(&str, &[&str], u32)] = &[
        ("tidelock_requests_total", of_polls, 2),
        ("tidelock_requests_total", of_requests, 1),
        ("tidelock_request_duration_seconds_count", &[], 1),
        ("tidelock_request_received_bytes_total", of_polls, 8),
        ("tidelock_request_received_bytes_total", of_requests, 1),
    ];
    let told = until(metrics, wanted).await;
    let sent = |labels| sum(&told, "tidelock_request_sent_bytes_total", labels);
    assert!(sent(of_requests) > 0.0 && sent(of_polls) > sent(of_requests), "{told}");
}

#[tokio::test]
async fn a_token_is_asked_for_and_nothing_else_can_be_done_there() {
    let node = node().await;
    let metrics = free_address();
    let admin = format!("listen = \"{metrics}\"\ntoken = [\"0123456789abcdef\", \"fedcba9876543210\"]");
    let proxy = Tidelock::start(TIDELOCK, &file(&[node.address()], &admin, "")).await;
    let status = async |line: &str, path: &str| {
        let mut client = RawConnection::connect(metrics).await;
        client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{line}\r\n")).await;
        client.read_message().await.status()
    };
    assert_eq!(status("", "/metrics").await, 401);
    assert_eq!(status("Authorization: Bearer 0123456789abcdee\r\n", "/metrics").await, 401);
    assert_eq!(status("Authorization: Bearer 0123456789abcdef0\r\n", "/metrics").await, 401);
    for token in ["0123456789abcdef", "fedcba9876543210"] {
        let line = format!("Authorization: Bearer {token}\r\n");
        assert_eq!(status(&line, "/metrics").await, 200);
        assert_eq!(status(&line, "/v1/status").await, 404);
    }
    // The socket of the verbs is the owner's alone.
    let mut socket = UnixStream::connect(proxy.directory().join("admin.sock")).await.expect("it is there");
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("it reads");
    let mut told = String::new();
    timeout(TIMEOUT, socket.read_to_string(&mut told)).await.expect("it ends").expect("text");
    assert!(told.starts_with("HTTP/1.1 200 ") && told.contains("tidelock_connections{"), "{told}");
    proxy.rewrite(&file(&[node.address()], &format!("listen = \"{metrics}\""), ""));
    verb(&proxy, &["reload"]).await;
    assert_eq!(status("", "/metrics").await, 200);
}

#[tokio::test]
async fn who_is_reached_by_others_needs_a_token() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidelock.toml");
    let node: SocketAddr = "127.0.0.1:1".parse().unwrap();
    for (admin, is_good) in [
        ("listen = \"0.0.0.0:9100\"", false),
        ("listen = \":9100\"", false),
        ("listen = \"[::1]:9100\"", true),
        ("listen = \"0.0.0.0:9100\"\ntoken = \"0123456789abcdef\"", true),
    ] {
        fs::write(&path, file(&[node], admin, "")).unwrap();
        let output = Command::new(TIDELOCK).arg("check").arg(&path).output().await.unwrap();
        let said =
            String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.contains("could read all that is counted"), !is_good, "{admin}: {said}");
    }
}

/// All texts behind this key, however deep.
fn all_of<'v>(value: &'v Value, key: &str, found: &mut Vec<&'v str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|value| all_of(value, key, found));
        }
        Value::Array(values) => values.iter().for_each(|value| all_of(value, key, found)),
        _ => {}
    }
}

#[cfg_attr(not(feature = "programs"), ignore = "needs promtool: `cargo xtask test`")]
#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_asks_for_what_there_is_in_words_that_prometheus_understands() {
    let board: Value = serde_json::from_str(include_str!("../../../../configs/grafana.json")).expect("JSON");
    let mut asked = Vec::new();
    all_of(&board, "expr", &mut asked);
    assert!(asked.len() > 40, "{asked:?}");
    let node = node().await;
    let metrics = free_address();
    let _proxy =
        Tidelock::start(TIDELOCK, &file(&[node.address()], &format!("listen = \"{metrics}\""), "")).await;
    let told = get(metrics, "/metrics").await.text();
    let kinds = told.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let there: BTreeSet<String> = kinds
        .flat_map(|(name, kind)| match kind {
            "histogram" => vec![format!("{name}_bucket"), format!("{name}_sum"), format!("{name}_count")],
            _ => vec![name.to_owned()],
        })
        .collect();
    let is_part = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let names = asked.iter().flat_map(|asked| asked.split(|character| !is_part(character)));
    for name in names.filter(|word| word.starts_with("tidelock_")) {
        assert!(there.contains(name), "{name} is not among {there:?}");
    }
    // Grafana puts these in.
    let fill = |asked: &str| {
        asked.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$instance", ".*")
    };
    let rules = asked.iter().enumerate().map(|(number, asked)| {
        format!("  - record: asked:{number}\n    expr: {}\n", Value::from(fill(asked)))
    });
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("rules.yml");
    let text = format!("groups:\n- name: grafana\n  rules:\n{}", rules.collect::<String>());
    fs::write(&path, text).expect("the folder is there");
    let checked = Command::new("promtool").args(["check", "rules"]).arg(&path).output().await;
    let checked = checked.expect("promtool can be run");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

#[cfg_attr(not(feature = "programs"), ignore = "needs prometheus: `cargo xtask test`")]
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_collects_and_promtool_finds_nothing_wrong() {
    let node = node().await;
    let metrics = free_address();
    let proxy =
        Tidelock::start(TIDELOCK, &file(&[node.address()], &format!("listen = \"{metrics}\""), "")).await;
    ask(proxy.address(), "/", 7).await;
    let mut socket = WebSocket::open(proxy.address()).await;
    socket.say(3).await;
    let told = until(metrics, &[("tidelock_requests_total", &[], 8)]).await;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checking = promtool.kill_on_drop(true).spawn().expect("promtool can be run");
    checking.stdin.take().unwrap().write_all(told.as_bytes()).await.unwrap();
    let checked = timeout(TIMEOUT, checking.wait_with_output()).await.unwrap().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let alerts = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/alerts.yml");
    let checked = Command::new("promtool").args(["check", "rules", alerts]).output().await.unwrap();
    assert!(checked.status.success(), "{checked:?}");

    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("prometheus.yml");
    let text = format!(
        "global: {{ scrape_interval: 1s }}\nrule_files: [\"{alerts}\"]\nscrape_configs:\n\
         - {{ job_name: tidelock, static_configs: [{{ targets: [\"{metrics}\"] }}] }}\n"
    );
    fs::write(&config, text).unwrap();
    let asked = free_address();
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", config.display()));
    prometheus.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
    prometheus.arg(format!("--web.listen-address={asked}"));
    let _prometheus = Process::spawn("prometheus", prometheus);
    let mut turn = interval(Duration::from_millis(100));
    let mut last = String::new();
    let collecting = async {
        loop {
            turn.tick().await;
            let Ok(mut client) = RawConnection::try_connect(asked).await else { continue };
            let request =
                "GET /api/v1/query?query=sum(tidelock_websocket_messages_total) HTTP/1.1\r\nHost: a\r\n\r\n";
            last = match client.try_ask(request).await {
                Ok(answer) => answer.text(),
                Err(why) => why,
            };
            if last.contains("\"6\"") {
                return;
            }
        }
    };
    assert!(timeout(TIMEOUT, collecting).await.is_ok(), "{last}");
}
