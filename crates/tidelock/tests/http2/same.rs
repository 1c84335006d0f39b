//! What is decided of a request is decided over HTTP/2, too: who may ask, and how often; what is compressed; what is recorded; and
//! where the stream of an EventSource is cut.

use std::io::Read;

use flate2::read::GzDecoder;
use testkit::http2::{Frame, Http2Connection, flag, get, kind};
use testkit::origin::{Origin, ScriptedOrigin};
use testkit::tidelock::{Tidelock, config_for};
use tokio::process::Command;

use crate::World;

const BINARY: &str = env!("CARGO_BIN_EXE_tidelock");

#[tokio::test]
async fn guards_and_limits_are_asked_and_the_log_says_how() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let routes = "[[route]]\npath = \"/denied\"\nupstream = \"nodes\"\ndeny = [\"127.0.0.0/8\"]\n\
                  [[route]]\npath = \"/secret\"\nupstream = \"nodes\"\nauth = { users = \"users\" }\n\
                  [[route]]\npath = \"/often\"\nupstream = \"nodes\"\nlimit = { rate = \"1/h\" }\n\
                  [log]\naccess = \"stdout\"\n";
    let config = config_for(&[origin.address()]).replace("[[route]]", "http2 = true\n[[route]]");
    let folder = testkit::tidelock::directory();
    // "apr" with the password "secret".
    std::fs::write(folder.path().join("users"), "apr:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").unwrap();
    let mut proxy = Tidelock::start_in(folder, BINARY, &format!("{config}{routes}")).await;
    let mut client = Http2Connection::connect(proxy.address(), &[]).await;
    let asks = [
        ("/denied", None, 403),
        ("/secret", None, 401),
        ("/secret", Some("Basic YXByOnNlY3JldA=="), 200),
        ("/often", None, 200),
        ("/often", None, 429),
        ("/x", None, 200),
    ];
    for (stream, (path, authorization, status)) in (1..).step_by(2).zip(asks) {
        let mut fields = get(path).to_vec();
        fields.extend(authorization.map(|value| ("authorization", value)));
        client.send(&Frame::headers(stream, flag::END_STREAM, &fields)).await;
        assert_eq!(client.answer(stream).await.0, status, "{path}");
        let wanted = format!("\"status\":{status}");
        let is_record = |line: &str| {
            line.contains(&format!("\"target\":\"{path}\""))
                && line.contains(&wanted)
                && line.contains("\"protocol\":\"HTTP/2.0\"")
        };
        proxy.process().wait_for_line(is_record).await;
    }
    // What was refused has reached no node.
    let asked: Vec<_> = origin.requests().iter().map(|request| request.start.clone()).collect();
    assert_eq!(asked, ["GET /secret HTTP/1.1", "GET /often HTTP/1.1", "GET /x HTTP/1.1"]);
}

/// The coded answer has no length, so that it is chunked on the way to the stream.
#[tokio::test]
async fn answers_are_compressed() {
    let text = "{\"a\":\"tidelock\"},".repeat(3000);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    );
    let origin = ScriptedOrigin::answering(&answer).await;
    let world =
        World::with(origin, "[[route]]\npath = \"/coded\"\nupstream = \"nodes\"\ncompress = true\n").await;
    let mut client = world.connect().await;
    for (stream, method) in [(1, "GET"), (3, "HEAD")] {
        let fields = [
            (":method", method),
            (":scheme", "http"),
            (":path", "/coded"),
            (":authority", "a"),
            ("accept-encoding", "gzip"),
        ];
        client.send(&Frame::headers(stream, flag::END_STREAM, &fields)).await;
        let (status, content) = client.answer(stream).await;
        assert_eq!(status, 200);
        let mut decoded = String::new();
        if method == "GET" {
            GzDecoder::new(&*content).read_to_string(&mut decoded).expect("it is gzip");
            assert!(content.len() < text.len() / 4, "{}", content.len());
        }
        assert!(decoded == if method == "GET" { &*text } else { "" }, "{method}");
    }
}

/// In a drain the stream of an EventSource is reset behind a whole event, so that its client comes back; and other streams of the
/// connection go on.
#[tokio::test]
async fn a_drain_cuts_events_between_two_of_them() {
    let (leaving, staying) = (
        Origin::bind().await,
        ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await,
    );
    let config = format!(
        "{}[upstream.others]\nnodes = [\"{}\"]\n[[route]]\npath = \"/other\"\nupstream = \"others\"\n[drain]\nwindow = \"0s\"\n",
        config_for(&[leaving.address()]).replace("[[route]]", "http2 = true\n[[route]]"),
        staying.address()
    );
    let proxy = Tidelock::start(BINARY, &config).await;
    let mut client = Http2Connection::connect(proxy.address(), &[]).await;
    let mut fields = get("/events").to_vec();
    fields.extend([("accept", "text/event-stream"), ("cache-control", "no-cache")]);
    client.send(&Frame::headers(1, flag::END_STREAM, &fields)).await;
    let mut node = leaving.accept().await;
    node.read_message().await;
    node.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n").await;
    let (event, _) = client.until(|frame| frame.kind == kind::DATA).await;
    assert_eq!(event.payload, b"data: 1\n\n");
    // Half an event, of which the end comes once the drain has begun.
    node.send("7\r\ndata: 2\r\n").await;
    let (half, _) = client.until(|frame| frame.kind == kind::DATA).await;
    assert_eq!(half.payload, b"data: 2");
    let mut drain = Command::new(BINARY);
    let address = leaving.address().to_string();
    drain.args(["drain", &address]).env("XDG_RUNTIME_DIR", proxy.directory()).kill_on_drop(true);
    let drain = drain.output();
    // The half is ended, and events follow until the drain has come to it.
    let events = async {
        let mut text = b"data: 2".to_vec();
        let mut more = "2\r\n\n\n\r\n";
        loop {
            if node.try_send(more).await.is_err() {
                return text;
            }
            more = "9\r\ndata: 3\n\n\r\n";
            let (frame, _) = client.until(|frame| frame.stream == 1).await;
            match frame.kind {
                kind::DATA => text.extend_from_slice(&frame.payload),
                kind::RST_STREAM => return text,
                _ => {}
            }
        }
    };
    let (drained, text) = tokio::join!(drain, events);
    assert!(drained.expect("the verb runs").status.success());
    let text = String::from_utf8(text).expect("events are text");
    assert!(text.starts_with("data: 2\n\n") && text.ends_with("\n\n"), "{text:?}");
    client.send(&Frame::headers(3, flag::END_STREAM, &get("/other"))).await;
    assert_eq!(client.answer(3).await, (200, b"ok".to_vec()));
}
