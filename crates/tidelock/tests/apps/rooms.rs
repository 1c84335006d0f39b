//! Rooms over all instances of an app, by the adapters that people use under PM2 and `cluster`.

use testkit::process::{Signal, tells};
use testkit::talkers::{Answer, Answers, Round, Talkers};
use testkit::tidelock::Tidelock;

use crate::{TIDELOCK, app, file_of, pid, ready, repository, until, verb};

const INSTANCES: usize = 4;
const CLIENTS: usize = 60;
const ROOMS: usize = 6;
/// Each client of a room hears a text and some bytes of each.
const HEARD: usize = CLIENTS / ROOMS * 2 * CLIENTS;

async fn fleet(script: &str, keys: &str) -> Tidelock {
    let command = format!("[\"node\", {:?}]", repository(&format!("crates/testkit/js/{script}")));
    let keys = format!("instances = {INSTANCES}\n{keys}");
    let tidelock = Tidelock::start(TIDELOCK, &file_of(&command, &keys)).await;
    ready(&tidelock, INSTANCES).await;
    tidelock
}

/// Clients on a fleet of which each instance knows all others.
async fn talkers(tidelock: &Tidelock) -> Talkers {
    let mut talkers = Talkers::start(&tidelock.url(), CLIENTS, ROOMS);
    talkers.until_connects(CLIENTS).await;
    talkers.until_meshed(INSTANCES).await;
    talkers
}

fn everything(expected: usize) -> Round {
    Round { expected, lost: vec![], doubled: 0, changed: 0 }
}

fn all_is_known(answers: &[Answers]) {
    assert_eq!(answers.len(), INSTANCES, "{answers:#?}");
    for Answers { asked, fetched, instances } in answers {
        let (Answer::Found(asked), Answer::Found(fetched), Answer::Found(instances)) =
            (asked, fetched, instances)
        else {
            panic!("{answers:#?}")
        };
        assert_eq!((*asked, fetched.len(), instances.len()), (CLIENTS / ROOMS, CLIENTS / ROOMS, INSTANCES));
    }
}

async fn rooms_are_shared(script: &str, keys: &str) {
    let tidelock = fleet(script, keys).await;
    let mut talkers = talkers(&tidelock).await;
    assert_eq!(app(&tidelock).await["rooms"], "shared");
    assert_eq!(talkers.round(1000).await, everything(HEARD));
    all_is_known(&talkers.ask().await);

    let one = i32::try_from(pid(&ready(&tidelock, INSTANCES).await[1])).expect("a process id");
    kill(one, Signal::KILL);
    // Nobody waits for the one that is gone: its place is taken, and each client comes back.
    let is_back = |all: &[serde_json::Value]| {
        all.len() == INSTANCES && all.iter().all(|each| each["state"] == "ready" && pid(each) != one as u64)
    };
    until(&tidelock, is_back).await;
    talkers.until_connects(CLIENTS + CLIENTS / INSTANCES).await;
    talkers.until_meshed(INSTANCES).await;
    assert_eq!(talkers.round(1000).await, everything(HEARD));
}

fn kill(pid: i32, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a process id");
    rustix::process::kill_process(pid, signal).expect("it runs");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn rooms_are_shared_by_the_cluster_adapter() {
    rooms_are_shared("rooms.mjs", "").await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn rooms_are_shared_by_an_app_that_was_written_for_pm2() {
    rooms_are_shared("rooms-pm2.cjs", "").await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_instance_that_does_not_read_loses_messages_and_delays_nobody() {
    let mut tidelock = fleet("rooms.mjs", "").await;
    let mut talkers = talkers(&tidelock).await;
    let sleeps = pid(&ready(&tidelock, INSTANCES).await[2]);
    let process = i32::try_from(sleeps).expect("a process id");
    talkers.leave(sleeps).await;
    kill(process, Signal::STOP);
    // More than may wait for it. The others have read it once they have heard what is said behind it.
    for _ in 0..5 {
        talkers.flood(4, 4 << 20).await;
        let round = talkers.round(100).await;
        assert_eq!((round.lost, round.doubled, round.changed), (vec![], 0, 0));
    }
    tidelock.process().wait_for_line(|line| tells(line, "messages_lost")).await;
    let lost = app(&tidelock).await["instances"][2]["messages_lost"].as_u64().expect("a number");
    assert!(lost > 0, "none are counted");
    kill(process, Signal::CONT);
    tidelock.process().wait_for_line(|line| tells(line, "messages_read_again")).await;
    talkers.until_meshed(INSTANCES).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn rooms_are_shared_by_fanout_in_an_app_without_an_adapter() {
    rooms_are_shared("rooms-plain.mjs", "fanout = true").await;
}

/// What becomes of rooms is said as soon as it is known, with what cures it, and for as long as it is so.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn rooms_that_are_split_are_said_to_be() {
    let old = "env = { SOCKET_IO = \"socket.io-v45\" }";
    let recovery = "env = { RECOVERY = \"1\" }";
    for (script, keys, said) in [
        ("rooms-plain.mjs", "", "split, because the app has no adapter: a message reaches"),
        ("rooms-plain.cjs", "", "split, because the app has no adapter: a message reaches"),
        (
            "rooms-plain.cjs",
            &format!("fanout = true\n{old}"),
            "split, because socket.io-adapter 2.4.0 has no",
        ),
        (
            "rooms-plain.mjs",
            &format!("fanout = true\n{recovery}"),
            "shared; connection state recovery is off",
        ),
        ("plain-only.cjs", "fanout = true", "not known to be shared"),
    ] {
        let mut tidelock = fleet(script, keys).await;
        let shown = app(&tidelock).await["rooms"].as_str().map(str::to_owned);
        assert!(shown.as_ref().is_some_and(|shown| shown.starts_with(said)), "{script} {keys}: {shown:?}");
        let told = verb(&tidelock, &["status"]).await.text;
        assert!(told.contains(&format!("chat: rooms: {said}")), "{told}");
        if said.starts_with("split") {
            tidelock.process().wait_for_line(|line| tells(line, "rooms_split") && line.contains(said)).await;
        }
    }
}

/// One process has all rooms, and an app without Socket.IO has none.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn nothing_is_said_of_rooms_where_there_is_nothing_to_say() {
    for (script, keys) in [("rooms-plain.mjs", "instances = 1"), ("plain-only.cjs", "instances = 2")] {
        let command = format!("[\"node\", {:?}]", repository(&format!("crates/testkit/js/{script}")));
        let tidelock = Tidelock::start(TIDELOCK, &file_of(&command, keys)).await;
        until(&tidelock, |all| all.iter().all(|each| each["state"] == "ready")).await;
        assert_eq!(app(&tidelock).await["rooms"], serde_json::Value::Null, "{script}");
    }
}
