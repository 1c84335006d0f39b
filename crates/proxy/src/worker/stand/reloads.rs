//! What becomes of a request that waits while a reload changes what it waits for: whatever it was, and whatever the plan
//! says now, it goes where the newest plan has it, in its turn, and for no longer than it would have waited without.
//!
//! Planted to see it fail: the path of the plan before, kept by `answer::answer` when it asks anew, makes 10 of its rows red.

use std::rc::Rc;
use std::time::Duration;

use config::plan::NodeBounds;
use tokio::time::{Instant, sleep};

use super::{Client, Stand, by_paused_clock, plan_of};
use crate::control::drain::rebalance::is_calm;

/// What a request waits for, on node "a" alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Its turn: the node has just had a new session, and takes one in a second.
    Turn,
    /// Room: the node has its one session.
    Room,
    /// A node that can be reached.
    Reachable,
    /// The answer to its first try, which does not come in time.
    Answer,
    /// Its turn at another node, after that one has not answered in time.
    SecondTurn,
    /// A file that is not there, in front of its upstream.
    File,
}

/// What the reload does meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// "b" in the place of "a".
    OtherNode,
    /// The route leads to another upstream, whose node is "b".
    OtherUpstream,
    /// The same with what the route says of the path.
    Rewrites,
    /// The route answers by itself.
    Answers,
}

const WAITS: [Wait; 6] =
    [Wait::Turn, Wait::Room, Wait::Reachable, Wait::Answer, Wait::SecondTurn, Wait::File];
const CHANGES: [Change; 4] = [Change::OtherNode, Change::OtherUpstream, Change::Rewrites, Change::Answers];
const OPEN: &[u8] = b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: example.com\r\n\r\n";

#[test]
fn whoever_waits_goes_where_the_newest_plan_says() {
    let mut wrong = Vec::new();
    for wait in WAITS {
        for change in CHANGES {
            for was_rewritten in [false, true] {
                let path = if change == Change::Rewrites { "/new/socket.io/" } else { "/socket.io/" };
                let want = match change {
                    Change::Answers => "own".to_owned(),
                    _ => format!("b {path}"),
                };
                let got = open(wait, change, was_rewritten);
                if got != want {
                    wrong.push(format!(
                        "{wait:?}, {change:?}, rewritten before {was_rewritten}: {got}, not {want}"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows:\n{}", wrong.len(), wrong.join("\n"));
}

/// Where a session begins whose client waits during the reload, and for which path its node is asked.
fn open(wait: Wait, change: Change, was_rewritten: bool) -> String {
    let mut got = String::new();
    by_paused_clock(async {
        let first = match wait {
            Wait::Reachable => "refuse",
            Wait::Answer | Wait::SecondTurn => "stall",
            Wait::Turn | Wait::Room | Wait::File => "200",
        };
        let stand = Rc::new(Stand::new("", &[first, "200"]));
        let settings =
            "handshake_wait = \"60s\"\nfull_wait = \"60s\"\ndown_wait = \"60s\"\ntry_timeout = \"5s\"";
        let rate =
            if matches!(wait, Wait::Turn | Wait::SecondTurn) { "handshake_rate = \"1/s\"" } else { "" };
        let files = if wait == Wait::File { "files = \"/\"" } else { "" };
        let rewrite = |is_rewritten: bool| if is_rewritten { "rewrite = \"/new{path}\"" } else { "" };
        let nodes =
            |name: &str| format!("[upstream.{name}]\nnodes = [\"127.0.0.1:1\"]\n{settings}\n{rate}\n");
        let before = format!("upstream = \"nodes\"\n{files}\n{}\n{}", rewrite(was_rewritten), nodes("nodes"));
        let bounds = NodeBounds { sessions_max: (wait == Wait::Room).then_some(1), connections_max: None };
        // A try that may be given up needs another node.
        let spare = matches!(wait, Wait::Answer | Wait::SecondTurn).then(|| stand.entry(0, bounds));
        stand
            .put(plan_of(&before), &[("nodes", [stand.entry(0, bounds)].into_iter().chain(spare).collect())]);
        let mut earlier = stand.dial();
        if matches!(wait, Wait::Turn | Wait::Room) {
            let answer = stand.run(async move { earlier.ask(OPEN).await }).await;
            let answer = answer.unwrap();
            assert!(answer.body.contains("\"sid\":\"a"), "{wait:?}: {} {}", answer.status, answer.body);
        }
        let held = (wait == Wait::File).then(|| stand.worker.local.files.hold_openings());
        let mut client = stand.dial();
        let asking = stand.pulse.spawn(async move { client.ask(OPEN).await });
        if wait == Wait::SecondTurn {
            stand.run(sleep(Duration::from_millis(4900))).await;
            let mut other = stand.dial();
            let answer = stand.run(async move { other.ask(OPEN).await }).await.unwrap();
            assert_eq!(answer.status, 200, "it takes the other one's turn");
        }
        stand.run(sleep(Duration::from_millis(300))).await;
        assert!(!asking.is_finished(), "{wait:?} is no wait");
        let b = || vec![stand.entry(1, NodeBounds::default())];
        match change {
            Change::OtherNode => {
                let after = format!("upstream = \"nodes\"\n{files}\n{}", nodes("nodes"));
                stand.put(plan_of(&after), &[("nodes", b())]);
            }
            Change::OtherUpstream => {
                let after = format!("upstream = \"others\"\n{files}\n{}{}", nodes("nodes"), nodes("others"));
                let a = vec![stand.entry(0, bounds)];
                stand.put(plan_of(&after), &[("nodes", a), ("others", b())]);
            }
            Change::Rewrites => {
                let after = format!("upstream = \"nodes\"\n{files}\n{}\n{}", rewrite(true), nodes("nodes"));
                stand.put(plan_of(&after), &[("nodes", b())]);
            }
            Change::Answers => {
                let after = format!("respond = {{ status = 200, text = \"own\" }}\n{}", nodes("nodes"));
                stand.put(plan_of(&after), &[("nodes", b())]);
            }
        }
        drop(held);
        let answer = stand.run(async move { asking.await.unwrap() }).await;
        got = match answer {
            Some(answer) if answer.body.contains("\"sid\":") => {
                let node = &answer.body.split('"').nth(3).unwrap()[..1];
                let heard = &stand.nodes[usize::from(node == "b")].heard.borrow();
                let asked = String::from_utf8(heard.last().unwrap().clone()).unwrap();
                format!("{node} {}", asked.split([' ', '?']).nth(1).unwrap())
            }
            Some(answer) => answer.body,
            None => "cut".to_owned(),
        };
        stand.check_is_clean().await;
    });
    got
}

/// Ten wait for their turns; every second something of the plan changes, and somebody new comes.
#[test]
fn a_reload_changes_nobodys_turn_and_nobodys_timeout() {
    by_paused_clock(async {
        let stand = Rc::new(Stand::new("handshake_rate = \"1/s\"\nhandshake_wait = \"12500ms\"", &["200"]));
        let begun = Instant::now();
        let mut asking = Vec::new();
        for second in 0..15 {
            // Those who come later find others in front of them, and not all can wait so long.
            for who in 0..if second == 0 { 10 } else { 1 } {
                let mut client: Client = stand.dial();
                let who = second * 10 + who;
                asking.push(stand.pulse.spawn(async move {
                    let answer = client.ask(OPEN).await.expect("nobody is cut");
                    (answer.status, begun.elapsed().as_millis() / 100, who)
                }));
                // In this order.
                stand.run(sleep(Duration::from_millis(1))).await;
            }
            stand.run(sleep(Duration::from_millis(400))).await;
            stand.reload("handshake_rate = \"1/s\"\nhandshake_wait = \"12500ms\"", &[1]);
            stand.run(sleep(Duration::from_millis(590))).await;
        }
        let mut answers = stand
            .run(async move {
                let mut answers = Vec::new();
                for asking in asking {
                    answers.push(asking.await.unwrap());
                }
                answers
            })
            .await;
        answers.sort_by_key(|(_, at, _)| *at);
        let begun: Vec<_> = answers.iter().filter(|(status, ..)| *status == 200).collect();
        let order: Vec<_> = begun.iter().map(|(.., who)| *who).collect();
        assert!(order.is_sorted(), "{begun:?}");
        assert!(begun.is_sorted_by(|before, after| before.1 + 9 <= after.1), "{begun:?}");
        assert!(begun.len() >= 20, "{begun:?}");
        for (status, at, who) in answers.iter().filter(|(status, ..)| *status != 200) {
            let waited = at - u128::try_from(who / 10).unwrap() * 10;
            assert!(*status == 503 && waited <= 126, "{who} has waited for {waited}: {status}");
        }
        stand.check_is_clean().await;
    });
}

/// As when the proxy has restarted: only the tag in the session's id leads to its node, which the proxy then learns by its
/// answer. That comes when a reload has taken the node out.
#[test]
fn a_session_that_is_met_while_its_node_is_taken_out_keeps_it() {
    by_paused_clock(async {
        let stand = Rc::new(Stand::new("", &["200 hold", "200"]));
        let mut client = stand.dial();
        let (opened, client) = stand.run(async move { (client.ask(OPEN).await, client) }).await;
        let opened = opened.unwrap().body;
        let sid = opened.split('"').nth(3).unwrap().to_owned();
        stand.upstream().session_table.forget(&stand.members()[0]);
        let ask = |method: &str, content: &str| {
            let length = content.len();
            format!(
                "{method} /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: example.com\r\nContent-Length: {length}\r\n\r\n{content}"
            )
        };
        let (poll, post) = (ask("GET", ""), ask("POST", "4hi"));
        let polling = stand.pulse.spawn({
            let (mut client, poll) = (client, poll.clone());
            async move { (client.ask(poll.as_bytes()).await, client) }
        });
        stand.run(sleep(Duration::from_millis(100))).await;
        stand.reload("", &[0, 1]);
        let mut other = stand.dial();
        let answer = stand.run(async move { other.ask(post.as_bytes()).await }).await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "a"));
        let (polled, mut client) = stand.run(async move { polling.await.unwrap() }).await;
        assert_eq!(polled.unwrap().body, "6");
        let polled = stand.run(async move { client.ask(poll.as_bytes()).await }).await.unwrap();
        assert_eq!((polled.status, polled.body.as_str()), (200, "a"));
        stand.check_is_clean().await;
    });
}

/// What a node has that was taken out counts for as long as it has it, and not until the next reload.
#[test]
fn a_node_that_is_gone_and_empty_is_in_nobodys_way() {
    by_paused_clock(async {
        let stand = Rc::new(Stand::new("", &["200", "200"]));
        let mut client = stand.dial();
        let opened = stand.run(async move { client.ask(OPEN).await }).await.unwrap().body;
        let gone = stand.members().remove(0);
        assert_eq!(gone.sessions(), 1, "{opened}");
        stand.reload("", &[0, 1]);
        let stranger = b"GET /socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\nHost: example.com\r\n\r\n";
        let mut others = [stand.dial(), stand.dial()];
        // It may be one of the node that has left.
        let (unknown, mut others) = stand.run(async move { (others[0].ask(stranger).await, others) }).await;
        assert_eq!(unknown.unwrap().status, 400);
        assert!(!is_calm(&stand.upstream(), Duration::ZERO, Instant::now()));
        stand.upstream().session_table.forget(&gone);
        assert!(is_calm(&stand.upstream(), Duration::ZERO, Instant::now()));
        let known = stand.run(async move { others[1].ask(stranger).await }).await.unwrap();
        assert_eq!((known.status, known.body.as_str()), (200, "b"));
        stand.check_is_clean().await;
    });
}
