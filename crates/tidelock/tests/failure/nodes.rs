//! Nodes that refuse, die and come back: who is asked again, and how often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use testkit::origin::{Absent, ScriptedOrigin, Step};
use testkit::process::tells;
use testkit::raw::{RawConnection, get};

use crate::{
    GET, HANDSHAKE, OK, POST, WEBSOCKET, answering, ask, asked, opened, sid_of, start, starts, switched,
};

/// Answers once and then never again: an idle connection that dies at the moment it is used again.
async fn dies_when_reused() -> ScriptedOrigin {
    let mut first = true;
    ScriptedOrigin::start(move |_| {
        let step = if first { Step::send(OK) } else { Step::Close };
        first = false;
        vec![step]
    })
    .await
}

#[tokio::test]
async fn a_node_that_refuses_is_skipped_by_everything() {
    let absent = Absent::bind();
    let origin = ScriptedOrigin::start(|request| match request.start.as_str() {
        start if start.contains("transport=polling") => vec![opened("abcdefghijklmnopqrst")],
        start if start.contains("/ws") => vec![switched(), Step::Echo],
        start if start.starts_with("HEAD") => {
            vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")]
        }
        _ => vec![Step::send(OK)],
    })
    .await;
    let requests = [GET, &GET.replace("GET", "HEAD"), HANDSHAKE, WEBSOCKET, POST];
    for request in requests {
        // A proxy of its own for each, so that each meets a node that nobody has missed yet.
        let mut proxy = start(&[absent.address(), origin.address()], "").await;
        for round in 0..4 {
            let mut client = RawConnection::connect(proxy.address()).await;
            client.send(request).await;
            let want = if request == WEBSOCKET { 101 } else { 200 };
            assert_eq!(client.read_head().await.status(), want, "round {round} of {request:?}");
        }
        proxy.process().wait_for_line(|line| tells(line, "node_down")).await;
    }
    assert_eq!(origin.requests().len(), requests.len() * 4);
}

#[tokio::test]
async fn a_get_that_got_no_answer_is_asked_of_the_next_node() {
    let dying = ScriptedOrigin::start(|_| vec![Step::Close]).await;
    let origin = answering().await;
    let proxy = start(&[dying.address(), origin.address()], "").await;
    for _ in 0..4 {
        assert_eq!(ask(&proxy, GET).await.status(), 200);
    }
    assert!(!dying.requests().is_empty());
    assert_eq!(origin.requests().len(), 4);
}

/// It may have been done: nobody does it twice.
#[tokio::test]
async fn a_post_that_may_have_arrived_is_not_sent_again() {
    let dying = ScriptedOrigin::start(|_| vec![Step::Close]).await;
    let other = ScriptedOrigin::start(|_| vec![Step::Close]).await;
    let proxy = start(&[dying.address(), other.address()], "").await;
    let answer = ask(&proxy, POST).await;
    assert_eq!((answer.status(), answer.text().as_str()), (502, "502 Bad Gateway\n"));
    assert_eq!(asked(&dying) + asked(&other), 1);
}

#[tokio::test]
async fn a_get_survives_the_end_of_an_idle_connection() {
    let mut asked = 0;
    let origin = ScriptedOrigin::start(move |_| {
        asked += 1;
        // The second request comes on the first connection, and the third is the second again.
        vec![if asked == 2 { Step::Close } else { Step::send(OK) }]
    })
    .await;
    let proxy = start(&[origin.address()], "").await;
    for _ in 0..2 {
        assert_eq!(ask(&proxy, GET).await.status(), 200);
    }
    assert_eq!((origin.requests().len(), origin.connections()), (3, 2));
}

/// If the fresh connection dies as well, it is the node.
#[tokio::test]
async fn a_get_is_repeated_once_at_a_node_that_dies_again() {
    let origin = dies_when_reused().await;
    let proxy = start(&[origin.address()], "").await;
    assert_eq!(ask(&proxy, GET).await.status(), 200);
    assert_eq!(ask(&proxy, GET).await.status(), 502);
    assert_eq!(asked(&origin), 3);
}

#[tokio::test]
async fn a_post_does_not_survive_it_and_is_not_repeated() {
    let origin = dies_when_reused().await;
    let proxy = start(&[origin.address()], "").await;
    assert_eq!(ask(&proxy, GET).await.status(), 200);
    assert_eq!(ask(&proxy, POST).await.status(), 502);
    assert_eq!(starts(&origin), ["GET / HTTP/1.1", "POST / HTTP/1.1"]);
}

/// A connection that was closed while it was idle is noticed before anything is sent on it, also for a POST.
#[tokio::test]
async fn a_connection_that_closed_while_idle_is_not_used() {
    let origin = ScriptedOrigin::start(|_| vec![Step::send(OK), Step::Close]).await;
    let proxy = start(&[origin.address()], "").await;
    for ended in 1..5 {
        assert_eq!(ask(&proxy, POST).await.status(), 200);
        origin.until_ended(ended).await;
    }
    assert_eq!((origin.requests().len(), origin.connections()), (4, 4));
}

/// Engine.IO allows one poll at a time: a second one at the node would end the session.
#[tokio::test]
async fn a_poll_goes_to_its_node_once_more_and_no_further() {
    for (lives_again, want) in [(true, 200), (false, 502)] {
        let session = move || {
            let mut polls = 0;
            ScriptedOrigin::start(move |request| {
                if !request.start.contains("sid=") {
                    return vec![opened("abcdefghijklmnopqrst")];
                }
                polls += 1;
                vec![if polls > 1 && lives_again { Step::send(OK) } else { Step::Close }]
            })
        };
        let nodes = [session().await, session().await];
        let proxy = start(&nodes.each_ref().map(ScriptedOrigin::address), "").await;
        let sid = sid_of(&ask(&proxy, HANDSHAKE).await);
        let poll = HANDSHAKE.replace("polling ", &format!("polling&sid={sid} "));
        let answer = ask(&proxy, poll).await;
        assert_eq!(answer.status(), want, "{}", answer.text());
        let mut polls = nodes.each_ref().map(|node| {
            node.requests()
                .iter()
                .filter(|request| request.start.contains("sid=abcdefghijklmnopqrst HTTP"))
                .count()
        });
        polls.sort_unstable();
        assert_eq!(polls, [0, 2], "once, and once more at the same node");
    }
}

#[tokio::test]
async fn a_post_of_a_session_is_sent_once() {
    let origin = ScriptedOrigin::start(|request| {
        vec![if request.start.contains("sid=") { Step::Close } else { opened("abcdefghijklmnopqrst") }]
    })
    .await;
    let other = ScriptedOrigin::start(|_| vec![Step::Close]).await;
    let proxy = start(&[origin.address()], "").await;
    let sid = sid_of(&ask(&proxy, HANDSHAKE).await);
    let post = format!(
        "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: a\r\nOrigin: https://page.example\r\n\
         Content-Length: 2\r\n\r\n40"
    );
    let answer = ask(&proxy, post).await;
    assert_eq!(answer.status(), 502);
    assert_eq!(answer.text(), r#"{"code":3,"message":"Bad Gateway"}"#);
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://page.example"));
    assert_eq!((asked(&origin), asked(&other)), (2, 0));
}

#[tokio::test]
async fn a_node_that_returns_is_given_work_again() {
    let absent = Absent::bind();
    let origin = answering().await;
    // In a slow start it would have to wait for its turn.
    let at_once = "[upstream.nodes.health]\nslow_start = \"0s\"\n";
    let mut proxy = start(&[absent.address(), origin.address()], at_once).await;
    for _ in 0..2 {
        assert_eq!(ask(&proxy, GET).await.status(), 200);
    }
    proxy.process().wait_for_line(|line| tells(line, "node_down")).await;
    let returned = ScriptedOrigin::start_on(absent.appear(16), |_| vec![Step::send(OK)]);
    proxy.process().wait_for_line(|line| tells(line, "node_up")).await;
    for _ in 0..4 {
        assert_eq!(ask(&proxy, GET).await.status(), 200);
    }
    assert_eq!(asked(&returned), 2, "ties take turns");
}

/// Whatever is known of the last node is old: it is asked all the same.
#[tokio::test]
async fn the_last_node_is_never_taken_out() {
    let absent = Absent::bind();
    let mut proxy = start(&[absent.address()], "").await;
    for _ in 0..5 {
        let answer = ask(&proxy, GET).await;
        assert_eq!((answer.status(), answer.text().as_str()), (503, "503 Service Unavailable\n"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }
    proxy.process().wait_for_line(|line| tells(line, "node_down")).await;
    let _returned = ScriptedOrigin::start_on(absent.appear(16), |_| vec![Step::send(OK)]);
    assert_eq!(ask(&proxy, GET).await.status(), 200, "at the first request after its return");
}

#[tokio::test]
async fn failures_in_a_row_take_a_node_out_and_it_comes_back() {
    // Well again once it is known to be down: tidelock's own probes count as much as requests, and come when they come.
    let is_well = Arc::new(AtomicBool::new(false));
    let seen_from_there = is_well.clone();
    let flaky = ScriptedOrigin::start(move |_| {
        vec![if seen_from_there.load(Relaxed) { Step::send(OK) } else { Step::Close }]
    })
    .await;
    let origin = answering().await;
    let mut proxy = start(&[flaky.address(), origin.address()], "").await;
    for _ in 0..8 {
        assert_eq!(ask(&proxy, GET).await.status(), 200);
    }
    proxy.process().wait_for_line(|line| tells(line, "node_down")).await;
    is_well.store(true, Relaxed);
    proxy.process().wait_for_line(|line| tells(line, "node_up")).await;
}

#[tokio::test]
async fn a_refused_engine_io_request_is_told_in_its_own_words() {
    let absent = Absent::bind();
    let proxy = start(&[absent.address()], "").await;
    let answer = ask(&proxy, HANDSHAKE).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.text(), r#"{"code":3,"message":"Service Unavailable"}"#);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://page.example"));
    assert_eq!(answer.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    // HEAD gets the head alone, and the connection goes on behind it.
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET.replace("GET", "HEAD")).await;
    assert_eq!(client.read_head().await.status(), 503);
    client.send(GET).await;
    assert_eq!(client.read_message().await.status(), 503);
}

#[tokio::test]
async fn a_name_without_an_address_is_a_503() {
    let config = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n\
                  [upstream.nodes]\nnodes = [\"tidelock.invalid:3000\"]\n";
    let proxy = testkit::tidelock::Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), config).await;
    let answer = get(proxy.address(), "/").await;
    assert_eq!((answer.status(), answer.text().as_str()), (503, "503 Service Unavailable\n"));
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_host_and_path_without_a_route_are_a_404() {
    let config = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nhost = \"a\"\npath = \"/app\"\nupstream = \"nodes\"\n\
                  [upstream.nodes]\nnodes = [\"127.0.0.1:1\"]\n";
    let proxy = testkit::tidelock::Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), config).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    for request in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /app HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET /apple HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        client.send(request).await;
        let answer = client.read_message().await;
        assert_eq!((answer.status(), answer.text().as_str()), (404, "404 no route for this host and path\n"));
    }
}

/// Nothing was sent to the node whose connection never came about, so that even a POST may go elsewhere.
#[tokio::test]
async fn a_connect_that_takes_too_long_is_skipped() {
    let full = Absent::bind().appear(0);
    let _queued = RawConnection::connect(full.address()).await;
    let origin = answering().await;
    let more = "[timeouts]\nconnect = \"100ms\"\n";
    for request in [GET, POST] {
        let proxy = start(&[full.address(), origin.address()], more).await;
        for _ in 0..2 {
            assert_eq!(ask(&proxy, request).await.status(), 200);
        }
    }
    let proxy = start(&[full.address()], more).await;
    let answer = ask(&proxy, GET).await;
    assert_eq!((answer.status(), answer.text().as_str()), (504, "504 Gateway Timeout\n"));
    assert_eq!(origin.requests().len(), 4);
}
