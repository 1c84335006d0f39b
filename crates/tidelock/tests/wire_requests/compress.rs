//! What is compressed for whom, and that a stream stays live.

use std::io::Read;

use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

use super::actions::{ask, start};

const ROUTE: &str = "[[route]]\ncompress = true\nupstream = \"nodes\"\n";
const NEWEST: &str = "gzip, deflate, br, zstd";

fn text() -> String {
    "{\"name\": \"value\"}\n".repeat(200)
}

/// An answer of a node with this content.
fn answer(lines: &str, content: &str) -> String {
    format!("HTTP/1.1 200 OK\r\n{lines}Content-Length: {}\r\n\r\n{content}", content.len())
}

fn get(target: &str, accept: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {accept}\r\n\r\n")
}

/// What has come, as far as it has.
fn decoded(coding: &str, bytes: &[u8]) -> String {
    let mut out = Vec::new();
    let _ = match coding {
        "gzip" => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        "br" => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
        "zstd" => zstd::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_end(&mut out)),
        other => panic!("{other}"),
    };
    String::from_utf8(out).expect("it was text")
}

fn content(answer: &Message) -> String {
    decoded(answer.header("content-encoding").expect("it is compressed"), &answer.body)
}

#[tokio::test]
async fn a_client_gets_the_coding_that_it_likes_best() {
    let lines = "Content-Type: application/json\r\nETag: \"x\"\r\nAccept-Ranges: bytes\r\n";
    for framing in [answer(lines, &text()), chunked(lines, &text())] {
        let (proxy, _origin) = start(ROUTE, &framing).await;
        for (accept, coding) in
            [(NEWEST, "zstd"), ("gzip, br", "br"), ("gzip", "gzip"), ("br;q=0.1, gzip;q=0.2", "gzip")]
        {
            let answer = ask(&proxy, &get("/", accept)).await;
            assert_eq!(answer.all("content-encoding"), [coding], "{accept}");
            assert_eq!(content(&answer), text(), "{accept}");
            assert!(answer.body.len() < text().len() / 4, "{accept}: {}", answer.body.len());
            assert_eq!(answer.all("etag"), ["W/\"x\""]);
            assert_eq!(answer.all("vary"), ["Accept-Encoding"]);
            assert_eq!(answer.header("accept-ranges"), None);
            let frames = answer.all("content-length").len() + answer.all("transfer-encoding").len();
            assert_eq!(frames, 1, "{answer:?}");
        }
        // Who takes none gets it as it came, and caches are told.
        let plain = ask(&proxy, &get("/", "identity")).await;
        assert_eq!((plain.header("content-encoding"), plain.header("etag")), (None, Some("\"x\"")));
        assert_eq!((plain.text(), plain.all("vary")), (text(), vec!["Accept-Encoding"]));
    }
}

fn chunked(lines: &str, content: &str) -> String {
    let (one, two) = content.split_at(1500);
    format!(
        "HTTP/1.1 200 OK\r\n{lines}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n",
        one.len(),
        two.len()
    )
}

#[tokio::test]
async fn what_would_not_profit_or_must_not_change_is_left_alone() {
    let json = "Content-Type: application/json\r\n";
    let part = answer("Content-Type: application/json\r\nContent-Range: bytes 0-9/99999\r\n", &text());
    for (answer, what) in [
        (answer(&format!("{json}Cache-Control: public, No-Transform\r\n"), &text()), "it forbids"),
        (answer(&format!("{json}Content-Encoding: gzip\r\n"), &text()), "it is coded"),
        (answer(&format!("{json}Repr-Digest: sha-256=:AA==:\r\n"), &text()), "somebody vouches for it"),
        (answer(json, "{}"), "it is short"),
        (answer("Content-Type: image/png\r\n", &text()), "it is an image"),
        (answer("Content-Type: text/event-stream\r\n", &text()), "it is a stream of events"),
        (answer("", &text()), "nobody says what it is"),
        (part.replace("200 OK", "206 Partial Content"), "it is a part"),
    ] {
        let (proxy, _origin) = start(ROUTE, &answer).await;
        let got = ask(&proxy, &get("/", NEWEST)).await;
        let head_end = answer.find("\r\n\r\n").expect("a head ends") + 4;
        assert_eq!(got.text(), answer[head_end..], "{what}");
        assert_eq!(got.header("vary"), None, "{what}");
    }
    let (proxy, _origin) = start(ROUTE, &answer(json, &text())).await;
    for (asks, what) in [
        (get("/socket.io/?EIO=4&transport=polling", NEWEST), "it is Engine.IO's"),
        (get("/", NEWEST).replace("HTTP/1.1", "HTTP/1.0"), "HTTP/1.0 knows no chunks"),
    ] {
        let got = ask(&proxy, &asks).await;
        assert_eq!((got.text(), got.header("content-encoding")), (text(), None), "{what}");
    }
    let (proxy, _origin) = start("[[route]]\nupstream = \"nodes\"\n", &answer(json, &text())).await;
    let got = ask(&proxy, &get("/", NEWEST)).await;
    assert_eq!((got.text(), got.header("content-encoding"), got.header("vary")), (text(), None, None));
}

#[tokio::test]
async fn a_head_says_what_a_get_would() {
    let (proxy, _origin) = start(
        ROUTE,
        &format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/css\r\nETag: \"x\"\r\nContent-Length: {}\r\n\r\n",
            text().len()
        ),
    )
    .await;
    let head = ask(&proxy, &get("/", "gzip").replace("GET", "HEAD")).await;
    assert_eq!(head.all("content-encoding"), ["gzip"]);
    assert_eq!((head.header("content-length"), head.header("etag")), (None, Some("W/\"x\"")));
}

#[tokio::test]
async fn every_piece_of_a_stream_goes_out_when_it_comes() {
    for coding in ["zstd", "br", "gzip"] {
        let origin = ScriptedOrigin::start(|_| {
            let head =
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
            vec![
                Step::send(head),
                Step::Hold,
                Step::send("4\r\none\n\r\n"),
                Step::Hold,
                Step::send("4\r\ntwo\n\r\n"),
                Step::Hold,
                Step::send("0\r\n\r\n"),
            ]
        })
        .await;
        let file = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n{ROUTE}[upstream.nodes]\nnodes = [\"{}\"]\n",
            origin.address()
        );
        let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file).await;
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(get("/", coding)).await;
        let head = client.read_head().await;
        assert_eq!(head.header("content-encoding"), Some(coding));
        let mut coded = Vec::new();
        for want in ["one\n", "one\ntwo\n"] {
            origin.release();
            // The node sends nothing more before this has been read.
            while decoded(coding, &coded) != want {
                coded.extend(chunk(&mut client).await.expect("there is more"));
            }
        }
        origin.release();
        while let Some(more) = chunk(&mut client).await {
            coded.extend(more);
        }
        assert_eq!(decoded(coding, &coded), "one\ntwo\n");
        client.send(get("/", "identity")).await;
        assert_eq!(client.read_head().await.status(), 200, "the connection goes on");
    }
}

/// The content of the next chunk; none of the last.
async fn chunk(client: &mut RawConnection) -> Option<Vec<u8>> {
    let size = String::from_utf8(client.read_until("\r\n").await).expect("digits");
    let size = usize::from_str_radix(size.trim(), 16).expect("digits");
    let content = client.read_exactly(size).await;
    client.read_exactly(2).await;
    (size > 0).then_some(content)
}

#[tokio::test]
async fn an_answer_that_is_cut_does_not_look_whole() {
    let one = text()[..1500].to_owned();
    let cut = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{one}\r\n",
        one.len()
    );
    let origin = ScriptedOrigin::start(move |_| vec![Step::send(&cut), Step::Close]).await;
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n{ROUTE}[upstream.nodes]\nnodes = [\"{}\"]\n",
        origin.address()
    );
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(get("/", "gzip")).await;
    let head = client.read_head().await;
    assert_eq!((head.status(), head.header("transfer-encoding")), (200, Some("chunked")));
    let (rest, _) = client.read_to_end().await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{rest:?}");
}

#[tokio::test]
async fn a_file_is_compressed_where_nothing_beside_it_is() {
    let folder = testkit::tidelock::directory();
    let public = folder.path().join("public");
    std::fs::create_dir(&public).expect("a writable folder");
    let long = "body { color: red; }\n".repeat(50_000);
    std::fs::write(public.join("long.css"), &long).expect("a writable folder");
    std::fs::write(public.join("page.html"), text()).expect("a writable folder");
    std::fs::write(public.join("beside.css"), text()).expect("a writable folder");
    std::fs::write(public.join("beside.css.gz"), "compressed before").expect("a writable folder");
    std::fs::write(public.join("x.png"), text()).expect("a writable folder");
    let file = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nfiles = \"public\"\ncompress = { codings = [\"br\", \"gzip\"] }\n";
    let proxy = Tidelock::start_in(folder, env!("CARGO_BIN_EXE_tidelock"), file).await;
    for (target, coding, want) in
        [("/long.css", "br", &long), ("/page.html", "gzip", &text()), ("/long.css", "gzip", &long)]
    {
        let answer = ask(&proxy, &get(target, coding)).await;
        assert_eq!(answer.all("content-encoding"), [coding], "{target}");
        assert_eq!(content(&answer), *want, "{target}");
        assert_eq!(answer.all("vary"), ["Accept-Encoding"], "{target}");
        let etag = answer.header("etag").expect("it has one").to_owned();
        assert!(etag.starts_with("W/\""), "{etag}");
        let asks = get(target, &format!("{coding}\r\nIf-None-Match: {etag}"));
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(asks).await;
        let known = client.read_head().await;
        assert_eq!((known.status(), known.header("etag")), (304, Some(&*etag)), "{target}");
        let head = ask(&proxy, &get(target, coding).replace("GET", "HEAD")).await;
        assert_eq!((head.header("content-encoding"), head.header("content-length")), (Some(coding), None));
        let part = ask(&proxy, &get(target, &format!("{coding}\r\nRange: bytes=0-9"))).await;
        assert_eq!((part.status(), part.header("content-encoding")), (206, None));
        assert_eq!(part.text(), want[..10]);
    }
    assert_eq!(ask(&proxy, &get("/beside.css", "gzip")).await.text(), "compressed before");
    let image = ask(&proxy, &get("/x.png", "gzip")).await;
    assert_eq!((image.text(), image.header("vary")), (text(), None));
    let plain = ask(&proxy, &get("/page.html", "zstd")).await;
    assert_eq!((plain.text(), plain.header("vary")), (text(), Some("Accept-Encoding")));
}
