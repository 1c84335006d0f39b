//! Nodes that stand below a path: what they are asked for stands below it, and what they say of it is put right.

use testkit::clients::{ClientPlan, Clients, Mode};
use testkit::node::{Node, NodePlan};
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

use crate::{TIDELOCK, file};

/// What the origin says of itself, as an app does that knows where it stands.
const SAYS: &str = "HTTP/1.1 302 Found\r\nLocation: /base/login\r\nSet-Cookie: id=1; Path=/base\r\n\
                    Set-Cookie: all=1; Path=/\r\nContent-Length: 0\r\n\r\n";

/// What a client asked for, what the node was asked for, and what the client was told.
async fn check(route: &str, asked: &str, sent: &str, location: &str, cookies: [&str; 2]) {
    let origin = ScriptedOrigin::start(|_| vec![Step::send(SAYS)]).await;
    let node = format!("http://{}/base/", origin.address());
    let config = file(&[&node], "").replace("[[route]]\n", &format!("[[route]]\n{route}"));
    let proxy = Tidelock::start(TIDELOCK, &config).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(format!("GET {asked} HTTP/1.1\r\nHost: a.example\r\n\r\n")).await;
    let answer = client.read_message().await;
    assert_eq!(origin.requests()[0].start, format!("GET {sent} HTTP/1.1"), "{route} {asked}");
    assert_eq!(answer.header("location"), Some(location), "{route} {asked}");
    let said: Vec<_> =
        answer.all("set-cookie").into_iter().filter(|line| !line.starts_with("tidelock-")).collect();
    assert_eq!(said, cookies, "{route} {asked}");
}

#[tokio::test]
async fn a_path_stands_before_what_is_asked_for() {
    let at_top = ["id=1; Path=/", "all=1; Path=/"];
    check("", "/", "/base/", "/login", at_top).await;
    check("", "/a%20b/c?d=/e", "/base/a%20b/c?d=/e", "/login", at_top).await;
    check("path = \"/app\"\n", "/app/x", "/base/app/x", "/login", at_top).await;
    check("exact = \"/app\"\n", "/app", "/base/app", "/login", at_top).await;
    let in_app = ["id=1; Path=/app", "all=1; Path=/"];
    check("path = \"/app\"\nstrip = true\n", "/app/x?y", "/base/x?y", "/app/login", in_app).await;
    let rewrite = "path = \"/app\"\nrewrite = { prefix = \"/v2\" }\n";
    check(rewrite, "/app/x", "/base/v2/x", "/base/login", ["id=1; Path=/base", "all=1; Path=/"]).await;
    check("regex = \"/u/(.*)\"\nrewrite = \"/users/{1}\"\n", "/u/7", "/base/users/7", "/login", at_top).await;
}

#[tokio::test]
async fn what_is_asked_of_no_path_is_below_none() {
    let origin = ScriptedOrigin::start(|_| vec![Step::send("HTTP/1.1 204 No Content\r\n\r\n")]).await;
    let proxy = Tidelock::start(TIDELOCK, &file(&[&format!("http://{}/base", origin.address())], "")).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    client.read_head().await;
    assert_eq!(origin.requests()[0].start, "OPTIONS * HTTP/1.1");
}

/// Sessions are found by their tags, and are closed where they are.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn clients_of_socket_io_are_at_home() {
    let nodes = testkit::node::three(|name| NodePlan::js(name).env("SOCKET_PATH", "/base/socket.io/")).await;
    let urls = nodes.each_ref().map(|node: &Node| format!("http://{}/base", node.address()));
    let proxy = Tidelock::start(TIDELOCK, &file(&[&urls[0], &urls[1], &urls[2]], "")).await;
    for mode in [Mode::Default, Mode::Polling, Mode::Websocket] {
        let plan = ClientPlan { count: 6, mode, echoes: 1, ..ClientPlan::to(proxy.url()) };
        let report = Clients::start(&plan).await.result().await;
        assert_eq!(
            (report.connected, report.connect_errors.len(), report.echoes_failed),
            (6, 0, 0),
            "{report:#?}"
        );
        assert!(report.is_even(3), "{report:#?}");
    }
}
