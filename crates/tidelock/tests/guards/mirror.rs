//! Copies of requests for another upstream, which nobody waits for.

use testkit::http2::{Frame, Http2Connection, flag};
use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::tidelock::Tidelock;

use super::{TIDELOCK, UPGRADE, UPGRADED, ask, counted};

const SENT: &str = "copies sent to a mirror";
const UNANSWERED: &str = "copies that a mirror did not answer";
const NO_ROOM: &str = "requests not copied to a mirror that is too slow";
const TOO_LONG: &str = "requests not copied to a mirror for their length";

struct Stand {
    proxy: Tidelock,
    node: ScriptedOrigin,
    shadow: ScriptedOrigin,
}

/// `route` is the route's mirror, and what else it has; `top` stands above all tables.
async fn start(top: &str, route: &str, shadow: ScriptedOrigin) -> Stand {
    let node = ScriptedOrigin::start(|request| match request.header("upgrade") {
        Some(_) => vec![Step::send(UPGRADED), Step::Echo],
        None => vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnode")],
    })
    .await;
    let file = format!(
        "{top}\n[[listen]]\naddress = \"127.0.0.1:0\"\nhttp2 = true\n[[route]]\npath = \"/app\"\nstrip = true\nupstream = \"nodes\"\n\
         {route}\n[upstream.nodes]\nnodes = [\"{}\"]\n[upstream.shadow]\nnodes = [\"{}\"]\n",
        node.address(),
        shadow.address()
    );
    Stand { proxy: Tidelock::start(TIDELOCK, &file).await, node, shadow }
}

/// What answers badly, or says nothing, for nobody hears it.
async fn bad() -> ScriptedOrigin {
    ScriptedOrigin::answering("HTTP/1.1 500 Oops\r\nContent-Length: 100000\r\n\r\nshort").await
}

/// What does not differ by where it was sent to.
fn told(message: &Message) -> (&str, Option<&str>, Vec<String>, &[u8]) {
    let lines =
        ["x-forwarded-for", "x-forwarded-prefix", "x-said", "cookie", "content-length", "transfer-encoding"];
    let lines = lines.iter().map(|name| message.all(name).join(", ")).collect();
    (&message.start, message.header("host"), lines, &message.body)
}

async fn post(proxy: &Tidelock, lines: &str, body: &str) -> u16 {
    ask(proxy, "POST /app/post", &format!("{lines}\r\n{body}")).await.status()
}

#[tokio::test]
async fn a_mirror_sees_what_the_node_sees() {
    let route = "mirror = \"shadow\"\nrequest_headers = { set = { X-Said = \"{client_ip}\" } }";
    let Stand { proxy, node, shadow } = start("", route, bad().await).await;
    assert_eq!(ask(&proxy, "GET /app/x?a=b", "Cookie: a=1; b=2\r\n").await.text(), "node");
    shadow.until_requests(1).await;
    for (lines, body) in [
        ("Content-Length: 5\r\n", "hello"),
        ("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),
        ("Expect: 100-continue\r\nContent-Length: 2\r\n", "ok"),
    ] {
        ask(&proxy, "POST /app/post", &format!("{lines}\r\n{body}\r\n")).await;
    }
    let mut client = Http2Connection::connect(proxy.address(), &[]).await;
    let head = [(":method", "POST"), (":scheme", "http"), (":path", "/app/two"), (":authority", "a")];
    client.send(&Frame::headers(1, 0, &head)).await;
    client.send(&Frame::data(1, flag::END_STREAM, "over two")).await;
    assert_eq!(client.answer(1).await, (200, b"node".to_vec()));
    shadow.until_requests(5).await;
    let (seen, copied) = (node.requests(), shadow.requests());
    assert_eq!(copied.len(), 5);
    for one in &seen {
        assert!(copied.iter().any(|copy| told(copy) == told(one)), "{one:#?}\n{copied:#?}");
    }
    assert!(
        seen.iter()
            .any(|one| one.start == "GET /x?a=b HTTP/1.1" && one.header("x-said") == Some("127.0.0.1"))
    );
}

/// One worker makes 128 copies at once, and whoever asks for more gets the same answers.
#[tokio::test]
async fn a_mirror_that_does_not_answer_costs_nobody_anything() {
    let silent = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let Stand { proxy, node, shadow: _shadow } = start("workers = 1", "mirror = \"shadow\"", silent).await;
    for _ in 0..200 {
        assert_eq!(ask(&proxy, "GET /app", "").await.text(), "node");
    }
    assert_eq!((node.requests().len(), counted(&proxy, "guarded", NO_ROOM).await), (200, 200 - 128));
}

#[tokio::test]
async fn a_mirror_that_is_not_there_costs_nobody_anything() {
    let Stand { proxy, node, shadow } = start("", "mirror = \"shadow\"", bad().await).await;
    drop(shadow);
    for _ in 0..20 {
        assert_eq!(ask(&proxy, "GET /app", "").await.text(), "node");
    }
    assert_eq!((node.requests().len(), counted(&proxy, "guarded", SENT).await), (20, 0));
}

#[tokio::test]
async fn what_is_long_or_of_a_session_is_not_copied() {
    let well = ScriptedOrigin::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let route = "mirror = { upstream = \"shadow\", body_bytes_max = \"1KiB\" }";
    let Stand { proxy, node, shadow } = start("", route, well).await;
    let long = "x".repeat(1025);
    assert_eq!(post(&proxy, "Content-Length: 1025\r\n", &long).await, 200);
    assert_eq!(
        post(&proxy, "Transfer-Encoding: chunked\r\n", &format!("401\r\n{long}\r\n0\r\n\r\n")).await,
        200
    );
    assert_eq!(counted(&proxy, "guarded", TOO_LONG).await, 2);
    assert_eq!(ask(&proxy, "GET /app/ws", UPGRADE).await.status(), 101);
    assert_eq!(ask(&proxy, "GET /app/socket.io/?EIO=4&transport=polling", "").await.status(), 200);
    // This one is, and nothing came before it.
    assert_eq!(post(&proxy, "Content-Length: 1024\r\n", &long[..1024]).await, 200);
    shadow.until_requests(1).await;
    let copied = shadow.requests();
    assert_eq!((copied.len(), copied[0].body.len(), node.requests().len()), (1, 1024, 5));
}

#[tokio::test]
async fn some_of_a_hundred_are_copied() {
    let well = ScriptedOrigin::answering("HTTP/1.1 204 No Content\r\n\r\n").await;
    let Stand { proxy, shadow, node: _node } =
        start("", "mirror = { upstream = \"shadow\", percent = 50 }", well).await;
    for _ in 0..100 {
        assert_eq!(ask(&proxy, "GET /app", "").await.text(), "node");
    }
    // That all are, or none is, comes once in 2^99 runs.
    shadow.until_requests(1).await;
    assert!((1..100).contains(&shadow.requests().len()));
    assert_eq!(counted(&proxy, "guarded", UNANSWERED).await, 0);
}
