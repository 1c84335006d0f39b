//! What becomes of a request that finds its node full: whatever the node is full of, and whatever happens while it waits, it
//! waits for as long as `full_wait` from its beginning, and goes as soon as there is room.
//!
//! Planted to see it fail: `down_wait` in the place of `full_wait` makes 46 of its rows red.

use std::rc::Rc;
use std::time::Duration;

use config::plan::NodeBounds;
use config::roster::RosterNode;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::{Client, Stand, by_paused_clock, plan};

/// What node "a" has one of, which is as many as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    Session,
    /// A connection, for a request under way.
    Connection,
}

/// What happens two seconds later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Nothing,
    /// The session ends, or the request.
    Over,
    /// A reload lets the node have two.
    Raised,
    /// A reload brings node "b".
    Joined,
    /// A reload that changes nothing of it.
    Reloaded,
    /// A reload puts "b" in the place of "a".
    Replaced,
    /// The proxy begins to leave.
    Leaving,
    /// The client does, and does not wait for an answer.
    ClientGone,
}

const DEEDS: [Deed; 8] = [
    Deed::Nothing,
    Deed::Over,
    Deed::Raised,
    Deed::Joined,
    Deed::Reloaded,
    Deed::Replaced,
    Deed::Leaving,
    Deed::ClientGone,
];
/// Of `full_wait`, in seconds.
const WAITS: [u64; 3] = [0, 1, 60];
const OPEN: &[u8] = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: example.com\r\n\r\n";
const GET: &[u8] = b"GET /page HTTP/1.1\r\nHost: example.com\r\n\r\n";

/// Whose answer the client gets, and after how many seconds.
fn expected(deed: Deed, wait: u64) -> String {
    match deed {
        _ if wait < 2 => format!("503 after {wait}"),
        Deed::Over | Deed::Raised => "a after 2".into(),
        Deed::Joined | Deed::Replaced => "b after 2".into(),
        Deed::Leaving => "503 after 2".into(),
        Deed::ClientGone => "- after 2".into(),
        Deed::Nothing | Deed::Reloaded => format!("503 after {wait}"),
    }
}

#[test]
fn whoever_finds_a_full_node_waits_for_room_and_no_longer() {
    let mut wrong = Vec::new();
    for has in [Has::Session, Has::Connection] {
        for deed in DEEDS {
            for wait in WAITS {
                let (want, got) = (expected(deed, wait), play(has, deed, wait));
                if got != want {
                    wrong.push(format!("full of a {has:?}, {deed:?}, full_wait {wait} s: {got}, not {want}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

fn bounds(has: Has, most: usize) -> NodeBounds {
    match has {
        Has::Session => NodeBounds { sessions_max: Some(most), connections_max: None },
        Has::Connection => NodeBounds { sessions_max: None, connections_max: Some(most) },
    }
}

fn play(has: Has, deed: Deed, wait: u64) -> String {
    let mut got = String::new();
    by_paused_clock(async {
        let script = if has == Has::Connection { "stall" } else { "" };
        let stand = Rc::new(Stand::new("", &[script, ""]));
        let settings = format!("full_wait = \"{wait}s\"");
        let put = |members: Vec<RosterNode>| stand.put(plan(&settings, 2), &[("nodes", members)]);
        put(vec![stand.entry(0, bounds(has, 1))]);
        let (earlier, sid) = fill(&stand, has).await;
        let (mut client, begun) = (stand.dial(), Instant::now());
        let request = if has == Has::Session { OPEN } else { GET };
        let asking = stand.pulse.spawn(async move { (client.ask(request).await, begun.elapsed()) });
        stand.run(sleep(Duration::from_secs(2))).await;
        let mut earlier = Some(earlier);
        match deed {
            Deed::Nothing | Deed::ClientGone => {}
            Deed::Over if has == Has::Connection => drop(earlier.take()),
            Deed::Over => {
                let close = format!(
                    "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: example.com\r\nContent-Length: 1\r\n\r\n1"
                );
                let mut other = stand.dial();
                let closed = stand.run(async move { other.ask(close.as_bytes()).await }).await;
                assert_eq!(closed.unwrap().status, 200);
            }
            Deed::Raised => put(vec![stand.entry(0, bounds(has, 2))]),
            Deed::Joined => put(vec![stand.entry(0, bounds(has, 1)), stand.entry(1, bounds(has, 1))]),
            Deed::Reloaded => put(vec![stand.entry(0, bounds(has, 1))]),
            Deed::Replaced => put(vec![stand.entry(1, bounds(has, 1))]),
            Deed::Leaving => {
                stand.worker.local.shared.drain.leave(Instant::now() + Duration::from_secs(600));
            }
        }
        if deed == Deed::ClientGone && !asking.is_finished() {
            asking.abort();
            got = "- after 2".into();
        } else {
            let (answer, elapsed) = stand.run(async move { asking.await.unwrap() }).await;
            let answer = answer.expect("nobody is cut");
            let who = match answer.status {
                200 if has == Has::Session => answer.body.split('"').nth(3).unwrap()[..1].to_owned(),
                200 => answer.body,
                status => status.to_string(),
            };
            got = format!("{who} after {}", elapsed.as_secs_f64().round());
        }
        drop(earlier);
        stand.check_is_clean().await;
    });
    got
}

/// Gives node "a" what it may have one of. The client that has it, and its session.
async fn fill(stand: &Stand, has: Has) -> (Client, String) {
    let mut client = stand.dial();
    match has {
        Has::Session => {
            let (opened, client) = stand.run(async move { (client.ask(OPEN).await, client) }).await;
            (client, opened.unwrap().body.split('"').nth(3).unwrap().to_owned())
        }
        Has::Connection => {
            client.0.write_all(GET).await.unwrap();
            stand.run(sleep(Duration::from_millis(10))).await;
            assert_eq!(stand.members()[0].in_flight(), 1, "its node never answers");
            (client, String::new())
        }
    }
}
