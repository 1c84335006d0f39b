//! How often, and how many at once. Rates are by the hour, so that no test has to be quick.

use testkit::engineio::PollingSession;
use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

use super::{TIDELOCK, UPGRADE, UPGRADED, ask, counted};

/// A proxy with one route that has a limit, and one without; 127.0.0.1 is a trusted proxy.
async fn start(limit: &str) -> (Tidelock, ScriptedOrigin) {
    let origin = ScriptedOrigin::start(|request| match request.header("upgrade") {
        Some(_) => vec![Step::send(UPGRADED), Step::Echo],
        None if request.start.contains("/hold") => vec![Step::Hold, Step::send(OK)],
        None if request.start.contains("transport=polling") && !request.start.contains("sid=") => {
            vec![Step::send(&open())]
        }
        None => vec![Step::send(OK)],
    })
    .await;
    let file = format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nupstream = \"nodes\"\n\
         [[route]]\npath = \"/limited\"\nlimit = {limit}\nupstream = \"nodes\"\n\
         [[route]]\npath = \"/limited/also\"\nlimit = {limit}\nrespond = {{ text = \"own\" }}\n\
         [upstream.nodes]\nnodes = [\"{}\"]\n",
        origin.address()
    );
    (Tidelock::start(TIDELOCK, &file).await, origin)
}

pub(crate) async fn statuses(proxy: &Tidelock, start: &str, lines: &str, count: usize) -> Vec<u16> {
    let mut statuses = Vec::new();
    for _ in 0..count {
        statuses.push(ask(proxy, start, lines).await.status());
    }
    statuses
}

pub(crate) fn from(client: &str) -> String {
    format!("X-Forwarded-For: {client}\r\n")
}

#[tokio::test]
async fn who_asks_for_more_is_told_when_to_come_again() {
    let (proxy, origin) = start("{ rate = \"60/h\", burst = 2, name = \"slow\" }").await;
    assert_eq!(statuses(&proxy, "GET /limited", &from("192.0.2.1"), 5).await, [200, 200, 200, 429, 429]);
    let refused = ask(&proxy, "GET /limited", &from("192.0.2.1")).await;
    let seconds = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).expect("seconds");
    let after = seconds(refused.header("retry-after"));
    assert!((1..=60).contains(&after), "{after}");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"slow\";q=3;w=180"));
    let limit = refused.header("ratelimit").expect("it says how much is left");
    assert_eq!(seconds(limit.strip_prefix("\"slow\";r=0;t=")), after, "{limit}");
    assert_eq!(refused.header("connection"), None, "the connection goes on");
    // Every spelling of the path is the same, and so are the addresses of one network.
    let more = ["GET //limited", "GET /%6cimited", "GET /x/../limited", "POST /limited", "HEAD /limited"];
    for start in more {
        let lines = format!("{}Content-Length: 0\r\n", from("192.0.2.1"));
        assert_eq!(ask(&proxy, start, &lines).await.status(), 429, "{start}");
    }
    assert_eq!(statuses(&proxy, "GET /limited", &from("::ffff:192.0.2.1"), 1).await, [429]);
    assert_eq!(statuses(&proxy, "GET /limited", &from("2001:db8::1"), 2).await, [200, 200]);
    assert_eq!(statuses(&proxy, "GET /limited", &from("2001:db8::ffff"), 2).await, [200, 429]);
    assert_eq!(statuses(&proxy, "GET /limited", &from("2001:db8:0:1::1"), 1).await, [200]);
    // By name they count together, and routes without a limit do not.
    assert_eq!(statuses(&proxy, "GET /limited/also", &from("192.0.2.1"), 1).await, [429]);
    assert_eq!(statuses(&proxy, "GET /limited/also", &from("192.0.2.2"), 3).await, [200, 200, 200]);
    assert_eq!(statuses(&proxy, "GET /limited", &from("192.0.2.2"), 1).await, [429]);
    assert_eq!(statuses(&proxy, "GET /", &from("192.0.2.1"), 9).await, [200; 9]);
    let seen = origin.requests().iter().filter(|request| request.start.contains("limited")).count();
    assert_eq!(seen, 3 + 3 + 1);
    assert_eq!(counted(&proxy, "faults", "too many requests").await, 2 + 1 + 5 + 1 + 1 + 1 + 1);
}

#[tokio::test]
async fn a_reload_forgets_nobody() {
    let (mut proxy, _origin) = start("{ rate = \"60/h\", burst = 1 }").await;
    assert_eq!(statuses(&proxy, "GET /limited", "", 3).await, [200, 200, 429]);
    let file = std::fs::read_to_string(proxy.file()).expect("it is there");
    let mark = proxy.process().mark();
    proxy.rewrite(
        &file
            .replace("[[listen]]", "[limits]\nattempts_max = 4\n[[listen]]")
            .replace("burst = 1", "burst = 2"),
    );
    proxy.process().signal(testkit::process::Signal::HUP);
    proxy.process().wait_for_lines_since(mark, 1, |line| testkit::process::tells(line, "reloaded")).await;
    assert_eq!(statuses(&proxy, "GET /limited", "", 2).await, [200, 429]);
    // Routes that say no name count for themselves.
    assert_eq!(statuses(&proxy, "GET /limited/also", "", 4).await, [200, 200, 200, 429]);
}

#[tokio::test]
async fn clients_are_told_apart_by_what_they_say() {
    let (proxy, _origin) = start("{ rate = \"60/h\", burst = 1, by = \"header:X-Key\", status = 503 }").await;
    let keyed = |key: &str| format!("x-key: {key}\r\n");
    assert_eq!(statuses(&proxy, "GET /limited", &keyed("a"), 3).await, [200, 200, 503]);
    assert_eq!(statuses(&proxy, "GET /limited", &keyed("b"), 3).await, [200, 200, 503]);
    // Who says nothing, or less than that, is known by the address.
    assert_eq!(statuses(&proxy, "GET /limited", "", 3).await, [200, 200, 503]);
    assert_eq!(statuses(&proxy, "GET /limited", &keyed(""), 1).await, [503]);
    let (proxy, _origin) = start("{ rate = \"60/h\", burst = 1, by = \"cookie:key\" }").await;
    for key in ["a", "b"] {
        let lines = format!("Cookie: x=y; key={key}\r\n");
        assert_eq!(statuses(&proxy, "GET /limited", &lines, 3).await, [200, 200, 429], "{key}");
    }
    let (proxy, _origin) = start("{ rate = \"60/h\", burst = 1, by = \"all\" }").await;
    let both = [from("192.0.2.1"), from("192.0.2.2"), from("192.0.2.3")];
    for (lines, want) in both.iter().zip([200, 200, 429]) {
        assert_eq!(ask(&proxy, "GET /limited", lines).await.status(), want, "{lines}");
    }
}

/// One that is refused by the second limit has not counted for the first.
#[tokio::test]
async fn all_of_several_limits_hold() {
    let (proxy, _origin) =
        start("[{ rate = \"60/h\", burst = 3, by = \"all\" }, { rate = \"60/h\", burst = 1 }]").await;
    assert_eq!(statuses(&proxy, "GET /limited", &from("192.0.2.1"), 6).await, [200, 200, 429, 429, 429, 429]);
    assert_eq!(statuses(&proxy, "GET /limited", &from("192.0.2.2"), 3).await, [200, 200, 429]);
    assert_eq!(statuses(&proxy, "GET /limited", &from("192.0.2.3"), 1).await, [429]);
}

#[tokio::test]
async fn sessions_go_on_and_handshakes_count_apart() {
    let (proxy, _origin) = start("{ rate = \"60/h\", burst = 1 }").await;
    let handshake = "GET /limited/?EIO=4&transport=polling";
    let opened: Vec<Message> = vec![ask(&proxy, handshake, "").await, ask(&proxy, handshake, "").await];
    let refused = ask(&proxy, handshake, "Origin: https://app.example\r\n").await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.text(), "{\"code\":3,\"message\":\"Too Many Requests\"}");
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example"));
    assert!(refused.header("retry-after").is_some());
    assert_eq!(ask(&proxy, "GET /limited", UPGRADE).await.status(), 429, "as many as handshakes of polling");
    assert_eq!(statuses(&proxy, "GET /limited", "", 3).await, [200, 200, 429]);
    for opened in opened {
        let sid = testkit::engineio::sid(&opened.text()).expect("a session");
        let poll = format!("GET /limited/?EIO=4&transport=polling&sid={sid}");
        assert_eq!(statuses(&proxy, &poll, "", 5).await, [200; 5]);
        let upgrade = format!("GET /limited/?EIO=4&transport=websocket&sid={sid}");
        assert_eq!(ask(&proxy, &upgrade, UPGRADE).await.status(), 101);
    }
    // What nobody has signed is no session.
    let forged = "GET /limited/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_eq!(statuses(&proxy, forged, "", 2).await, [429, 429]);
    let (proxy, _origin) =
        start("{ rate = \"60/h\", burst = 1, of = \"handshakes\", sessions = true }").await;
    assert_eq!(statuses(&proxy, "GET /limited", "", 5).await, [200; 5]);
    assert_eq!(statuses(&proxy, handshake, "", 3).await, [200, 200, 429]);
    let (proxy, _origin) = start("{ rate = \"60/h\", burst = 1, of = \"requests\", sessions = true }").await;
    let session = PollingSession::open(proxy.address(), "EIO=4").await;
    let poll = format!("GET /limited/?EIO=4&transport=polling&sid={}", session.sid);
    assert_eq!(statuses(&proxy, &poll, "", 3).await, [200, 200, 429], "sessions count where that is asked");
    assert_eq!(statuses(&proxy, handshake, "", 3).await, [200, 200, 200]);
}

#[tokio::test]
async fn so_many_are_under_way_at_once_tunnels_included() {
    let (proxy, origin) = start("{ connections = 2 }").await;
    let mut held = RawConnection::connect(proxy.address()).await;
    held.send("GET /limited/hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.until_requests(1).await;
    let mut tunnel = RawConnection::connect(proxy.address()).await;
    tunnel.send(format!("GET /limited HTTP/1.1\r\nHost: h\r\n{UPGRADE}\r\n")).await;
    assert_eq!(tunnel.read_head().await.status(), 101);
    let refused = ask(&proxy, "GET /limited", "").await;
    assert_eq!((refused.status(), refused.header("retry-after")), (429, Some("1")));
    assert_eq!(ask(&proxy, "GET /limited", &from("192.0.2.1")).await.status(), 200);
    origin.release();
    assert_eq!(held.read_message().await.status(), 200);
    // A place is free a moment after its answer has come, which nobody says.
    while ask(&proxy, "GET /limited", "").await.status() == 429 {}
    let mut other = loop {
        let mut other = RawConnection::connect(proxy.address()).await;
        other.send(format!("GET /limited HTTP/1.1\r\nHost: h\r\n{UPGRADE}\r\n")).await;
        if other.read_head().await.status() == 101 {
            break other;
        }
    };
    // Tunnels are under way until they end.
    other.send("ping").await;
    assert_eq!(other.read_exactly(4).await, b"ping");
    assert_eq!(statuses(&proxy, "GET /limited", "", 2).await, [429; 2]);
    drop(other);
    while ask(&proxy, "GET /limited", "").await.status() == 429 {}
    drop(tunnel);
    assert!(counted(&proxy, "faults", "too many requests at once").await >= 2);
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_do_and_a_delay_waits() {
    let (mut proxy, _origin) = start("{ rate = \"60/h\", burst = 1, dry_run = true }").await;
    assert_eq!(statuses(&proxy, "GET /limited", "", 4).await, [200; 4]);
    let would = |line: &str| line.contains("\"limit\":\"would refuse\"") && line.contains("\"status\":200");
    proxy.process().wait_for_lines_since(testkit::process::Mark::default(), 2, would).await;
    assert_eq!(counted(&proxy, "guarded", "would be refused by a limit in its dry run").await, 2);
    // Two come at once, and the second waits until it is even with the rate.
    let (mut proxy, origin) = start("{ rate = \"30/m\", burst = 1, delay = 0 }").await;
    let lines = from("192.0.2.1");
    let answers = tokio::join!(ask(&proxy, "GET /limited", &lines), ask(&proxy, "GET /limited", &lines));
    assert_eq!((answers.0.status(), answers.1.status()), (200, 200));
    assert_eq!(origin.requests().len(), 2);
    proxy.process().wait_for_line(|line| line.contains("\"limit\":\"delayed\"")).await;
    assert_eq!(counted(&proxy, "guarded", "delayed by a limit").await, 1);
}

/// The second of two requests on one connection would wait for an hour.
#[tokio::test]
async fn who_waits_is_told_when_the_proxy_leaves() {
    let (mut proxy, origin) = start("{ rate = \"1/h\", burst = 1, delay = 0 }").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET /limited HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2)).await;
    assert_eq!(client.read_message().await.status(), 200);
    proxy.process().signal(testkit::process::Signal::TERM);
    assert_eq!(client.read_message().await.status(), 503);
    assert!(proxy.process().exit().await.success());
    assert_eq!(origin.requests().len(), 1);
}

/// Two guards of one route: the address is asked first, and the limit counts only whom it lets by.
#[tokio::test]
async fn who_is_denied_does_not_count() {
    let (proxy, _origin) =
        start("{ rate = \"60/h\", burst = 0, by = \"all\" }\ndeny = [\"192.0.2.9\"]").await;
    assert_eq!(statuses(&proxy, "GET /limited", &from("192.0.2.9"), 3).await, [403; 3]);
    assert_eq!(statuses(&proxy, "GET /limited", &from("192.0.2.1"), 2).await, [200, 429]);
}

/// What a node says to the handshake of Engine.IO.
pub(crate) fn open() -> String {
    let packet = "0{\"sid\":\"AAAAAAAAAAAAAAAAAAAA\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}";
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{packet}", packet.len())
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
