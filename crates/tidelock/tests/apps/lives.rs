//! Processes that die, are stopped, are started and are counted.

use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::load::Load;
use testkit::process::{Process, Signal};
use testkit::raw::get;
use testkit::tidelock::Tidelock;
use tokio::process::Command;

use crate::{TIDELOCK, app, file_of, node, pid, ready, until, until_nothing_is_left_of, verb};

fn kill(pid: u64) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it runs");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_process_that_is_killed_costs_no_plain_request_and_comes_back() {
    let tidelock = Tidelock::start(TIDELOCK, &file_of(&node(), "instances = 3")).await;
    let before = ready(&tidelock, 3).await;
    let plan = ClientPlan { count: 30, mode: Mode::Websocket, hold: true, ..ClientPlan::to(tidelock.url()) };
    let mut clients = Clients::start(&plan).await;
    clients.ready().await;
    let load = Load::plain(tidelock.address(), 4, 2);
    load.until_answered(20).await;

    kill(pid(&before[1]));
    let has_come_back = |all: &[serde_json::Value]| {
        all.len() == 3 && all.iter().all(|one| one["state"] == "ready") && pid(&all[1]) != pid(&before[1])
    };
    let after = until(&tidelock, has_come_back).await;
    assert_eq!(after[1]["restarts"], 1, "{after:#?}");
    assert_eq!([pid(&after[0]), pid(&after[2])], [pid(&before[0]), pid(&before[2])]);
    load.until_answered(20).await;
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");

    // Its ten clients were told at once, and came back at the first attempt.
    clients.until_connects(40).await;
    let report = clients.report().await;
    assert_eq!((report.connected, report.connect_errors.len()), (30, 0), "{report:#?}");
    assert_eq!(report.close_codes, [1012; 10]);
}

/// The allocator's thread is for tidelock. A keeper that starts its app beside another thread could give it files that are
/// not meant for it; and there are as many keepers as processes.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_keeper_has_one_thread_and_its_app_nothing_of_its_environment() {
    let command = r#"["node", "-e", "require('http').createServer((_, answer) => answer.end()).listen(80)"]"#;
    let tidelock = Tidelock::start(TIDELOCK, &file_of(command, "instances = 1")).await;
    let app = pid(&ready(&tidelock, 1).await[0]);
    let of = |what: &str| std::fs::read_to_string(format!("/proc/{app}/{what}")).expect("it runs");
    let status = of("status");
    let keeper = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has a parent").trim();
    let status = std::fs::read_to_string(format!("/proc/{keeper}/status")).expect("it runs");
    let of_keeper = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    assert_eq!((of_keeper("Name:"), of_keeper("Threads:")), (Some("keeper"), Some("1")));
    assert!(!of("environ").contains("_RJEM_MALLOC_CONF"));
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_session_of_a_process_that_died_is_unknown() {
    let tidelock = Tidelock::start(TIDELOCK, &file_of(&node(), "instances = 1")).await;
    let before = ready(&tidelock, 1).await;
    let handshake = get(tidelock.address(), "/socket.io/?EIO=4&transport=polling").await;
    let sid = testkit::engineio::sid(&handshake.text()).expect("a session");
    kill(pid(&before[0]));
    until(&tidelock, |all| all.len() == 1 && all[0]["state"] == "ready" && pid(&all[0]) != pid(&before[0]))
        .await;
    let answer = get(tidelock.address(), &format!("/socket.io/?EIO=4&transport=polling&sid={sid}")).await;
    assert_eq!(answer.status(), 400);
    assert!(answer.text().contains("Session ID unknown"), "{}", answer.text());
}

#[tokio::test]
async fn a_command_that_ends_at_once_is_a_crash_loop() {
    let tidelock = Tidelock::start(TIDELOCK, &file_of("[\"false\"]", "restart = { max = 3 }")).await;
    let given_up = until(&tidelock, |all| all.len() == 1 && all[0]["state"] == "given up").await;
    assert_eq!(given_up[0]["restarts"], 3, "{given_up:#?}");
    let table = verb(&tidelock, &["status"]).await;
    assert!(table.text.contains("chat/0  given up"), "{}", table.text);
    let said = verb(&tidelock, &["start", "chat"]).await;
    assert!(!said.success, "{}", said.text);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn apps_are_stopped_started_restarted_and_scaled() {
    let mut tidelock = Tidelock::start(TIDELOCK, &file_of(&node(), "instances = 2")).await;
    let first: Vec<_> = ready(&tidelock, 2).await.iter().map(pid).collect();

    let said = verb(&tidelock, &["scale", "chat", "4"]).await;
    assert!(said.success, "{}", said.text);
    let four: Vec<_> = ready(&tidelock, 4).await.iter().map(pid).collect();
    assert_eq!(four[..2], first);
    let said = verb(&tidelock, &["scale", "chat", "1"]).await;
    assert!(said.success, "{}", said.text);
    assert_eq!(pid(&ready(&tidelock, 1).await[0]), first[0]);

    let said = verb(&tidelock, &["restart", "chat"]).await;
    assert!(said.success, "{}", said.text);
    assert_ne!(pid(&ready(&tidelock, 1).await[0]), first[0]);

    let said = verb(&tidelock, &["stop", "chat"]).await;
    assert!(said.success, "{}", said.text);
    let stopped = app(&tidelock).await;
    assert_eq!(stopped["state"], "stopped", "{stopped:#}");
    let said = verb(&tidelock, &["start", "chat"]).await;
    assert!(said.success, "{}", said.text);
    ready(&tidelock, 1).await;

    for words in [&["stop", "chta"][..], &["scale", "chta", "2"], &["reload", "chta"], &["restart", "chta"]] {
        let said = verb(&tidelock, words).await;
        assert!(!said.success && said.text.contains("chat"), "it names those there are: {}", said.text);
    }
    tidelock.process().signal(Signal::TERM);
    assert!(tidelock.process().exit().await.success());
    until_nothing_is_left_of(tidelock.directory()).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn logs_go_on_with_what_is_written() {
    let app = r#"["node", "-e", "require('http').createServer((q, a) => { console.error('asked for ' + q.url); a.end() }).listen(3000)"]"#;
    let tidelock = Tidelock::start(TIDELOCK, &file_of(app, "")).await;
    get(tidelock.address(), "/before").await;
    let follow = |arguments: &[&str]| {
        let mut command = Command::new(TIDELOCK);
        command.args(["logs", "-f"]).args(arguments).env("XDG_RUNTIME_DIR", tidelock.directory());
        Process::spawn("logs", command)
    };
    let (of_all, in_json) = (follow(&[]), follow(&["--json", "chat/0"]));
    of_all.wait_for_line(|line| line.ends_with(" chat/0 | asked for /before")).await;
    in_json.wait_for_line(|line| line.contains("asked for /before")).await;
    get(tidelock.address(), "/after").await;
    of_all.wait_for_line(|line| line.ends_with(" chat/0 | asked for /after")).await;
    let line = in_json.wait_for_line(|line| line.contains("asked for /after")).await;
    let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    let parts = ["app", "instance", "stream", "line"].map(|part| line[part].to_string());
    assert_eq!(parts, ["\"chat\"", "0", "\"stderr\"", "\"asked for /after\""]);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_app_may_listen_on_a_unix_socket() {
    // It listens where PORT says, and there a path stands.
    let app = r#"["node", "-e", "require('http').createServer((q, a) => a.end('over a socket')).listen(process.env.PORT)"]"#;
    let tidelock = Tidelock::start(TIDELOCK, &file_of(app, "socket = \"unix\"")).await;
    let instances = ready(&tidelock, 1).await;
    let address = instances[0]["address"].as_str().unwrap_or_default();
    assert!(address.starts_with("unix:/"), "{address}");
    assert_eq!(get(tidelock.address(), "/").await.text(), "over a socket");
}

/// Nobody waits for what does not come by itself, and a stranger does not learn what runs here.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_stopped_app_answers_so() {
    let file = file_of(&node(), "instances = 1").replace("access = \"off\"", "access = \"stdout\"");
    let mut tidelock = Tidelock::start(TIDELOCK, &file).await;
    ready(&tidelock, 1).await;
    assert!(verb(&tidelock, &["stop", "chat"]).await.success);
    let answer = get(tidelock.address(), "/").await;
    assert_eq!(answer.status(), 503);
    let told = format!("{:?} {}", answer, answer.text());
    assert!(!told.contains("stopped") && !told.contains("chat"), "{told}");
    let line = tidelock.process().wait_for_line(|line| line.contains("\"status\":503")).await;
    assert!(line.contains("its app is stopped or given up"), "{line}");
    let said = verb(&tidelock, &["status"]).await;
    assert!(said.text.contains("stopped  its app is stopped or given up"), "{}", said.text);
    assert!(verb(&tidelock, &["start", "chat"]).await.success);
    assert_eq!(get(tidelock.address(), "/").await.status(), 200);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_app_that_is_given_up_answers_at_once() {
    let app = r#"["node", "-e", "require('http').createServer((q, a) => q.url === '/end' ? process.exit(1) : a.end()).listen(3000)"]"#;
    let tidelock = Tidelock::start(TIDELOCK, &file_of(app, "restart = { max = 0 }")).await;
    ready(&tidelock, 1).await;
    get(tidelock.address(), "/end").await;
    until(&tidelock, |all| all[0]["state"] == "given up").await;
    assert_eq!(get(tidelock.address(), "/").await.status(), 503);
    let said = verb(&tidelock, &["status"]).await;
    assert!(said.text.contains("its app is stopped or given up"), "{}", said.text);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn it_is_seen_how_much_is_answered_and_how_fast() {
    let app = r#"["node", "-e", "require('http').createServer((q, a) => setTimeout(() => a.end(), q.url === '/slow' ? 300 : 0)).listen(3000)"]"#;
    let tidelock = Tidelock::start(TIDELOCK, &file_of(app, "")).await;
    ready(&tidelock, 1).await;
    for path in ["/", "/", "/slow"] {
        get(tidelock.address(), path).await;
    }
    let status = verb(&tidelock, &["status", "--json"]).await.text;
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    let seen =
        [&status["upstreams"][0], &status["upstreams"][0]["nodes"][0], &status["apps"][0]["instances"][0]];
    for seen in seen {
        let number = |key: &str| seen[key].as_f64().unwrap_or(-1.0);
        assert!(number("answers_per_s") > 0.0 && number("p50_ms") > 0.0, "{seen:#}");
        assert!(number("p99_ms") > 200.0, "{seen:#}");
    }
    let said = verb(&tidelock, &["list"]).await;
    assert!(said.text.contains("REQ/S") && !said.text.contains("EVENT STREAMS"), "{}", said.text);
}
