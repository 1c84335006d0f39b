//! What the one before was told, and what the file says by now.

use std::fs;

use testkit::process::Signal;
use testkit::raw::get;
use testkit::talkers::{Round, Talkers};
use testkit::tidelock::{Tidelock, listening};

use crate::{TIDELOCK, app_file, pids, status, until_ended, upgrade, verb};

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_people_have_said_is_kept_and_what_the_file_says_is_applied() {
    let text = |name: &str, more: &str| {
        let app = app_file(2, &format!("env = {{ NODE_NAME = \"{name}\" }}"));
        format!("{app}[upstream.others]\nnodes = [\"127.0.0.1:9\", \"127.0.0.1:19\"]\n{more}")
    };
    let mut tidelock = Tidelock::start(TIDELOCK, &text("one", "")).await;
    pids(&tidelock, 2).await;
    assert!(verb(&tidelock, &["scale", "chat", "3"]).await.success);
    assert!(verb(&tidelock, &["drain", "--no-wait", "others/127.0.0.1:9"]).await.success);
    let before = pids(&tidelock, 3).await;

    let first = upgrade(&tidelock).await;
    until_ended(tidelock.process()).await;
    assert_eq!(pids(&tidelock, 3).await, before);
    let now = status(&tidelock).await;
    let others = now["upstreams"].as_array().expect("upstreams").iter().find(|one| one["name"] == "others");
    let nodes = others.expect("it is there")["nodes"].as_array().expect("nodes").clone();
    assert_eq!((&nodes[0]["draining"], &nodes[1]["draining"]), (&true.into(), &false.into()));
    // Whoever is killed is started again, with a generation of its own.
    let slot = status(&tidelock).await["apps"][0]["instances"][0]["pid"].as_i64().expect("a pid");
    let killed = rustix::process::Pid::from_raw(i32::try_from(slot).expect("it fits")).expect("a pid");
    rustix::process::kill_process(killed, Signal::KILL).expect("it runs");
    tidelock.process().wait_for_line(|line| line.contains("chat/0") && line.contains("SIGKILL")).await;
    let again = pids(&tidelock, 3).await;
    assert!(!again.contains(&slot.unsigned_abs()) && again[1..] == before[1..], "{before:?} {again:?}");

    // An app that is another in the file by now is rolled, and a listen that is new is there.
    let mark = tidelock.process().mark();
    tidelock.rewrite(&text("two", "[[listen]]\naddress = \"127.0.0.1:0\"\n"));
    let second = upgrade(&tidelock).await;
    assert_ne!(second.0, first.0);
    let listens = listening(tidelock.process(), mark, 2).await;
    assert_eq!(listens[0], tidelock.address());
    let answers = async {
        loop {
            let pids = pids(&tidelock, 3).await;
            if pids.iter().all(|pid| !again.contains(pid)) {
                return;
            }
        }
    };
    assert!(tokio::time::timeout(testkit::TIMEOUT, answers).await.is_ok(), "the app is not rolled");
    for listen in listens {
        assert_eq!(get(listen, "/").await.status(), 200);
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_was_stopped_stays_so() {
    let mut tidelock = Tidelock::start(TIDELOCK, &app_file(1, "")).await;
    pids(&tidelock, 1).await;
    assert!(verb(&tidelock, &["stop", "chat"]).await.success);
    let _successor = upgrade(&tidelock).await;
    until_ended(tidelock.process()).await;
    assert_eq!(status(&tidelock).await["apps"][0]["state"], "stopped");
    assert!(verb(&tidelock, &["start", "chat"]).await.success);
    pids(&tidelock, 1).await;
}

/// What an app writes is written once, whoever reads it.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn no_line_of_an_app_is_lost_torn_or_doubled() {
    let script = "let n = 0; setInterval(() => console.log('line ' + n++ + ' of many'), 1); \
                  require('http').createServer((_, a) => a.end('here')).listen(process.env.PORT)";
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\napp = \"chat\"\n\
         [log]\naccess = \"off\"\n[app.chat]\ncommand = [\"node\", \"-e\", {script:?}]\nlogs = {{ folder = \"logs\" }}\n"
    );
    let tidelock = Tidelock::start(TIDELOCK, &file).await;
    pids(&tidelock, 1).await;
    let logs = tidelock.directory().join("logs");
    let lines = || -> Vec<u64> {
        let files = fs::read_dir(&logs).expect("a folder").filter_map(|entry| Some(entry.ok()?.path()));
        let text: String = files.filter_map(|file| fs::read_to_string(file).ok()).collect();
        let number = |line: &str| {
            let (_, rest) = line.split_once("line ").unwrap_or_else(|| panic!("a torn line: {line:?}"));
            let number = rest.strip_suffix(" of many").unwrap_or_else(|| panic!("a torn line: {line:?}"));
            number.parse().unwrap_or_else(|_| panic!("a torn line: {line:?}"))
        };
        // The last may be on its way.
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(|line| number(line.trim()))
            .collect()
    };
    let until_more = async |count: usize| {
        let more = async {
            while lines().len() < count {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        assert!(tokio::time::timeout(testkit::TIMEOUT, more).await.is_ok(), "{} lines came", lines().len());
    };
    until_more(100).await;
    let _successor = upgrade(&tidelock).await;
    let count = lines().len();
    until_more(count + 300).await;
    let mut all = lines();
    all.sort_unstable();
    let expected: Vec<u64> = (0..all.len() as u64).collect();
    assert_eq!(all, expected);
}

/// What is on its way while another tidelock goes on may be lost; afterwards nothing is.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn instances_go_on_talking_to_each_other() {
    let text = app_file(3, "").replace("node.mjs", "rooms-pm2.cjs");
    let tidelock = Tidelock::start(TIDELOCK, &text).await;
    let before = pids(&tidelock, 3).await;
    let mut talkers = Talkers::start(&tidelock.url(), 12, 2);
    talkers.until_connects(12).await;
    talkers.until_meshed(3).await;
    let _successor = upgrade(&tidelock).await;
    // Those with a WebSocket are moved; two of three have one.
    talkers.until_connects(12 + 8).await;
    talkers.until_meshed(3).await;
    assert_eq!(status(&tidelock).await["apps"][0]["rooms"], "shared");
    let everything = Round { expected: 12 * 6 * 2, lost: vec![], doubled: 0, changed: 0 };
    assert_eq!(talkers.round(1000).await, everything);
    assert_eq!(pids(&tidelock, 3).await, before);
}
