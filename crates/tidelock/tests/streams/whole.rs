//! Everything that is no EventSource's: it is waited for, told by its name, and never made to look whole.

use testkit::process::{Signal, tells};
use testkit::raw::End;

use super::*;

/// Requests and answers that nobody would bring back by himself, and for whom a proper end is the whole answer.
const LONG: &[(&str, &str, &str)] = &[
    ("a reader with fetch", "Accept: text/event-stream\r\n", "Content-Type: text/event-stream\r\n"),
    (
        "a cache is welcome",
        "Accept: */*\r\nCache-Control: no-cache\r\n",
        "Content-Type: text/event-stream\r\n",
    ),
    ("lines of JSON", EVENT_SOURCE, "Content-Type: application/x-ndjson\r\n"),
    ("a coded stream", EVENT_SOURCE, "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"),
];

#[tokio::test]
async fn long_answers_are_waited_for() {
    let (proxy, node) = stand("window = \"0s\"\ndeadline = \"20s\"\n").await;
    let mut open = Vec::new();
    for (_, asked, answered) in LONG {
        let head = format!("HTTP/1.1 200 OK\r\n{answered}Transfer-Encoding: chunked\r\n\r\n");
        open.push(Stream::open(&proxy, &node, &get(asked), &head).await);
    }
    let post = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n{EVENT_SOURCE}\r\n{{}}");
    open.push(Stream::open(&proxy, &node, &post, &events("Transfer-Encoding: chunked\r\n")).await);
    for stream in &mut open {
        stream.node.send(chunk("data: a\n\n")).await;
    }
    let mut sentinel = Stream::event_source(&proxy, &node).await;
    let seen = until_node(&proxy, |node| node["long_answers"] == open.len()).await;
    assert_eq!((&seen["event_streams"], &seen["in_flight"]), (&1.into(), &6.into()), "{seen:#}");
    let drain = verb(&proxy, &["drain", "nodes"]);
    let ((code, said), ()) = tokio::join!(drain, async {
        assert_eq!(sentinel.client.read_to_end().await, (Vec::new(), End::Closed));
        for Stream { client, node } in &mut open {
            node.send(chunk("data: b\n\n") + "0\r\n\r\n").await;
            let whole = client.read_until("0\r\n\r\n").await;
            assert_eq!(unchunk(&whole), ("data: a\n\ndata: b\n\n".to_owned(), true));
        }
    });
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn what_is_left_is_told_by_kind_with_its_clients() {
    let (mut proxy, node) = stand("window = \"0s\"\ndeadline = \"300ms\"\n").await;
    let mut stream = Stream::event_source(&proxy, &node).await;
    // It is never at a border.
    stream.node.send(chunk("data: a")).await;
    stream.client.read_exactly(12).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n";
    let _download = Stream::open(&proxy, &node, &get("X-Forwarded-For: 192.0.2.1\r\n"), head).await;
    until_node(&proxy, |node| node["long_answers"] == 1).await;
    let (code, said) = verb(&proxy, &["drain", "nodes"]).await;
    assert_eq!(code, 1, "{said}");
    let address = node.address();
    for part in [
        format!("nodes/{address}: 1 event stream (127.0.0.1), 1 long answer (127.0.0.1) left"),
        format!("`tidelock drain nodes/{address}`"),
    ] {
        assert!(said.contains(&part), "{part} in {said}");
    }
    let line = proxy.process().wait_for_line(|line| tells(line, "node_drained")).await;
    assert!(line.contains("1 event stream (127.0.0.1), 1 long answer (127.0.0.1)"), "{line}");
    let (_, table) = verb(&proxy, &["status"]).await;
    assert!(table.contains("EVENT STREAMS") && table.contains("LONG ANSWERS"), "{table}");
}

/// tidelock's own end cuts what is left, and nobody takes it for whole: neither without a last chunk, nor short of its
/// length, nor where only the end of the connection would tell.
#[tokio::test]
async fn at_the_end_of_tidelock_nothing_looks_whole() {
    let (mut proxy, node) = stand("window = \"0s\"\ndeadline = \"400ms\"\n").await;
    let http_10 = get("").replace("HTTP/1.1", "HTTP/1.0");
    let cases = [
        (get(""), "Content-Length: 1000000\r\n", End::Closed),
        (get(""), "Transfer-Encoding: chunked\r\n", End::Closed),
        (get(""), "", End::Closed),
        (http_10.clone(), "Content-Length: 1000000\r\n", End::Closed),
        (http_10.clone(), "Transfer-Encoding: chunked\r\n", End::Reset),
        (http_10, "", End::Reset),
    ];
    let mut open = Vec::new();
    for (asked, framing, want) in &cases {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{framing}\r\n");
        let mut stream = Stream::open(&proxy, &node, asked, &head).await;
        let content = if framing.contains("chunked") { chunk("abc") } else { "abc".to_owned() };
        stream.node.send(content).await;
        open.push((stream, asked, framing, *want));
    }
    proxy.process().signal(Signal::TERM);
    for (mut stream, asked, framing, want) in open {
        let (got, end) = stream.client.read_to_end().await;
        assert_eq!(end, want, "{asked:?} {framing:?}");
        assert!(!got.ends_with(b"0\r\n\r\n") && got.len() < 20, "{got:?}");
    }
    proxy.process().exit().await;
}
