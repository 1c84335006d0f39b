//! Pages for faults that somebody else answers: another route, or the nodes of another upstream.

use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

use super::actions::ask;

fn request(method: &str, target: &str, lines: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: h\r\n{lines}\r\n")
}

/// A node that says who it is and what it was asked, with the status that the path ends in.
async fn node(name: &'static str) -> ScriptedOrigin {
    ScriptedOrigin::start(move |asked: &Message| {
        let path = asked.start.split(' ').nth(1).unwrap_or_default();
        let status = path.rsplit('/').next().and_then(|last| last.parse().ok()).unwrap_or(200);
        let has = |line: &str| asked.header(line).is_some();
        let seen =
            ["range", "if-none-match", "content-length", "cookie"].into_iter().filter(|line| has(line));
        let body = format!("{name} {} {:?}", asked.start, seen.collect::<Vec<_>>());
        let length = body.len();
        let body = if asked.start.starts_with("HEAD") { String::new() } else { body };
        vec![Step::send(&format!(
            "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nX-Node: {name}\r\n\r\n{body}"
        ))]
    })
    .await
}

#[tokio::test]
async fn a_fault_is_answered_by_a_route_or_by_other_nodes() {
    let folder = testkit::tidelock::directory();
    std::fs::create_dir(folder.path().join("public")).expect("a writable folder");
    std::fs::write(folder.path().join("public/404.html"), "<p>from disk").expect("a writable folder");
    let (app, spare) = (node("app").await, node("spare").await);
    let file = format!(
        "error_pages = {{ 404 = {{ path = \"/404.html\" }}, 410 = {{ path = \"/to\" }}, 418 = {{ path = \"/none.html\" }} }}\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/files\"\nfiles = \"public\"\n\
         [[route]]\nexact = \"/404.html\"\nfiles = \"public\"\nresponse_headers = {{ set = {{ X-Page = \"yes\" }} }}\n\
         [[route]]\npath = \"/gone\"\nrespond = 410\n\
         [[route]]\npath = \"/tea\"\nrespond = 418\n\
         [[route]]\nexact = \"/none.html\"\nfiles = \"public\"\n\
         [[route]]\nexact = \"/to\"\nredirect = \"/else\"\n\
         [[route]]\npath = \"/asset\"\nfiles = \"public\"\nerror_pages = {{ 404 = {{ path = \"/app/page?of=404\" }} }}\n\
         [[route]]\npath = \"/one\"\nfiles = \"public\"\nerror_pages = {{ 404 = {{ path = \"/app/index\", status = 200 }} }}\n\
         [[route]]\npath = \"/own\"\nfiles = \"public\"\nerror_pages = {{ 404 = {{ path = \"/app/x/403\", status = \"own\" }} }}\n\
         [[route]]\npath = \"/app\"\nupstream = \"app\"\n\
         [[route]]\npath = \"/meant\"\nupstream = \"app\"\nintercept_errors = true\n\
         error_pages = {{ 404 = {{ path = \"/404.html\" }}, 5xx = {{ upstream = \"spare\" }} }}\n\
         [[route]]\npath = \"/dead\"\nupstream = \"dead\"\nerror_pages = {{ 5xx = {{ upstream = \"spare\" }} }}\n\
         [[route]]\npath = \"/kept\"\nupstream = \"dead\"\nerror_pages = {{ 5xx = {{ upstream = \"spare\", status = 502 }} }}\n\
         [[route]]\npath = \"/both\"\nupstream = \"dead\"\nerror_pages = {{ 5xx = {{ upstream = \"dead\" }} }}\n\
         [upstream.app]\nnodes = [\"{}\"]\n[upstream.spare]\nnodes = [\"{}\"]\n\
         [upstream.dead]\nnodes = [\"127.0.0.1:1\"]\ndown_wait = \"0s\"\n",
        app.address(),
        spare.address()
    );
    let proxy = Tidelock::start_in(folder, env!("CARGO_BIN_EXE_tidelock"), &file).await;
    let range = "Range: bytes=0-1\r\nIf-None-Match: *\r\nCookie: a=b\r\n";
    for (asks, status, text) in [
        (request("GET", "/nobody", ""), 404, "<p>from disk"),
        (request("GET", "/nobody", range), 404, "<p>from disk"),
        (request("POST", "/nobody", "Content-Length: 0\r\n"), 404, "<p>from disk"),
        (request("GET", "/files/none", ""), 404, "<p>from disk"),
        (request("GET", "/nobody", "Accept: text/html\r\n"), 404, "<p>from disk"),
        // Scripts want to know, and not to read.
        (request("GET", "/nobody", "Accept: application/json\r\n"), 404, "\"status\":404"),
        // A page that is not there is none.
        (request("GET", "/tea", ""), 418, "418"),
        (request("GET", "/asset/x.js", range), 404, "app GET /app/page?of=404 HTTP/1.1 [\"cookie\"]"),
        (request("GET", "/one/x", "Accept: application/json\r\n"), 200, "app GET /app/index HTTP/1.1 []"),
        (request("GET", "/own/x", ""), 403, "app GET /app/x/403 HTTP/1.1 []"),
        // What a node says is its own where nobody wants it otherwise.
        (request("GET", "/app/404", ""), 404, "app GET /app/404 HTTP/1.1 []"),
        (request("GET", "/meant/404", ""), 404, "<p>from disk"),
        (request("GET", "/meant/500", ""), 500, "spare GET /meant/500 HTTP/1.1 []"),
        (
            request("POST", "/meant/500", "Content-Length: 0\r\n"),
            500,
            "app POST /meant/500 HTTP/1.1 [\"content-length\"]",
        ),
        (
            request("GET", "/dead/x", range),
            200,
            "spare GET /dead/x HTTP/1.1 [\"range\", \"if-none-match\", \"cookie\"]",
        ),
        (request("GET", "/kept/x", ""), 502, "spare GET /kept/x HTTP/1.1 []"),
        (request("GET", "/both/x", ""), 503, "503 Service Unavailable"),
        (request("GET", "/dead/socket.io/?EIO=4&transport=polling", ""), 503, "\"code\":3"),
    ] {
        let answer = ask(&proxy, &asks).await;
        assert_eq!(answer.status(), status, "{asks}: {}", answer.text());
        assert!(answer.text().contains(text), "{asks}: {}", answer.text());
    }
    // A body that nobody has read yet goes to whoever answers.
    let post = request("POST", "/dead/x", "Content-Length: 3\r\n") + "abc";
    let answer = ask(&proxy, &post).await;
    assert_eq!(answer.text(), "spare POST /dead/x HTTP/1.1 [\"content-length\"]");
    assert_eq!(spare.requests().last().map(|request| request.text()), Some("abc".to_owned()));
    let page = ask(&proxy, &request("GET", "/nobody", "")).await;
    assert_eq!((page.start.as_str(), page.header("x-page")), ("HTTP/1.1 404 Not Found", Some("yes")));
    let head = ask(&proxy, &request("HEAD", "/nobody", "")).await;
    assert_eq!((head.status(), head.header("content-length"), head.body.len()), (404, Some("12"), 0));
    let sent = ask(&proxy, &request("GET", "/gone", "")).await;
    assert_eq!((sent.status(), sent.header("location")), (302, Some("/else")));
}

/// What is left of the body of a request that was answered by a page is no request.
#[tokio::test]
async fn a_body_is_no_request_behind_a_page() {
    let app = node("app").await;
    let file = format!(
        "error_pages = {{ 4xx = {{ path = \"/page\" }} }}\n[limits]\nbody_bytes_max = \"1KiB\"\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\npath = \"/page\"\nupstream = \"app\"\n\
         [[route]]\npath = \"/app\"\nupstream = \"app\"\n[upstream.app]\nnodes = [\"{}\"]\n",
        app.address()
    );
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file).await;
    let inner = request("GET", "/app/inner", "");
    for (target, length, status) in [("/nobody", inner.len(), 404), ("/app", 5000, 413)] {
        let mut client = RawConnection::connect(proxy.address()).await;
        client
            .send(format!("{}{inner}", request("POST", target, &format!("Content-Length: {length}\r\n"))))
            .await;
        let answer = client.read_message().await;
        assert_eq!((answer.status(), answer.header("connection")), (status, Some("close")), "{target}");
        assert!(answer.text().contains("GET /page "), "{target}: {}", answer.text());
    }
    assert!(app.requests().iter().all(|request| request.start == "GET /page HTTP/1.1"));
    // Without a body the connection goes on.
    let mut client = RawConnection::connect(proxy.address()).await;
    for _ in 0..2 {
        let answer = client.try_ask(&request("GET", "/nobody", "")).await.expect("an answer");
        assert_eq!((answer.status(), answer.header("connection")), (404, None));
    }
}
