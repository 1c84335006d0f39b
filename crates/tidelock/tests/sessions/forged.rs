//! Goal: a client that knows one session's id gains nothing for any other. Method: ids that nobody gave, with the tag of a
//! true one behind them, sent as fast as they go; then what the nodes saw, what is counted, and who still gets in.

use testkit::engineio::PollingSession;
use testkit::raw::{RawConnection, get};
use testkit::tidelock::Tidelock;

use crate::stand::{EACH, SECRET, Stand, TIDELOCK, file_of, node};

const TAG_BYTES: usize = 8;

#[tokio::test]
async fn ids_that_nobody_gave_count_nothing_and_reach_nobody() {
    let stand = Stand::new("").await;
    let session = PollingSession::open(stand.proxy.address(), "EIO=4").await;
    let tag = &session.sid[session.sid.len() - TAG_BYTES..];
    let seen = stand.a.requests().len() + stand.b.requests().len();
    let mut connection = RawConnection::connect(stand.proxy.address()).await;
    for number in 0..500 {
        let request = format!(
            "GET /evil/{number}?EIO=4&transport=polling&sid=nobody-{number:08}{tag} HTTP/1.1\r\nHost: internal.example\r\n\r\n"
        );
        let answer = connection.try_ask(&request).await.expect("an answer");
        assert_eq!(answer.status(), 400, "{}", answer.text());
    }
    assert_eq!(stand.a.requests().len() + stand.b.requests().len(), seen, "no node was asked");
    // The balance is as if they had never been.
    for _ in 0..2 * EACH - 1 {
        PollingSession::open(stand.proxy.address(), "EIO=4").await;
    }
    for node in [&stand.a, &stand.b] {
        assert_eq!(stand.status_of(node).await["sessions"], EACH);
    }
    // And it is said that somebody signs with another secret.
    let (_, status) = stand.verb(&["status"]).await;
    assert!(status.contains("session ids or cookies that another secret has signed, 500 times"), "{status}");
}

/// A session of another tidelock comes in by the answer of its node, and not before.
#[tokio::test]
async fn a_session_of_another_tidelock_counts_once_its_node_has_answered() {
    let stand = Stand::new("").await;
    let other = Tidelock::start(
        TIDELOCK,
        &file_of(&[&format!("\"{}\"", stand.a.address()), &format!("\"{}\"", stand.b.address())], SECRET, ""),
    )
    .await;
    let session = PollingSession::open(other.address(), "EIO=4").await;
    let here = session.at(stand.proxy.address());
    assert_eq!(here.post("40").await.text(), "ok");
    let mut sessions = 0;
    for node in [&stand.a, &stand.b] {
        sessions += stand.status_of(node).await["sessions"].as_u64().expect("a number");
    }
    assert_eq!(sessions, 1);
}

/// Whoever fills the memory of sessions shuts nobody out, of whatever revision.
#[tokio::test]
async fn a_full_memory_of_sessions_lets_new_ones_in() {
    let (a, b) = (node("a").await, node("b").await);
    let entries = [a.address(), b.address()].map(|address| format!("\"{address}\""));
    let entries = entries.each_ref().map(String::as_str);
    let proxy =
        Tidelock::start(TIDELOCK, &(file_of(&entries, SECRET, "") + "[limits]\nsessions_max = 1000\n")).await;
    let mut connection = RawConnection::connect(proxy.address()).await;
    for _ in 0..1500 {
        let request = "GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(connection.try_ask(request).await.expect("an answer").status(), 200);
    }
    for query in ["EIO=3", "EIO=3&j=0", "EIO=4", "EIO=4&j=0"] {
        for _ in 0..4 {
            let session = PollingSession::open(proxy.address(), query).await;
            let answer = session.poll().await;
            assert_eq!(
                (answer.status(), answer.header("x-node")),
                (200, session.handshake.header("x-node")),
                "{query}"
            );
        }
    }
}

/// An app that says what it was asked for opens no session, and sets no timeout.
#[tokio::test]
async fn an_echo_is_no_handshake() {
    let stand = Stand::new("").await;
    let answer = get(stand.proxy.address(), "/echo?EIO=4&transport=polling&x=0{%22sid%22:%22abc%22}").await;
    assert_eq!(answer.status(), 200);
    for node in [&stand.a, &stand.b] {
        assert_eq!(stand.status_of(node).await["sessions"], 0);
    }
}
