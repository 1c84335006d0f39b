//! What is decided of a request is decided over HTTP/2, too: who may ask, and how often; what is compressed; what is recorded; and
//! where the stream of an EventSource is cut.

use std::io::Read;

use flate2::read::GzDecoder;
use testkit::http2::{Frame, Http2Connection, flag, get, kind};
use testkit::origin::{Origin, ScriptedOrigin, Step};
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

/// nginx's format names the protocol as it does.
#[tokio::test]
async fn a_combined_line_says_the_protocol() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut world = World::with(origin, "[log]\naccess = \"stdout\"\nformat = \"combined\"\n").await;
    let mut client = world.connect().await;
    let mut fields = get("/x?a=b").to_vec();
    fields.extend([("referer", "https://a.example/"), ("user-agent", "test/1 \"q\"")]);
    client.send(&Frame::headers(1, flag::END_STREAM, &fields)).await;
    assert_eq!(client.answer(1).await.0, 200);
    let line = world.proxy.process().wait_for_line(|line| line.contains("/x?a=b")).await;
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(line.contains(r#"] "GET /x?a=b HTTP/2.0" 200 "#), "{line}");
    assert!(line.ends_with(r#" "https://a.example/" "test/1 \x22q\x22""#), "{line}");
}

/// Somebody else says who may: of a request and of a WebSocket, by its answer's fields, and whoever may not gets its answer.
#[tokio::test]
async fn somebody_else_says_who_may() {
    let oracle = ScriptedOrigin::start(|request| {
        let may = request.header("cookie") == Some("a=b; who=ann");
        let answer =
            if may { "200 OK\r\nX-User: ann" } else { "302 Found\r\nLocation: https://login.example/" };
        vec![Step::send(&format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"))]
    })
    .await;
    let node = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnode").await;
    let route = format!(
        "[[route]]\npath = \"/in\"\nupstream = \"nodes\"\nauth = {{ ask = \"http://{}/verify\", copy = [\"X-User\"] }}\n",
        oracle.address()
    );
    let world = World::with(node, &route).await;
    // Crumbs of a cookie are joined before anybody is asked.
    let cookies = |who| [("cookie", "a=b"), ("cookie", who), ("x-user", "root")];
    let websocket = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/in/socket"),
        (":authority", "a"),
        ("sec-websocket-version", "13"),
    ];
    let asks = [(get("/in/x").to_vec(), flag::END_STREAM), (websocket.to_vec(), 0)];
    // The node opens no WebSocket, which is for it to say.
    for ((mut fields, end), status) in asks.into_iter().zip([200, 502]) {
        let mut client = world.connect().await;
        let stranger = [&fields[..], &cookies("who=bob")].concat();
        client.send(&Frame::headers(1, end, &stranger)).await;
        assert_eq!(client.answer(1).await.0, 302);
        fields.extend(cookies("who=ann"));
        client.send(&Frame::headers(3, end, &fields)).await;
        assert_eq!(client.answer(3).await.0, status);
    }
    let asked = oracle.requests();
    assert!(asked.iter().all(|question| question.start == "GET /verify HTTP/1.1"), "{asked:?}");
    let uris: Vec<_> =
        asked.iter().map(|question| question.header("x-original-uri").expect("it is said")).collect();
    assert_eq!(uris, ["/in/x", "/in/x", "/in/socket", "/in/socket"]);
    let seen: Vec<_> =
        world.origin.requests().iter().map(|request| request.all("x-user").join(", ")).collect();
    assert_eq!(seen, ["ann", "ann"]);
}
