//! Goal: whatever a reload says of a node, it stays the node that it was: what is on it is counted, bounded, drained and
//! found again. Method: for each kind of change, sessions of each kind on two nodes, a reload with that change, and then
//! the questions that people ask; the nodes write down what reaches them.

use testkit::engineio::PollingSession;
use testkit::origin::ScriptedOrigin;
use testkit::raw::get;
use testkit::tidelock::Tidelock;

use crate::stand::{EACH, SECRET, Stand, TIDELOCK, Tunnel, file_of, node, verb};

/// What a reload changes about node A. `{a}` is its address.
const CHANGES: [(&str, &str, &str); 6] = [
    ("weight", SECRET, r#"{ address = "{a}", weight = 2 }"#),
    ("bounds", SECRET, r#"{ address = "{a}", max_connections = 100, max_sessions = 100 }"#),
    ("backup", SECRET, r#"{ address = "{a}", backup = true }"#),
    ("spelling", SECRET, r#""{spelt}""#),
    ("secret", NEW_SECRET, r#""{a}""#),
    ("everything", NEW_SECRET, r#"{ address = "{spelt}", weight = 3, max_sessions = 50 }"#),
];
/// The old one is still believed.
const NEW_SECRET: &str =
    "sticky_secret = [\"another secret of 32 bytes or more\", \"0123456789abcdef0123456789abcdef\"]";

#[tokio::test]
async fn whatever_is_said_of_a_node_it_stays_the_one_it_was() {
    for change in CHANGES {
        let name = change.0;
        let stand = Stand::new("").await;
        let mut crowd = stand.crowd().await;
        let before = stand.status_of(&stand.a).await;
        assert_eq!((&before["sessions"], &before["tunnels"]), (&(4 * EACH).into(), &EACH.into()), "{name}");
        stand.change(change, "").await;

        // What is on it is counted, and nothing of its past is forgotten.
        let after = stand.status_of(&stand.a).await;
        for what in ["sessions", "tunnels", "state", "cause"] {
            assert_eq!(after[what], before[what], "{name}: {what}");
        }
        // Every id leads where it did.
        for session in &crowd.polling {
            let answer = session.poll().await;
            assert_eq!(
                (answer.status(), answer.header("x-node")),
                (200, session.handshake.header("x-node")),
                "{name}"
            );
        }
        // A drain waits for what is there, and tells it.
        let node = stand.a.address().to_string();
        let telling = async {
            for tunnel in crowd.of_a() {
                tunnel.is_told().await;
            }
        };
        let ((code, said), ()) = tokio::join!(async { stand.verb(&["drain", &node]).await }, telling);
        assert!(code == 0 && said.contains("empty"), "{name}: {said}");
        let left = stand.status_of(&stand.a).await;
        assert_eq!((&left["sessions"], &left["tunnels"]), (&0.into(), &0.into()), "{name}");
    }
}

#[tokio::test]
async fn a_node_that_a_reload_takes_out_after_a_change_is_drained() {
    for change in CHANGES {
        let stand = Stand::new("").await;
        let mut crowd = stand.crowd().await;
        stand.change(change, "").await;
        // Out of the file altogether.
        let only_b = format!("\"{}\"", stand.b.address());
        stand.proxy.rewrite(&file_of(&[&only_b], change.1, ""));
        assert_eq!(stand.verb(&["reload"]).await.0, 0);
        assert_eq!(crowd.of_a().count(), EACH, "{}", change.0);
        for tunnel in crowd.of_a() {
            tunnel.is_told().await;
        }
    }
}

#[tokio::test]
async fn bounds_that_a_reload_brings_count_what_is_there() {
    let stand = Stand::new("").await;
    let _crowd = stand.crowd().await;
    // Both nodes carry as much as they may from now on.
    let bounds = 4 * EACH;
    let entry =
        |node: &ScriptedOrigin| format!("{{ address = \"{}\", max_sessions = {bounds} }}", node.address());
    stand.proxy.rewrite(&file_of(&[&entry(&stand.a), &entry(&stand.b)], SECRET, "full_wait = \"0s\"\n"));
    let (code, said) = stand.verb(&["reload"]).await;
    assert_eq!(code, 0, "{said}");
    let answer = get(stand.proxy.address(), "/socket.io/?EIO=4&transport=polling").await;
    assert_eq!(answer.status(), 503, "{}", answer.text());
}

#[tokio::test]
async fn new_sessions_are_spread_evenly_after_a_change() {
    let stand = Stand::new("").await;
    let _crowd = stand.crowd().await;
    stand.change(CHANGES[3], "").await;
    for _ in 0..2 * EACH {
        PollingSession::open(stand.proxy.address(), "EIO=4").await;
    }
    let (a, b) = (stand.status_of(&stand.a).await, stand.status_of(&stand.b).await);
    assert_eq!((&a["sessions"], &b["sessions"]), (&(5 * EACH).into(), &(5 * EACH).into()));
}

#[tokio::test]
async fn a_drain_that_follows_an_undrain_at_once_counts() {
    let stand = Stand::new("").await;
    let node = stand.a.address().to_string();
    let mut crowd = stand.crowd().await;
    let telling = async {
        for tunnel in crowd.of_a() {
            tunnel.is_told().await;
        }
    };
    let draining = async {
        for _ in 0..5 {
            assert_eq!(stand.verb(&["drain", "--no-wait", &node]).await.0, 0);
            assert_eq!(stand.verb(&["undrain", &node]).await.0, 0);
        }
        stand.verb(&["drain", &node]).await
    };
    let ((code, said), ()) = tokio::join!(draining, telling);
    assert_eq!(code, 0, "{said}");
    assert_eq!(stand.status_of(&stand.a).await["draining"], true);
}

/// Nothing is on it, and it takes nothing new all the same.
#[tokio::test]
async fn a_node_that_was_drained_stays_so_whatever_is_said_of_it() {
    for change in CHANGES {
        let stand = Stand::new("").await;
        let (code, said) = stand.verb(&["drain", &stand.a.address().to_string()]).await;
        assert!(code == 0 && said.contains("empty"), "{}: {said}", change.0);
        stand.change(change, "").await;
        assert_eq!(stand.status_of(&stand.a).await["draining"], true, "{}", change.0);
        for _ in 0..2 * EACH {
            let session = PollingSession::open(stand.proxy.address(), "EIO=4").await;
            assert_eq!(session.handshake.header("x-node"), Some("b"), "{}", change.0);
        }
    }
}

/// A tunnel that was told to leave, and then was not, is as old as before.
#[tokio::test]
async fn a_drain_that_is_called_off_does_not_make_a_tunnel_younger() {
    let node = node("a").await;
    let address = node.address().to_string();
    let file = file_of(&[&format!("\"{address}\"")], SECRET, "");
    let file = file.replace("\"0s\"", "\"10m\"").replace("\"20s\"", "\"10m\"");
    let proxy = Tidelock::start(TIDELOCK, &(file + "[limits]\ntunnel_age_max = \"2s\"\n")).await;
    let mut tunnel = Tunnel::open(&proxy).await;
    assert_eq!(verb(proxy.directory(), &["drain", "--no-wait", &address]).await.0, 0);
    assert_eq!(verb(proxy.directory(), &["undrain", &address]).await.0, 0);
    tunnel.is_told().await;
}
