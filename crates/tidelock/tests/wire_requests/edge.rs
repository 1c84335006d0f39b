//! What stands around an app: pages for faults, maintenance, ids of requests, and what answers say to browsers.

use testkit::process::tells;
use testkit::tidelock::Tidelock;

use super::actions::{OK, ask, start, start_under};

fn request(method: &str, target: &str, lines: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n")
}

#[tokio::test]
async fn a_fault_has_the_page_of_its_route_or_of_the_file() {
    let file = "error_pages = { 404 = { text = \"<p>{status} {reason} {request_id}</p>\", content_type = \"text/html\" }, \
                5xx = { text = \"soon\" } }\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                [[route]]\npath = \"/gone\"\nrespond = 410\nerror_pages = { 4xx = { text = \"gone\" } }\n\
                [[route]]\npath = \"/dead\"\nupstream = \"dead\"\n\
                [upstream.dead]\nnodes = [\"127.0.0.1:1\"]\ndown_wait = \"0s\"\n";
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), file).await;
    let page = ask(&proxy, &request("GET", "/none", "Accept: text/html, application/json\r\n")).await;
    assert_eq!((page.status(), page.header("content-type")), (404, Some("text/html")));
    let id = page.text().replace("<p>404 Not Found ", "").replace("</p>", "");
    assert_eq!(id.len(), 32, "{}", page.text());
    assert_eq!(ask(&proxy, &request("GET", "/gone", "")).await.text(), "gone");
    let dead = ask(&proxy, &request("GET", "/dead", "")).await;
    assert_eq!((dead.status(), &*dead.text()), (503, "soon"));
    let json = ask(&proxy, &request("GET", "/dead", "Accept: application/json, */*\r\n")).await;
    assert_eq!(json.header("content-type"), Some("application/json"));
    let json: serde_json::Value = serde_json::from_str(&json.text()).expect("JSON");
    assert_eq!(json, serde_json::json!({ "status": 503, "error": "Service Unavailable" }));
    // What the request has to do with it is told.
    let json = ask(&proxy, &request("GET", "/none", "Accept: application/json\r\n")).await.text();
    assert!(json.contains(r#""message":"no route for this host and path""#), "{json}");
}

#[tokio::test]
async fn a_page_may_be_in_a_file_and_is_for_all_that_is_ours() {
    let folder = testkit::tidelock::directory();
    std::fs::write(folder.path().join("4xx.html"), "<p>{status}").expect("a writable folder");
    std::fs::write(folder.path().join("own.json"), "{\"{host}\": 1}").expect("a writable folder");
    std::fs::create_dir(folder.path().join("public")).expect("a writable folder");
    let file = "error_pages = { 4xx = \"4xx.html\" }\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                [[route]]\npath = \"/files\"\nfiles = \"public\"\n\
                [[route]]\npath = \"/gone\"\nrespond = 410\n\
                [[route]]\npath = \"/own\"\nrespond = { file = \"own.json\" }\n\
                [[route]]\npath = \"/said\"\nrespond = { status = 410, text = \"said\" }\n\
                [[route]]\npath = \"/node\"\nupstream = \"nodes\"\n";
    let origin =
        testkit::origin::ScriptedOrigin::answering("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnode")
            .await;
    let file = format!("{file}[upstream.nodes]\nnodes = [\"{}\"]\n", origin.address());
    let proxy = Tidelock::start_in(folder, env!("CARGO_BIN_EXE_tidelock"), &file).await;
    for (asks, status, text) in [
        (request("GET", "/none", ""), 404, "<p>404"),
        (request("GET", "/files/none", ""), 404, "<p>404"),
        (request("POST", "/files/none", "Content-Length: 0\r\n"), 404, "<p>404"),
        (request("PUT", "/files/none", "Content-Length: 0\r\n"), 405, "<p>405"),
        (request("GET", "/gone", ""), 410, "<p>410"),
        (request("GET", "/said", ""), 410, "said"),
        (request("GET", "/node", ""), 404, "node"),
        (request("GET", "/none", "no colon\r\n"), 400, "<p>400"),
        (request("GET", "/none", "Content-Length: x\r\n"), 400, "<p>400"),
    ] {
        let answer = ask(&proxy, &asks).await;
        assert_eq!((answer.status(), &*answer.text()), (status, text), "{asks}");
        let media = text.starts_with("<p>").then_some("text/html; charset=utf-8");
        assert!(media.is_none() || answer.header("content-type") == media, "{asks}: {answer:?}");
    }
    let own = ask(&proxy, &request("GET", "/own", "")).await;
    assert_eq!((&*own.text(), own.header("content-type")), ("{\"{host}\": 1}", Some("application/json")));
    for target in ["/none", "/files/none", "/gone"] {
        let head = ask(&proxy, &request("HEAD", target, "")).await;
        assert_eq!((head.header("content-length"), &*head.body), (Some("6"), &b""[..]), "{target}");
    }
}

#[tokio::test]
async fn a_page_changes_with_a_reload() {
    let config = |page: &str| {
        format!(
            "error_pages = {{ 404 = {{ text = \"{page}\" }} }}\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
             [[route]]\npath = \"/x\"\nrespond = 204\n"
        )
    };
    let mut proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config("one")).await;
    assert_eq!(ask(&proxy, &request("GET", "/", "")).await.text(), "one");
    proxy.rewrite(&config("two"));
    let mark = proxy.process().mark();
    proxy.process().signal(testkit::process::Signal::HUP);
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    let told = proxy.process().lines_since(mark).join("\n");
    assert!(told.contains("error_pages"), "{told}");
    assert_eq!(ask(&proxy, &request("GET", "/", "")).await.text(), "two");
}

/// A script of another origin has to be able to read what went wrong, and a fault is no hole in a policy.
#[tokio::test]
async fn a_fault_says_to_browsers_what_its_route_says() {
    let file = "trusted_proxies = [\"127.0.0.1\"]\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"dead\"\n\
                request_id = true\nsecure_headers = true\nhsts = { max_age = \"2y\", subdomains = true, preload = true }\n\
                cors = { origins = \"https://a.example\", credentials = true }\n\
                [upstream.dead]\nnodes = [\"127.0.0.1:1\"]\ndown_wait = \"0s\"\n";
    let mut proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), file).await;
    for target in ["/", "/socket.io/?EIO=4&transport=polling"] {
        let lines = "Origin: https://a.example\r\nX-Forwarded-Proto: https\r\nX-Request-Id: abc-1\r\n\
                     Accept: application/json\r\n";
        let answer = ask(&proxy, &request("GET", target, lines)).await;
        assert_eq!(answer.status(), 503, "{target}");
        for (name, value) in [
            ("access-control-allow-origin", "https://a.example"),
            ("access-control-allow-credentials", "true"),
            ("vary", "Origin"),
            ("x-content-type-options", "nosniff"),
            ("strict-transport-security", "max-age=63072000; includeSubDomains; preload"),
            ("x-request-id", "abc-1"),
            ("content-type", "application/json"),
        ] {
            assert_eq!(answer.all(name), [value], "{target}: {name}");
        }
        assert!(
            !answer.text().contains("127.0.0.1") && !answer.text().contains("refused"),
            "{}",
            answer.text()
        );
    }
    let is_it = |line: &str| line.contains(r#""request_id":"abc-1""#) && line.contains("node refused");
    proxy.process().wait_for_line(is_it).await;
}

#[tokio::test]
async fn maintenance_lets_those_pass_that_it_names() {
    let routes = "[[route]]\nupstream = \"nodes\"\n[[route]]\npath = \"/open\"\nrespond = { text = \"open\" }\n\
                  maintenance = false\n";
    for (allow, status) in [("", 503), ("127.0.0.0/8", 200)] {
        let top = format!("maintenance = true\nmaintenance_allow = [{}]\n", quoted(allow));
        let (proxy, origin) = start_under(&top, routes, OK).await;
        let answer = ask(&proxy, &request("GET", "/", "")).await;
        assert_eq!(answer.status(), status, "{allow}");
        assert_eq!(answer.header("retry-after"), (status == 503).then_some("60"));
        assert_eq!(origin.requests().len(), usize::from(status == 200));
        assert_eq!(ask(&proxy, &request("GET", "/open", "")).await.text(), "open");
    }
    // A route may be closed alone, and says why where its log is, not to the client.
    let routes = "[[route]]\nupstream = \"nodes\"\n[[route]]\npath = \"/shut\"\nupstream = \"nodes\"\n\
                  maintenance = true\ncors = { origins = \"*\" }\n";
    let (mut proxy, origin) = start_under("", routes, OK).await;
    assert_eq!(ask(&proxy, &request("GET", "/", "")).await.text(), "ok");
    let shut = ask(&proxy, &request("GET", "/shut", "Origin: https://a.example\r\n")).await;
    assert_eq!((shut.status(), &*shut.text()), (503, "503 Service Unavailable\n"));
    assert_eq!(shut.header("access-control-allow-origin"), Some("*"));
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    assert_eq!(ask(&proxy, &request("GET", "/shut", upgrade)).await.status(), 503);
    let asks = "Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n";
    let mut client = testkit::raw::RawConnection::connect(proxy.address()).await;
    client.send(request("OPTIONS", "/shut", asks)).await;
    assert_eq!(client.read_head().await.status(), 204, "whoever asks first wants to know who may");
    assert_eq!(origin.requests().len(), 1);
    proxy.process().wait_for_line(|line| line.contains(r#""fault":"in maintenance""#)).await;
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("\"{text}\"") }
}

#[tokio::test]
async fn a_request_has_one_id_everywhere() {
    let routes = r#"
        [[route]]
        path = "/client"
        request_id = "client"
        upstream = "nodes"
        [[route]]
        path = "/text"
        respond = { text = "{request_id}" }
        [[route]]
        path = "/none"
        upstream = "nodes"
        [[route]]
        request_id = true
        upstream = "nodes""#;
    let answer = "HTTP/1.1 200 OK\r\nX-Request-Id: node's\r\nContent-Length: 2\r\n\r\nok";
    let (proxy, origin) = start(routes, answer).await;
    for (target, said, is_kept) in [
        ("/", "mine", false),
        ("/client", "mine", true),
        ("/client", "not mine", false),
        ("/none", "mine", true),
    ] {
        let answer = ask(&proxy, &request("GET", target, &format!("X-Request-Id: {said}\r\n"))).await;
        let sent = origin.requests().pop().expect("it got through");
        let id = sent.header("x-request-id").expect("it has one").to_owned();
        assert_eq!(id == said, is_kept, "{target} {said}: {id}");
        let told = if target == "/none" { "node's" } else { &*id };
        assert_eq!(answer.all("x-request-id"), [told], "{target}");
    }
    // A stranger's is not taken where nobody said so, and nobody is told of one that a text alone asks for.
    let text = ask(&proxy, &request("GET", "/text", "X-Request-Id: mine\r\n")).await;
    assert_eq!((text.text().len(), text.header("x-request-id")), (32, None));
}

#[tokio::test]
async fn browsers_are_told_unless_the_app_does() {
    let routes = r#"
        [[route]]
        secure_headers = true
        hsts = "1y"
        upstream = "nodes""#;
    let answer =
        "HTTP/1.1 200 OK\r\nx-frame-options: DENY\r\nX-Powered-By: Express\r\nContent-Length: 2\r\n\r\nok";
    let (proxy, _origin) = start(routes, answer).await;
    let answer = ask(&proxy, &request("GET", "/", "")).await;
    assert_eq!(answer.all("x-frame-options"), ["DENY"]);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("referrer-policy"), Some("strict-origin-when-cross-origin"));
    assert_eq!(answer.header("x-powered-by"), None);
    assert_eq!(answer.header("strict-transport-security"), None, "not over plain HTTP");
    let trusting = "trusted_proxies = [\"127.0.0.1\"]\n";
    let (proxy, _origin) = start_under(trusting, routes, OK).await;
    let answer = ask(&proxy, &request("GET", "/", "X-Forwarded-Proto: https\r\n")).await;
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    assert_eq!(answer.header("x-frame-options"), Some("SAMEORIGIN"));
}

#[tokio::test]
async fn pages_of_other_origins_are_answered_by_the_route() {
    let routes = r#"
        [[route]]
        cors = { origins = ["https://*.example.com"], credentials = true, exposed = ["X-Total"] }
        upstream = "nodes""#;
    let answer = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\nok";
    let (proxy, origin) = start(routes, answer).await;
    let asks = "Origin: https://a.example.com\r\nAccess-Control-Request-Method: PUT\r\n\
                Access-Control-Request-Headers: x-a\r\n";
    let mut client = testkit::raw::RawConnection::connect(proxy.address()).await;
    client.send(request("OPTIONS", "/", asks)).await;
    let preflight = client.read_head().await;
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://a.example.com"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-a"));
    assert_eq!(preflight.header("access-control-max-age"), Some("3600"));
    assert_eq!(origin.requests().len(), 0);
    for (origin, allowed) in [
        ("https://a.example.com", Some("https://a.example.com")),
        ("https://evil.com", None),
        ("https://example.com.evil.com", None),
    ] {
        let answer = ask(&proxy, &request("GET", "/", &format!("Origin: {origin}\r\n"))).await;
        assert_eq!(answer.header("access-control-allow-origin"), allowed, "{origin}");
        assert_eq!(answer.header("access-control-allow-credentials"), allowed.map(|_| "true"));
        assert_eq!(answer.header("access-control-expose-headers"), allowed.map(|_| "X-Total"));
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
}

#[tokio::test]
async fn everybody_may_read_what_is_for_all() {
    let routes = r#"
        [[route]]
        cors = { origins = "*", methods = "GET", headers = ["X-A", "X-B"], max_age = "10m" }
        upstream = "nodes""#;
    let (proxy, origin) = start(routes, OK).await;
    let answer = ask(&proxy, &request("GET", "/", "Origin: null\r\n")).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!((answer.header("vary"), answer.header("access-control-allow-credentials")), (None, None));
    let mut client = testkit::raw::RawConnection::connect(proxy.address()).await;
    let asks = "Origin: https://a.example\r\nAccess-Control-Request-Method: PUT\r\n\
                Access-Control-Request-Headers: x-evil\r\n";
    client.send(request("OPTIONS", "/", asks)).await;
    let preflight = client.read_head().await;
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET"));
    assert_eq!(preflight.header("access-control-allow-headers"), Some("X-A, X-B"));
    assert_eq!(preflight.header("access-control-max-age"), Some("600"));
    // What is no preflight is the app's, and its connection goes on behind one.
    client.send(request("OPTIONS", "/", "Origin: https://a.example\r\n")).await;
    assert_eq!(client.read_message().await.text(), "ok");
    assert_eq!(origin.requests().len(), 2);
}
