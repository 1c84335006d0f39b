//! Goal: whatever clients, nodes and operators do at the same time, every exchange ends, and nothing that was held for one
//! is held after it. Method: scenarios drawn by a seed, on a [`Stand`]. `cargo xtask simulate` plays more of them; one that
//! fails prints how to repeat it.
//!
//! Planted to see it fail: a request that is counted as waiting for ever makes it red.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::{Client, Stand, UPGRADE, by_paused_clock};
use crate::upstream::node::Observed;

#[test]
fn every_exchange_ends_and_leaves_nothing() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    let first = number("TIDELOCK_SEED").unwrap_or(0);
    let seeds = first..first + number("TIDELOCK_SCENARIOS").unwrap_or(SCENARIOS);
    for seed in seeds {
        let scenario = || by_paused_clock(play(seed));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(scenario)) {
            eprintln!("repeat it with: cargo xtask simulate --scenarios 1 --seed {seed}");
            resume_unwind(panic);
        }
    }
}

async fn play(seed: u64) {
    let mut dice = Rng::with_seed(seed);
    // What the proxy draws, too.
    fastrand::seed(seed);
    let scripts: Vec<_> = (0..dice.usize(1..=4)).map(|_| script(&mut dice)).collect();
    let scripts: Vec<_> = scripts.iter().map(String::as_str).collect();
    let stand = Rc::new(Stand::new(settings(&mut dice), &scripts));
    let clients: Vec<_> =
        (0..dice.usize(1..=6)).map(|_| stand.pulse.spawn(be_client(stand.clone(), dice.fork()))).collect();
    let operator = stand.pulse.spawn(be_operator(stand.clone(), dice.fork(), scripts.len()));
    stand
        .run(async move {
            for client in clients {
                client.await.unwrap();
            }
            operator.await.unwrap();
        })
        .await;
    stand.check_is_clean().await;
}

fn script(dice: &mut Rng) -> String {
    if dice.u8(..8) == 0 {
        return "refuse".into();
    }
    let words = ["200", "200", "200", "slow", "503", "close", "half", "garbage", "stall"];
    let drawn: Vec<_> = (0..dice.usize(..8)).map(|_| words[dice.usize(..words.len())]).collect();
    drawn.join(" ")
}

fn settings(dice: &mut Rng) -> &'static str {
    let all = [
        "",
        "balance = \"round-robin\"\nretry_percent = 100",
        "balance = \"least-requests\"\ntry_timeout = \"1s\"",
        "retry_percent = 0",
        "handshake_rate = \"1/s\"\nhandshake_wait = \"10s\"",
        "down_wait = \"20s\"",
    ];
    all[dice.usize(..all.len())]
}

/// Asks, waits, stays or leaves, as the dice fall.
async fn be_client(stand: Rc<Stand>, mut dice: Rng) {
    for _ in 0..dice.usize(1..=3) {
        sleep(Duration::from_millis(dice.u64(..5000))).await;
        let mut client = stand.dial();
        match dice.u8(..4) {
            0 => poll(&mut client, &mut dice).await,
            1 => tunnel(&mut client, &mut dice).await,
            _ => browse(&mut client, &mut dice).await,
        }
    }
}

async fn browse(client: &mut Client, dice: &mut Rng) {
    for _ in 0..dice.usize(1..=4) {
        let request: &[u8] = match dice.u8(..3) {
            0 => b"POST /form HTTP/1.1\r\nHost: example.com\r\nContent-Length: 4\r\n\r\nform",
            _ => b"GET /page HTTP/1.1\r\nHost: example.com\r\n\r\n",
        };
        let timeout = if dice.u8(..5) == 0 { dice.u64(..3000) } else { ANSWERED_WITHIN_MS };
        if !ask(client, request, timeout).await {
            return;
        }
        sleep(Duration::from_millis(dice.u64(..1000))).await;
    }
}

/// Whether the connection can go on. One that is given its whole time-out has to be answered, or cut.
async fn ask(client: &mut Client, request: &[u8], timeout_ms: u64) -> bool {
    let begun = Instant::now();
    match timeout(Duration::from_millis(timeout_ms), client.ask(request)).await {
        Ok(answer) => answer.is_some(),
        Err(_) => {
            assert!(timeout_ms < ANSWERED_WITHIN_MS, "no answer after {:?}", begun.elapsed());
            false
        }
    }
}

/// A session that polls for a while.
async fn poll(client: &mut Client, dice: &mut Rng) {
    let open = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: example.com\r\n\r\n";
    let opening = timeout(Duration::from_millis(ANSWERED_WITHIN_MS), client.ask(open));
    let Some(answer) = opening.await.expect("a handshake is stuck") else { return };
    let Some((_, rest)) = answer.body.split_once("\"sid\":\"") else { return };
    let sid = rest.split('"').next().unwrap();
    let poll =
        format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: example.com\r\n\r\n");
    for _ in 0..dice.usize(..4) {
        let begun = timeout(Duration::from_millis(ANSWERED_WITHIN_MS), client.ask(poll.as_bytes()));
        let Some(polled) = begun.await.expect("a poll is stuck") else { return };
        if polled.status != 200 {
            return;
        }
        // Where it lives, or that it has been closed there.
        let is_at_home = polled.body.starts_with([char::from(sid.as_bytes()[0]), '1']);
        assert!(is_at_home, "session {sid} was polled at {}", polled.body);
        sleep(Duration::from_millis(dice.u64(..2000))).await;
    }
}

/// A WebSocket that says something, and leaves without a word.
async fn tunnel(client: &mut Client, dice: &mut Rng) {
    let upgrading = timeout(Duration::from_millis(ANSWERED_WITHIN_MS), client.ask(UPGRADE));
    let Some(answer) = upgrading.await.expect("an upgrade is stuck") else { return };
    for _ in 0..dice.usize(..4) {
        if answer.status != 101 || client.0.write_all(b"\x81\x82\0\0\0\0yo").await.is_err() {
            return;
        }
        let mut said = [0; 4];
        if client.0.read_exact(&mut said).await.is_err() {
            return;
        }
        if said[0] == 0x88 {
            return;
        }
        assert_eq!(said, *b"\x81\x02hi");
        sleep(Duration::from_millis(dice.u64(..3000))).await;
    }
}

/// Reloads, takes nodes out, has them leave and stay, takes memory, and sometimes leaves altogether.
async fn be_operator(stand: Rc<Stand>, mut dice: Rng, nodes: usize) {
    for _ in 0..dice.usize(..6) {
        sleep(Duration::from_millis(dice.u64(..4000))).await;
        let members = stand.members();
        let node = members.get(dice.usize(..nodes)).cloned();
        match (dice.u8(..7), node) {
            (0, Some(node)) => stand.empty(&node, Duration::from_millis(dice.u64(1000..30_000))),
            (1, Some(node)) => stand.keep(&node),
            (2, Some(node)) => drop(node.observe(Observed::Outlier("the dice"))),
            (3, _) => {
                let weights: Vec<_> = (0..nodes).map(|_| dice.u32(1..4)).collect();
                stand.reload(settings(&mut dice), &weights);
                stand.drain_removed(&members);
            }
            (4, _) => {
                let mut weights: Vec<_> = (0..nodes).map(|_| dice.u32(..3)).collect();
                weights[0] = 1;
                stand.reload(settings(&mut dice), &weights);
                stand.drain_removed(&members);
            }
            (5, _) => {
                let memory = &stand.worker.local.shared.memory;
                memory.set_taken([80, 95][dice.usize(..2)]);
                sleep(Duration::from_millis(dice.u64(..3000))).await;
                memory.set_taken(0);
            }
            _ => {}
        }
    }
    if dice.u8(..4) == 0 {
        stand.worker.local.shared.drain.leave(Instant::now() + Duration::from_secs(60));
    }
}

/// Longer than any bound of a request by default.
const ANSWERED_WITHIN_MS: u64 = 600_000;
/// What a test may take is a second.
const SCENARIOS: u64 = 100;
