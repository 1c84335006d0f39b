//! What works over HTTP/1 works over HTTP/2.

use testkit::certificates::Authority;
use testkit::http2::{Frame, Http2Connection, PREFACE, flag, get, kind};
use testkit::origin::{Origin, ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock, directory};

use crate::World;

const BINARY: &str = env!("CARGO_BIN_EXE_tidelock");

async fn answered(answer: &str) -> World {
    World::with(ScriptedOrigin::answering(answer).await, "").await
}

/// ALPN chooses: HTTP/2 for who knows it, and HTTP/1 for who does not, or where the file says so.
#[tokio::test]
async fn alpn_chooses() {
    const H2: Option<&[u8]> = Some(b"h2");
    const HTTP1: Option<&[u8]> = Some(b"http/1.1");
    for (key, both) in [("", HTTP1), ("http2 = true\n", H2), ("http2 = false\n", HTTP1)] {
        let (authority, directory) = (Authority::new("test"), directory());
        let files = authority.issue(&["a.example"]).write(directory.path(), "a");
        let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        let config = FilePlan::to_addresses([origin.address()]).tls(&files).text();
        let config = config.replace("[[route]]", &format!("{key}[[route]]"));
        let proxy = Tidelock::start_in(directory, BINARY, &config).await;
        let offers: [(&[&str], Option<&[u8]>); 4] =
            [(&["h2", "http/1.1"], both), (&["http/1.1", "h2"], both), (&["http/1.1"], HTTP1), (&[], None)];
        for (offered, want) in offers {
            let client = authority.client(offered);
            let mut connection =
                RawConnection::connect_tls(proxy.address(), "a.example", client).await.unwrap();
            assert_eq!(connection.alpn(), want, "{key:?} {offered:?}");
            if want == H2 {
                connection.send([PREFACE, &Frame::settings(&[]).bytes()].concat()).await;
                let mut client = Http2Connection::over(connection);
                let fields =
                    [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a.example")];
                client.send(&Frame::headers(1, flag::END_STREAM, &fields)).await;
                assert_eq!(client.answer(1).await, (200, b"ok".to_vec()));
                assert_eq!(origin.requests()[0].header("X-Forwarded-Proto"), Some("https"));
            } else {
                connection.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
                assert_eq!(connection.read_message().await.text(), "ok");
            }
        }
    }
}

#[tokio::test]
async fn streams_are_answered_in_any_order() {
    let origin = Origin::bind().await;
    let config =
        testkit::tidelock::config_for(&[origin.address()]).replace("[[route]]", "http2 = true\n[[route]]");
    let proxy = Tidelock::start(BINARY, &config).await;
    let mut client = Http2Connection::connect(proxy.address(), &[]).await;
    let mut nodes = Vec::new();
    for stream in [1, 3, 5] {
        client.send(&Frame::headers(stream, flag::END_STREAM, &get("/x"))).await;
        let mut node = origin.accept().await;
        node.read_message().await;
        nodes.push((stream, node));
    }
    for (stream, mut node) in nodes.into_iter().rev() {
        node.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{stream}")).await;
        assert_eq!(client.answer(stream).await, (200, stream.to_string().into_bytes()));
    }
}

/// However an answer is framed for HTTP/1, nothing of the frame is left, and its end is the stream's.
#[tokio::test]
async fn answers_lose_their_frame() {
    for (answer, want) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, "ok")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", (200, "")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;x=y\r\nk\r\n0\r\n\r\n",
            (200, "ok"),
        ),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", (200, "ok")),
        ("HTTP/1.0 200 OK\r\n\r\nok", (200, "ok")),
        ("HTTP/1.1 204 No Content\r\n\r\n", (204, "")),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", (304, "")),
        ("HTTP/1.1 421 Misdirected\r\nContent-Length: 2\r\n\r\nno", (421, "no")),
    ] {
        let answer = answer.to_owned();
        let ends = answer.contains("close") || answer.contains("HTTP/1.0");
        let origin = ScriptedOrigin::start(move |_| {
            let step = Step::byte_by_byte(&answer);
            if ends { vec![step, Step::Close] } else { vec![step] }
        })
        .await;
        let world = World::with(origin, "").await;
        let mut client = world.connect().await;
        client.send(&Frame::headers(1, flag::END_STREAM, &get("/x"))).await;
        assert_eq!(client.answer(1).await, (want.0, want.1.as_bytes().to_vec()));
    }
}

#[tokio::test]
async fn trailers_and_interim_answers_travel() {
    let world = answered(
        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    )
    .await;
    let mut client = world.connect().await;
    client.send(&Frame::headers(1, flag::END_STREAM, &get("/x"))).await;
    let (hints, _) = client.until(|frame| frame.stream == 1).await;
    assert_eq!(hints.status(), Some(103));
    let (head, _) = client.until(|frame| frame.stream == 1).await;
    assert_eq!(head.status(), Some(200));
    let (content, _) = client.until(|frame| frame.stream == 1 && !frame.payload.is_empty()).await;
    assert_eq!((content.kind, &*content.payload), (kind::DATA, &b"ok"[..]));
    let (trailers, _) = client.until(|frame| frame.stream == 1 && frame.kind == kind::HEADERS).await;
    assert_eq!(trailers.flags & flag::END_STREAM, flag::END_STREAM);
}

#[tokio::test]
async fn expectations_are_met_by_the_node() {
    let origin = Origin::bind().await;
    let config =
        testkit::tidelock::config_for(&[origin.address()]).replace("[[route]]", "http2 = true\n[[route]]");
    let proxy = Tidelock::start(BINARY, &config).await;
    let mut client = Http2Connection::connect(proxy.address(), &[]).await;
    let fields = [
        (":method", "PUT"),
        (":scheme", "http"),
        (":path", "/x"),
        (":authority", "a"),
        ("expect", "100-continue"),
        ("content-length", "2"),
    ];
    client.send(&Frame::headers(1, 0, &fields)).await;
    let mut node = origin.accept().await;
    let head = node.read_until(b"\r\n\r\n").await;
    assert!(String::from_utf8_lossy(&head).contains("expect: 100-continue"));
    node.send("HTTP/1.1 100 Continue\r\n\r\n").await;
    let (interim, _) = client.until(|frame| frame.stream == 1).await;
    assert_eq!(interim.status(), Some(100));
    client.send(&Frame::data(1, flag::END_STREAM, "ab")).await;
    assert_eq!(node.read_exactly(2).await, b"ab");
    node.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    assert_eq!(client.answer(1).await, (200, b"ok".to_vec()));
}

/// Nothing of a body is let come before the node has taken what came: a window of 64 KiB, and not more.
#[tokio::test]
async fn a_body_is_sent_as_fast_as_its_node_takes_it() {
    let origin = Origin::bind().await;
    let config =
        testkit::tidelock::config_for(&[origin.address()]).replace("[[route]]", "http2 = true\n[[route]]");
    let proxy = Tidelock::start(BINARY, &config).await;
    let mut client = Http2Connection::connect(proxy.address(), &[]).await;
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a")];
    client.send(&Frame::headers(1, 0, &fields)).await;
    let mut node = origin.accept().await;
    node.read_until(b"\r\n\r\n").await;
    let (total, mut sent, mut window) = (16_usize << 20, 0, 65_535_usize);
    // The node takes nothing, and at some point nothing more may come.
    let mut is_blocked = false;
    while !is_blocked {
        while window >= 16_384 {
            client.send(&Frame::data(1, 0, vec![b'x'; 16_384])).await;
            (sent, window) = (sent + 16_384, window - 16_384);
        }
        client.send(&Frame::ping(*b"is more?")).await;
        loop {
            let frame = client.next().await.expect("it goes on");
            if frame.kind == kind::WINDOW_UPDATE && frame.stream == 1 {
                window += usize::from(frame.payload[2]) << 8
                    | usize::from(frame.payload[3])
                    | usize::from(frame.payload[1]) << 16;
                break;
            }
            if frame.kind == kind::PING && frame.flags == flag::ACK && frame.payload == b"is more?" {
                is_blocked = window < 16_384 && sent > 1 << 20 || sent >= total;
                if window >= 16_384 || is_blocked {
                    break;
                }
                // What it has is on its way through the kernel's buffers.
                client.send(&Frame::ping(*b"is more?")).await;
                if sent > 4 << 20 {
                    is_blocked = true;
                    break;
                }
            }
        }
    }
    assert!(sent < total, "16 MiB were taken that no node has taken");
}

#[tokio::test]
async fn long_bodies_travel_whole_both_ways() {
    let origin = ScriptedOrigin::start(|request| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", request.body.len());
        vec![Step::send(&head), Step::Send(request.body.clone())]
    })
    .await;
    let world = World::with(origin, "").await;
    let mut client = Http2Connection::connect(world.proxy.address(), &[(4, 1 << 30)]).await;
    client.send(&Frame::window(0, 1 << 30)).await;
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a")];
    client.send(&Frame::headers(1, 0, &fields)).await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let (mut windows, mut sent, mut got) = ([65_535_usize, 65_535], 0, Vec::new());
    loop {
        while sent < body.len() && windows.iter().all(|window| *window > 0) {
            let here = (body.len() - sent).min(16_384).min(windows[0]).min(windows[1]);
            let is_last = sent + here == body.len();
            client.send(&Frame::data(1, u8::from(is_last), &body[sent..sent + here])).await;
            sent += here;
            windows = windows.map(|window| window - here);
        }
        let frame = client.next().await.expect("it goes on");
        match frame.kind {
            kind::WINDOW_UPDATE => {
                let more = u32::from_be_bytes(frame.payload[..].try_into().unwrap()) as usize;
                windows[usize::from(frame.stream == 1)] += more;
            }
            kind::DATA => got.extend_from_slice(&frame.payload),
            kind::RST_STREAM | kind::GOAWAY => panic!("{frame:?}"),
            _ => {}
        }
        if frame.kind == kind::DATA && frame.flags & flag::END_STREAM != 0 {
            break;
        }
    }
    assert!(got == body, "{} bytes came back of {}", got.len(), body.len());
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let world = World::new().await;
    let mut client = world.connect().await;
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/x"),
        (":authority", "a"),
        ("content-length", "70000"),
    ];
    client.send(&Frame::headers(1, 0, &fields)).await;
    assert_eq!(client.answer(1).await.0, 413);
    // Nobody has said it, and it is found out.
    let mut client = world.connect().await;
    client.send(&Frame::headers(3, 0, &fields[..4])).await;
    // No more than the window that every stream begins with, which is a byte less than the bound.
    for _ in 0..3 {
        client.send(&Frame::data(3, 0, vec![b'x'; 16_384])).await;
    }
    client.until(|frame| frame.stream == 3 && frame.kind == kind::WINDOW_UPDATE).await;
    for _ in 0..2 {
        client.send(&Frame::data(3, 0, vec![b'x'; 16_384])).await;
    }
    let (answer, _) = client.until(|frame| frame.stream == 3 && frame.kind == kind::HEADERS).await;
    assert_eq!(answer.status(), Some(413));
}

/// What answers without a node: files, redirects, texts, and pages of faults.
#[tokio::test]
async fn routes_without_a_node_answer() {
    let folder = directory();
    std::fs::write(folder.path().join("a.txt"), "x".repeat(200_000)).expect("the folder is the test's");
    let file = "[[listen]]\naddress = \"127.0.0.1:0\"\nhttp2 = true\n[[route]]\npath = \"/files\"\nstrip = true\nfiles = \".\"\n\
                [[route]]\npath = \"/there\"\nredirect = \"https://b.example/\"\n\
                [[route]]\npath = \"/text\"\nrespond = { status = 200, text = \"hello\" }\n";
    let proxy = Tidelock::start_in(folder, BINARY, file).await;
    let mut client = Http2Connection::connect(proxy.address(), &[(4, 1 << 20)]).await;
    client.send(&Frame::window(0, 1 << 20)).await;
    for (stream, path, status, length) in [
        (1, "/files/a.txt", 200, 200_000),
        (3, "/there", 302, 0),
        (5, "/text", 200, 5),
        (7, "/files/none", 404, 1),
        (9, "/none", 404, 1),
    ] {
        client.send(&Frame::headers(stream, flag::END_STREAM, &get(path))).await;
        let (got, content) = client.answer(stream).await;
        assert_eq!(got, status, "{path}");
        assert!(
            if length > 1 { content.len() == length } else { content.len() >= length },
            "{path}: {}",
            content.len()
        );
    }
}
