//! What becomes of a polling session whose node is emptied: whatever the client is at, whatever the node makes of the close,
//! and whether or not the drain is called off before the session's turn.
//!
//! Planted to see it fail: a session that `dispatch` keeps when it has told its client makes 2 of its rows red.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Stand, by_paused_clock};

/// What the client is at when the drain begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Nothing: its next poll is yet to come.
    Idle,
    /// A poll that its node ends when it is told something.
    Poll,
    /// A poll that its node does not end.
    OverduePoll,
    /// A POST that takes two seconds.
    Post,
}

const OPEN: &[u8] = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: example.com\r\n\r\n";
/// What a node makes of the close.
const NODES: [&str; 6] = ["200", "503", "close", "half", "garbage", "stall"];

/// What the client gets for what it is at and for its next poll, how often the node is asked to close, and what is left there.
fn expected(at: At, node: &str, is_called_off: bool) -> String {
    let is_polling = matches!(at, At::Poll | At::OverduePoll);
    let first = match (at, is_called_off) {
        (At::Idle, _) => "-",
        (At::Post, _) => "200 a",
        (At::Poll, true) => "200 6",
        // The client is told behind the node's last word.
        (At::Poll, false) => "200 6+1",
        (At::OverduePoll, _) => "200 1",
    };
    let next = match (is_called_off, is_polling, node) {
        (true, ..) => "200 a",
        (false, false, _) => "200 1",
        // It has been told already, and nobody knows it here any more: its node is to judge, and does as it did before.
        (false, true, "close" | "garbage") => "502",
        (false, true, "half") => "cut",
        (false, true, "stall") => "504",
        (false, true, _) => "200 a",
    };
    let is_left = is_called_off || is_polling && matches!(node, "200" | "503" | "half");
    let closes = match (is_called_off, node) {
        (true, _) => 0,
        // Some nodes take a close only with nothing in front of it.
        (false, "503") => 2,
        (false, _) => 1,
    };
    format!("{first}; then {next}; closes {closes}, left {}", u8::from(is_left))
}

#[test]
fn a_polling_session_is_closed_whatever_its_node_makes_of_it() {
    let mut wrong = Vec::new();
    for at in [At::Idle, At::Poll, At::OverduePoll, At::Post] {
        for node in NODES {
            for is_called_off in [false, true] {
                if at == At::OverduePoll && is_called_off {
                    continue;
                }
                let (want, got) = (expected(at, node, is_called_off), play(at, node, is_called_off));
                if got != want {
                    wrong.push(format!(
                        "{at:?}, {node}, called off {is_called_off}:\n  is  {got}\n  not {want}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

fn play(at: At, node: &str, is_called_off: bool) -> String {
    let mut got = String::new();
    by_paused_clock(async {
        let is_at = match at {
            At::Idle => "",
            At::Poll => "hold",
            At::OverduePoll => "stall",
            At::Post => "slow",
        };
        // A close may be tried twice.
        let script = match is_called_off {
            true => format!("200 {is_at}"),
            false => format!("200 {is_at} {node} {node}"),
        };
        let stand = Stand::new("", &[&script]);
        let mut client = stand.dial();
        let (opened, mut client) = stand.run(async move { (client.ask(OPEN).await, client) }).await;
        let opened = opened.unwrap().body;
        let sid = opened.split('"').nth(3).unwrap().to_owned();
        let ask = move |method: &str, content: &str| {
            format!(
                "{method} /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: example.com\r\nContent-Length: {}\r\n\r\n{content}",
                content.len()
            )
        };
        let first = match at {
            At::Idle => None,
            At::Poll | At::OverduePoll => Some(ask("GET", "").replace("Content-Length: 0\r\n", "")),
            At::Post => Some(ask("POST", "4hi")),
        };
        let has_first = first.is_some();
        let asking = stand.pulse.spawn(async move {
            let answer = match first {
                Some(first) => client.ask(first.as_bytes()).await,
                None => None,
            };
            (answer, client)
        });
        stand.run(sleep(Duration::from_millis(10))).await;
        let node = stand.members()[0].clone();
        stand.empty(&node, Duration::from_secs(20));
        if is_called_off {
            stand.keep(&node);
            if at == At::Poll {
                // Something is said, and so the node ends the poll.
                let (mut other, post) = (stand.dial(), ask("POST", "4hi"));
                assert_eq!(
                    stand.run(async move { other.ask(post.as_bytes()).await }).await.unwrap().status,
                    200
                );
            }
        }
        let begun = Instant::now();
        let (answer, mut client) = stand.run(async move { asking.await.unwrap() }).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        stand.run(sleep(Duration::from_secs(5))).await;
        let poll = ask("GET", "").replace("Content-Length: 0\r\n", "");
        let next = stand.run(async move { client.ask(poll.as_bytes()).await }).await;
        let is_close = |request: &&Vec<u8>| {
            [&b"\r\n\r\n5\x1e1"[..], b"\r\n\r\n1"].iter().any(|close| request.ends_with(close))
        };
        let closes = stand.nodes[0].heard.borrow().iter().filter(is_close).count();
        let said = |answer: Option<super::Answer>| match answer {
            Some(answer) if answer.status == 200 => format!("200 {}", answer.body.replace('\x1e', "+")),
            Some(answer) => answer.status.to_string(),
            None => "cut".into(),
        };
        let first = if has_first { said(answer) } else { "-".to_owned() };
        got = format!("{first}; then {}; closes {closes}, left {}", said(next), node.sessions());
        stand.check_is_clean().await;
    });
    got
}
