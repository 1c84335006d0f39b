//! A canary: several upstreams share the clients of a route.

use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::{Signal, tells};
use testkit::tidelock::Tidelock;

use super::limits::open;
use super::{TIDELOCK, UPGRADE, UPGRADED, ask};

/// A node that says its name, sets a cookie where it is asked for a login, and knows sessions.
async fn node(name: &'static str) -> ScriptedOrigin {
    ScriptedOrigin::start(move |request| match request.header("upgrade") {
        Some(_) => vec![Step::send(UPGRADED), Step::Echo],
        None if request.start.contains("transport=polling") && !request.start.contains("sid=") => {
            vec![Step::send(&open())]
        }
        None => {
            let cookie =
                if request.start.contains("/login") { "Set-Cookie: login=1; Path=/\r\n" } else { "" };
            vec![Step::send(&format!(
                "HTTP/1.1 200 OK\r\n{cookie}Content-Length: {}\r\n\r\n{name}",
                name.len()
            ))]
        }
    })
    .await
}

async fn start(route: &str) -> (Tidelock, [ScriptedOrigin; 2]) {
    let nodes = [node("proven").await, node("canary").await];
    (Tidelock::start(TIDELOCK, &file(route, &nodes)).await, nodes)
}

fn file(route: &str, nodes: &[ScriptedOrigin; 2]) -> String {
    format!(
        "trusted_proxies = [\"127.0.0.1\"]\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\n{route}\n\
         [upstream.proven]\nnodes = [\"{}\"]\n[upstream.canary]\nnodes = [\"{}\"]\n",
        nodes[0].address(),
        nodes[1].address()
    )
}

async fn side(proxy: &Tidelock, start: &str, lines: &str) -> String {
    ask(proxy, start, lines).await.text()
}

fn from(number: usize) -> String {
    format!("X-Forwarded-For: 10.0.{}.{}\r\n", number / 250, number % 250)
}

const SHARES: &str = "upstream = [{ name = \"proven\", weight = 80 }, { name = \"canary\", weight = 20 }]";

#[tokio::test]
async fn each_client_has_a_side_and_sides_have_their_shares() {
    let (proxy, nodes) = start(SHARES).await;
    let mut canaries = 0;
    for number in 0..500 {
        let lines = from(number);
        let first = side(&proxy, "GET /", &lines).await;
        assert_eq!(side(&proxy, "GET /other", &lines).await, first, "{number}");
        canaries += usize::from(first == "canary");
    }
    // 100 are meant, and the same for each run and each tidelock.
    assert!((70..130).contains(&canaries), "{canaries}");
    let seen = nodes[1].requests().len();
    assert_eq!(seen, 2 * canaries);
    let (random, nodes) = start(&format!("{SHARES}\nsplit = {{ by = \"random\" }}")).await;
    for _ in 0..200 {
        side(&random, "GET /", "").await;
    }
    assert!(nodes.iter().all(|node| node.requests().len() > 5), "one client is on both");
}

#[tokio::test]
async fn a_cookie_or_a_header_line_names_a_side() {
    let shares = "upstream = [{ name = \"proven\" }, { name = \"canary\", weight = 0 }]";
    let (proxy, _nodes) =
        start(&format!("{shares}\nsplit = {{ cookie = \"side\", header = \"X-Side\" }}")).await;
    for (lines, want) in [
        ("", "proven"),
        ("X-Side: canary\r\n", "canary"),
        ("x-side: proven\r\nCookie: side=canary\r\n", "proven"),
        ("Cookie: a=b; side=canary\r\n", "canary"),
        ("Cookie: side=nobody\r\n", "proven"),
        ("X-Side: \r\n", "proven"),
    ] {
        assert_eq!(side(&proxy, "GET /", lines).await, want, "{lines}");
    }
}

#[tokio::test]
async fn sessions_and_logins_keep_their_side() {
    let shares = "upstream = [{ name = \"proven\" }, { name = \"canary\", weight = 0 }]";
    let (proxy, nodes) = start(&format!("{shares}\nsplit = {{ header = \"X-Side\" }}")).await;
    let opened = ask(&proxy, "GET /socket.io/?EIO=4&transport=polling", "X-Side: canary\r\n").await;
    let sid = testkit::engineio::sid(&opened.text()).expect("a session");
    let poll = format!("GET /socket.io/?EIO=4&transport=polling&sid={sid}");
    for lines in ["", "X-Side: proven\r\n"] {
        assert_eq!(side(&proxy, &poll, lines).await, "canary");
    }
    let upgrade = format!("GET /socket.io/?EIO=4&transport=websocket&sid={sid}");
    assert_eq!(ask(&proxy, &upgrade, UPGRADE).await.status(), 101);
    assert_eq!(nodes[0].requests().len(), 0);
    // Who is pinned comes back without being told to.
    let login = ask(&proxy, "GET /login", "X-Side: canary\r\n").await;
    let cookies: Vec<&str> =
        login.all("set-cookie").iter().map(|set| set.split(';').next().unwrap_or_default()).collect();
    assert_eq!(cookies.len(), 2, "the app's and ours: {cookies:?}");
    assert_eq!(side(&proxy, "GET /", &format!("Cookie: {}\r\n", cookies.join("; "))).await, "canary");
    assert_eq!(side(&proxy, "GET /", "").await, "proven");
}

#[tokio::test]
async fn other_weights_move_no_session_and_no_login() {
    let (mut proxy, nodes) =
        start("upstream = [{ name = \"proven\", weight = 0 }, { name = \"canary\" }]").await;
    let opened = ask(&proxy, "GET /socket.io/?EIO=4&transport=polling", "").await;
    let sid = testkit::engineio::sid(&opened.text()).expect("a session");
    let login = ask(&proxy, "GET /login", "").await;
    let cookies: Vec<&str> =
        login.all("set-cookie").iter().map(|set| set.split(';').next().unwrap_or_default()).collect();
    let logged_in = format!("Cookie: {}\r\n", cookies.join("; "));
    proxy.rewrite(&file("upstream = [{ name = \"proven\" }, { name = \"canary\", weight = 0 }]", &nodes));
    let mark = proxy.process().mark();
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    assert_eq!(side(&proxy, "GET /", "").await, "proven");
    assert_eq!(
        side(&proxy, &format!("GET /socket.io/?EIO=4&transport=polling&sid={sid}"), "").await,
        "canary"
    );
    assert_eq!(side(&proxy, "GET /", &logged_in).await, "canary");
}
