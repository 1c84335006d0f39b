//! Where the stream of an EventSource is cut, to the byte.

use testkit::process::Signal;
use testkit::raw::End;

use super::*;

/// What the client gets of `before`, which is sent first, and `after`, which comes when its turn is there.
async fn check(framing: &str, (before, after): (&str, &str), want: &str) {
    let (proxy, node) = stand("window = \"0s\"\ndeadline = \"20s\"\n").await;
    let is_chunked = framing.contains("chunked");
    let piece = |content: &str| if is_chunked { chunk(content) } else { content.to_owned() };
    let mut stream = Stream::open(&proxy, &node, &get(EVENT_SOURCE), &events(framing)).await;
    if !before.is_empty() {
        stream.node.send(piece(before)).await;
    }
    // The younger one is told behind the older one, so that its end shows that both were told.
    let mut younger = Stream::event_source(&proxy, &node).await;
    let drain = verb(&proxy, &["drain", "nodes"]);
    let ((code, said), got) = tokio::join!(drain, async {
        assert_eq!(younger.client.read_to_end().await, (Vec::new(), End::Closed));
        if !after.is_empty() {
            stream.node.send(piece(after)).await;
        }
        let (got, end) = stream.client.read_to_end().await;
        assert_eq!(end, End::Closed, "a reset could eat the last event");
        // The node is told by the end of its connection.
        stream.node.read_to_end().await;
        got
    });
    let got = match framing.contains("Content-Length") {
        true => String::from_utf8(got).expect("text"),
        false => {
            let (content, is_whole) = unchunk(&got);
            assert!(!is_whole, "an end without its last chunk");
            content
        }
    };
    assert_eq!(got, want, "{framing:?}, {before:?}, {after:?}");
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn it_is_cut_after_a_blank_line_of_any_kind() {
    for (before, after, want) in [
        ("data: a\n\n", "", "data: a\n\n"),
        ("data: a\ndat", "a: b\n\ndata: c\n\nda", "data: a\ndata: b\n\n"),
        ("data: a\r\n", "\r\ndata: b", "data: a\r\n\r\n"),
        ("data: a\r\n\r", "\n", "data: a\r\n\r\n"),
        ("data: a\r", "\rdata: b", "data: a\r\r"),
        ("data: a\n\r\n: ping\n", "", "data: a\n\r\n: ping\n"),
        ("", "", ""),
    ] {
        check("Transfer-Encoding: chunked\r\n", (before, after), want).await;
    }
}

#[tokio::test]
async fn however_its_answer_is_framed() {
    for framing in ["", "Content-Length: 100000\r\n"] {
        check(framing, ("data: a\ndat", "a: b\n\ndata: c"), "data: a\ndata: b\n\n").await;
        check(framing, ("data: a\n\n", ""), "data: a\n\n").await;
    }
}

/// The blank line may be anywhere in a read, and a chunk of the node's may hold several events, or half of one.
#[tokio::test]
async fn it_is_found_in_pieces_of_one_byte() {
    let (proxy, node) = stand("window = \"0s\"\ndeadline = \"20s\"\n").await;
    let mut stream = Stream::event_source(&proxy, &node).await;
    let mut younger = Stream::event_source(&proxy, &node).await;
    stream.node.send(chunk("data: a")).await;
    assert_eq!(stream.client.read_exactly(12).await, chunk("data: a").as_bytes());
    let drain = verb(&proxy, &["drain", "nodes"]);
    let ((code, said), ()) = tokio::join!(drain, async {
        younger.client.read_to_end().await;
        let rest = chunk("\r\nid: 1\r\n\r\ndata: b\r\n\r\n");
        // Behind the border tidelock takes no more.
        for byte in rest.bytes() {
            let _ = stream.node.try_send([byte]).await;
        }
        let (content, is_whole) = unchunk(&stream.client.read_to_end().await.0);
        assert_eq!((content.as_str(), is_whole), ("\r\nid: 1\r\n\r\n", false));
    });
    assert_eq!(code, 0, "{said}");
}

/// The oldest are first, so that who has just come from another node is not sent on at once.
#[tokio::test]
async fn the_oldest_go_first() {
    let (proxy, node) = stand("window = \"500ms\"\ndeadline = \"20s\"\n").await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        streams.push(Stream::event_source(&proxy, &node).await);
    }
    let ended = std::sync::Mutex::new(Vec::new());
    let ended_one = async |index: usize, mut stream: Stream| {
        stream.client.read_to_end().await;
        ended.lock().expect("nobody panics").push(index);
    };
    let mut numbered = streams.into_iter().enumerate().map(|(index, stream)| ended_one(index, stream));
    let mut one = || numbered.next().expect("five");
    let all = async { tokio::join!(one(), one(), one(), one(), one()) };
    let ((code, said), _) = tokio::join!(verb(&proxy, &["drain", "nodes"]), all);
    assert_eq!(code, 0, "{said}");
    assert_eq!(*ended.lock().expect("nobody panics"), [0, 1, 2, 3, 4]);
}

/// A node that takes part again keeps the streams whose turn has not come.
#[tokio::test]
async fn who_takes_part_again_keeps_them() {
    let (mut proxy, node) = stand("window = \"0s\"\ndeadline = \"20s\"\n").await;
    let mut stream = Stream::event_source(&proxy, &node).await;
    stream.node.send(chunk("data: a")).await;
    let mut younger = Stream::event_source(&proxy, &node).await;
    assert_eq!(verb(&proxy, &["drain", "nodes", "--no-wait"]).await.0, 0);
    younger.client.read_to_end().await;
    assert_eq!(verb(&proxy, &["undrain", "nodes"]).await.0, 0);
    stream.node.send(chunk("\n\n") + &chunk("data: b\n\n") + "0\r\n\r\n").await;
    let want = chunk("data: a") + &chunk("\n\ndata: b\n\n") + "0\r\n\r\n";
    let got = stream.client.read_until("0\r\n\r\n").await;
    assert_eq!(unchunk(&got), unchunk(want.as_bytes()));
    // tidelock's own end takes it all the same.
    let mut third = Stream::event_source(&proxy, &node).await;
    third.node.send(chunk("data: a\n\n")).await;
    let got = third.client.read_until("data: a\n\n\r\n").await;
    proxy.process().signal(Signal::TERM);
    let got = [got, third.client.read_to_end().await.0].concat();
    assert_eq!(unchunk(&got), ("data: a\n\n".to_owned(), false));
    assert!(proxy.process().exit().await.success());
}

/// A client of HTTP/1.0 sees a reset: without chunks a plain end would be a proper one.
#[tokio::test]
async fn http_10_gets_a_reset() {
    let (proxy, node) = stand("window = \"0s\"\ndeadline = \"20s\"\n").await;
    let asked = get(EVENT_SOURCE).replace("HTTP/1.1", "HTTP/1.0");
    let mut stream = Stream::open(&proxy, &node, &asked, &events("Transfer-Encoding: chunked\r\n")).await;
    stream.node.send(chunk("data: a\n\n")).await;
    assert_eq!(stream.client.read_exactly(9).await, b"data: a\n\n");
    let ((code, said), end) = tokio::join!(verb(&proxy, &["drain", "nodes"]), stream.client.read_to_end());
    assert_eq!(end, (Vec::new(), End::Reset));
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn a_node_that_a_reload_takes_out_lets_go_of_them() {
    let (proxy, node) = stand("window = \"0s\"\ndeadline = \"20s\"\n").await;
    let mut stream = Stream::event_source(&proxy, &node).await;
    stream.node.send(chunk("data: a\n\n")).await;
    let other = Origin::bind().await;
    let file = std::fs::read_to_string(proxy.file()).expect("a file");
    proxy.rewrite(&file.replace(&node.address().to_string(), &other.address().to_string()));
    assert_eq!(verb(&proxy, &["reload"]).await.0, 0);
    assert_eq!(unchunk(&stream.client.read_to_end().await.0), ("data: a\n\n".to_owned(), false));
}
