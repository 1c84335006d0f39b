//! What a route does with a request: redirects, answers of its own, other paths and other header lines.

use testkit::message::Message;
use testkit::origin::ScriptedOrigin;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

/// Routes in front of a node; `{port}` in them is the listen's.
pub(crate) async fn start(routes: &str, answer: &str) -> (Tidelock, ScriptedOrigin) {
    start_under("", routes, answer).await
}

/// The same, with keys of the file itself.
pub(crate) async fn start_under(keys: &str, routes: &str, answer: &str) -> (Tidelock, ScriptedOrigin) {
    let origin = ScriptedOrigin::answering(answer).await;
    let file = format!(
        "{keys}[[listen]]\naddress = \"127.0.0.1:0\"\n{routes}\n[upstream.nodes]\nnodes = [\"{}\"]\n",
        origin.address()
    );
    (Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file).await, origin)
}

pub(crate) async fn ask(proxy: &Tidelock, request: &str) -> Message {
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(request).await;
    match request.starts_with("HEAD ") {
        true => client.read_head().await,
        false => client.read_message().await,
    }
}

async fn get(proxy: &Tidelock, host: &str, target: &str) -> Message {
    ask(proxy, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nX-Who: me\r\nCookie: a=b; c=d\r\n\r\n"))
        .await
}

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn a_redirect_replaces_parts_of_the_url_or_all_of_it() {
    let routes = r#"
        [[route]]
        host = "www.example.com"
        redirect = { host = "example.com", status = 301 }
        [[route]]
        host = ["a.example.com", "b.example.com"]
        redirect = { scheme = "https" }
        [[route]]
        host = "port.example.com"
        redirect = { scheme = "https", port = 8443, status = 308 }
        [[route]]
        host = "path.example.com"
        redirect = { path = "/new{path}" }
        [[route]]
        host = "url.example.com"
        redirect = "https://{host}.example.org{uri}#{query:x}"
        [[route]]
        host = "regex.example.com"
        regex = '/old/(?P<year>[0-9]+)/(.*)'
        redirect = { path = "/{year}/new/{2}", status = 307 }
        [[route]]
        host = "line.example.com"
        redirect = "/{path}"
        [[route]]
        host = "uri.example.com"
        redirect = "{uri}"
        [[route]]
        upstream = "nodes""#;
    let (proxy, origin) = start(routes, OK).await;
    for (host, target, status, want) in [
        ("www.example.com", "/a?b=c", 301, "http://example.com/a?b=c"),
        ("WWW.example.com:8080", "/a", 301, "http://example.com/a"),
        ("a.example.com", "/x%20y", 302, "https://a.example.com/x%20y"),
        ("b.example.com:8080", "/", 302, "https://b.example.com/"),
        ("port.example.com", "/", 308, "https://port.example.com:8443/"),
        ("path.example.com:81", "/a/../b?c", 302, "http://path.example.com:81/new/b"),
        ("url.example.com", "/a?x=1", 302, "https://url.example.com.example.org/a?x=1#1"),
        ("regex.example.com", "/old/1999/a/b?c=d", 307, "http://regex.example.com/1999/new/a/b"),
        // What is decoded in the path is escaped again, and cannot end a line.
        // Nor does a path lead to another host.
        ("uri.example.com", "//evil.example/x?y", 302, "/evil.example/x?y"),
        ("uri.example.com", "/\\evil.example", 302, "/%5Cevil.example"),
        ("line.example.com", "/%0d%0aSet-Cookie:x=y", 302, "/%0D%0ASet-Cookie:x=y"),
    ] {
        let answer = get(&proxy, host, target).await;
        assert_eq!((answer.status(), answer.header("location")), (status, Some(want)), "{host}{target}");
        assert_eq!(answer.header("set-cookie"), None);
    }
    assert_eq!(get(&proxy, "regex.example.com", "/old/x/y").await.text(), "ok");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_stands_in_the_file() {
    let routes = r#"
        [[route]]
        exact = "/health"
        respond = { text = "up for {client_ip} by {method}\n" }
        response_headers = { set = { Cache-Control = "no-store", X-Empty = "" }, add = { X-Host = "{host}" } }
        [[route]]
        path = "/gone"
        respond = 410
        [[route]]
        path = "/none"
        respond = { status = 204 }
        [[route]]
        path = "/close"
        respond = 444
        [[route]]
        path = "/page"
        respond = { text = "<p>{header:x-who}{query:q}</p>", content_type = "text/html; charset=utf-8" }
        [[route]]
        methods = ["POST"]
        path = "/gone"
        upstream = "nodes"
        [[route]]
        upstream = "nodes""#;
    let (proxy, _origin) = start(routes, OK).await;
    let health = get(&proxy, "h", "/health").await;
    assert_eq!((health.status(), &*health.text()), (200, "up for 127.0.0.1 by GET\n"));
    assert_eq!(health.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(health.header("cache-control"), Some("no-store"));
    assert_eq!(health.header("x-host"), Some("h"));
    assert_eq!(health.header("x-empty"), None);
    let head = ask(&proxy, "HEAD /health HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!((head.status(), head.header("content-length")), (200, Some("25")));
    assert_eq!(get(&proxy, "h", "/health/").await.text(), "ok");

    let gone = get(&proxy, "h", "/gone/x").await;
    assert_eq!((gone.status(), &*gone.text(), gone.header("content-type")), (410, "", None));
    let post = "POST /gone HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx";
    assert_eq!(ask(&proxy, post).await.text(), "ok");

    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET /none HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let none = client.read_head().await;
    assert_eq!((none.status(), none.header("content-length")), (204, None));
    // The connection goes on behind it.
    client.send("GET /gone HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.read_message().await.status(), 410);
    client.send("GET /close HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(client.read_to_end().await.0, b"");

    // What strangers say is text, not markup.
    let page = get(&proxy, "h", "/page?q=<b>&x").await;
    assert_eq!(page.text(), "<p>me&lt;b&gt;</p>");
}

/// RFC 9110 section 6.6.1: whoever answers and has a clock says when. What a node says, or does not, is the node's.
#[tokio::test]
async fn answers_of_our_own_say_the_date() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "a").unwrap();
    let routes = format!(
        "[[route]]\npath = \"/text\"\nrespond = {{ text = \"x\" }}\n\
         [[route]]\npath = \"/away\"\nredirect = \"https://b.example/\"\n\
         [[route]]\npath = \"/a.txt\"\nfiles = {:?}\n\
         [[route]]\npath = \"/else\"\nrespond = {{ text = \"x\" }}\nresponse_headers = {{ set = {{ Date = \"today\" }} }}\n\
         [[route]]\npath = \"/never\"\nrespond = {{ text = \"x\" }}\nresponse_headers = {{ remove = [\"Date\"] }}\n\
         [[route]]\nupstream = \"nodes\"\n",
        folder.path()
    );
    let (proxy, _origin) = start(&routes, OK).await;
    let dates = async |request: String| {
        let answer = ask(&proxy, &request).await;
        answer.all("date").into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let to = |target| format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
    let refused = ["GET / HTTP/1.1\r\n\r\n", "no request\r\n\r\n"].map(str::to_owned);
    for request in ["/text", "/away", "/a.txt", "/a.txt/"].map(to).into_iter().chain(refused) {
        let said = dates(request.clone()).await;
        let [date] = &said[..] else { panic!("{request} {said:?}") };
        assert!(
            date.len() == "Sun, 06 Nov 1994 08:49:37 GMT".len() && date.ends_with(" GMT"),
            "{request} {date}"
        );
    }
    assert_eq!(dates(to("/else")).await, ["today"]);
    assert_eq!(dates(to("/never")).await, [""; 0]);
    assert_eq!(dates(to("/node")).await, [""; 0]);
}

#[tokio::test]
async fn a_node_sees_another_path_and_its_own_paths_come_back_whole() {
    let routes = r#"
        [[route]]
        path = "/app1"
        strip = true
        upstream = "nodes"
        [[route]]
        path = "/v1/"
        rewrite = { prefix = "/v2" }
        upstream = "nodes"
        [[route]]
        regex = '/old/([^/]*)/?(.*)'
        rewrite = "/new/{2}/{1}"
        upstream = "nodes""#;
    let answer = "HTTP/1.1 302 Found\r\nLocation: /login?to=/x\r\nSet-Cookie: a=b; Path=/; HttpOnly\r\n\
                  Set-Cookie: c=d; path=/x\r\nSet-Cookie: e=f; Path=/app1/y\r\nContent-Length: 0\r\n\r\n";
    let (proxy, origin) = start(routes, answer).await;
    for (target, sent) in [
        ("/app1", "/"),
        ("/app1/", "/"),
        ("/app1?x=1", "/?x=1"),
        ("/app1/a/b?c=/app1", "/a/b?c=/app1"),
        ("/%61pp1/a%20b", "/a%20b"),
        ("/x/../app1/a%2fb%3Fc", "/a%2Fb%3Fc"),
        // Nothing behind the prefix leads out of it.
        ("/app1/y/%2e%2e/z", "/z"),
        ("/v1/x", "/v2/x"),
        ("/v1", "/v2"),
        ("/old/a/b/c?d", "/new/b/c/a?d"),
    ] {
        let answer = get(&proxy, "h", target).await;
        assert_eq!(answer.status(), 302, "{target}");
        let requests = origin.requests();
        let request = requests.last().expect("it got through");
        assert_eq!(request.start, format!("GET {sent} HTTP/1.1"), "{target}");
        if target.contains("pp1") {
            assert_eq!(request.header("x-forwarded-prefix"), Some("/app1"));
            assert_eq!(answer.header("location"), Some("/app1/login?to=/x"));
            let cookies: Vec<&str> = answer.all("set-cookie");
            assert_eq!(cookies[..3], ["a=b; Path=/app1; HttpOnly", "c=d; path=/app1/x", "e=f; Path=/app1/y"]);
        } else if target.starts_with("/old") {
            assert_eq!(request.header("x-forwarded-prefix"), None);
            assert_eq!(answer.header("location"), Some("/login?to=/x"));
        }
    }
    assert_eq!(get(&proxy, "h", "/app1/../secret").await.status(), 404);
}

#[tokio::test]
async fn header_lines_are_set_added_and_removed_both_ways() {
    let routes = r#"
        [[route]]
        upstream = "nodes"
        body_bytes_max = "3B"
        [route.request_headers]
        set = { Host = "app.internal:{port}", X-Who = "{cookie:c} {method}", X-Real = "{client_ip}" }
        add = { X-Tag = "two" }
        remove = ["Cookie"]
        [route.response_headers]
        set = { Server = "tidelock", X-Path = "{path}" }
        add = { Vary = "Accept" }
        remove = ["X-Powered-By"]"#;
    let answer = "HTTP/1.1 200 OK\r\nServer: node\r\nX-Powered-By: Express\r\nVary: Origin\r\nContent-Length: 2\r\n\r\nok";
    let (proxy, origin) = start(routes, answer).await;
    let request = "GET /a%20b HTTP/1.1\r\nHost: h:81\r\nX-Who: me\r\nX_Who: stranger\r\nX-Tag: one\r\nCookie: a=b; c=d\r\n\r\n";
    let answer = ask(&proxy, request).await;
    let sent = origin.requests().remove(0);
    assert_eq!(sent.all("host"), ["app.internal:81"]);
    assert_eq!(sent.all("x-who"), ["d GET"]);
    assert_eq!(sent.header("x_who"), None);
    assert_eq!(sent.all("x-tag"), ["one", "two"]);
    assert_eq!(sent.header("x-real"), Some("127.0.0.1"));
    assert_eq!(sent.header("cookie"), None);
    assert_eq!(answer.all("server"), ["tidelock"]);
    assert_eq!(answer.all("vary"), ["Origin", "Accept"]);
    assert_eq!(answer.header("x-path"), Some("/a b"));
    assert_eq!(answer.header("x-powered-by"), None);

    let post = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd";
    assert_eq!(ask(&proxy, post).await.status(), 413);
}

/// The node is known when it has been chosen, and may be another one at the next attempt.
#[tokio::test]
async fn both_ends_are_told_which_node_answers() {
    let (first, second) = (ScriptedOrigin::answering(OK).await, ScriptedOrigin::answering(OK).await);
    let text = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\ntext";
    let compressed = ScriptedOrigin::answering(text).await;
    let headers = "request_headers = { set = { X-Backend = \"<{node}|{node}>\" } }\n\
                   response_headers = { set = { X-Served-By = \"{node}\", X-Method = \"{method}\" } }\n";
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nupstream = \"nodes\"\n{headers}\
         [[route]]\npath = \"/text\"\nupstream = \"text\"\n{headers}compress = {{ bytes_min = \"1B\" }}\n\
         [upstream.nodes]\nnodes = [\"{}\", \"{}\", \"127.0.0.1:1\"]\nbalance = \"round-robin\"\n\
         [upstream.nodes.health]\nprobe = \"none\"\n\
         [upstream.text]\nnodes = [\"{}\"]\n",
        first.address(),
        second.address(),
        compressed.address()
    );
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file).await;
    for _ in 0..6 {
        let answer = get(&proxy, "h", "/").await;
        assert_eq!((answer.status(), answer.all("x-method")), (200, vec!["GET"]));
        let named = answer.header("x-served-by").expect("the node is named").to_owned();
        let origin = [&first, &second].into_iter().find(|origin| origin.address().to_string() == named);
        let sent = origin.expect("it is one that answers").requests().pop().expect("it was asked");
        assert_eq!(sent.all("x-backend"), [format!("<{named}|{named}>")]);
    }
    assert!(!first.requests().is_empty() && !second.requests().is_empty());
    let request = "GET /text HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n";
    let answer = ask(&proxy, request).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert_eq!(answer.all("x-served-by"), [compressed.address().to_string()]);
}

/// What is decoded of a path ends no line, wherever it is put.
#[tokio::test]
async fn a_value_of_a_request_cannot_end_a_line() {
    let routes = r#"
        [[route]]
        regex = '/(.*)'
        rewrite = "/x/{1}"
        upstream = "nodes"
        [route.request_headers]
        set = { Host = "a{path}", X-Path = "{path}", X-Group = "{1}" }
        [route.response_headers]
        set = { X-Path = "{path}" }"#;
    let (proxy, origin) = start(routes, OK).await;
    let answer = get(&proxy, "h", "/b%0d%0aEvil:%20yes%00").await;
    let sent = origin.requests().remove(0);
    assert_eq!(sent.start, "GET /x/b%0D%0AEvil:%20yes%00 HTTP/1.1");
    assert_eq!(sent.header("evil"), None, "{sent:?}");
    assert_eq!(sent.all("host"), ["a/bEvil: yes%00"]);
    assert_eq!(
        (sent.header("x-path"), sent.header("x-group")),
        (Some("/bEvil: yes%00"), Some("bEvil: yes%00"))
    );
    assert_eq!((answer.header("evil"), answer.header("x-path")), (None, Some("/bEvil: yes%00")));
}

/// A node that sees another prefix says that one, and the client hears its own.
#[tokio::test]
async fn a_prefix_that_was_put_in_is_taken_out_again() {
    let routes = "[[route]]\npath = \"/v1\"\nrewrite = { prefix = \"/v2\" }\nupstream = \"nodes\"";
    for (location, want) in [
        ("/v2/login?to=/v2", "/v1/login?to=/v2"),
        ("/v2", "/v1"),
        ("/v22/x", "/v22/x"),
        ("/elsewhere", "/elsewhere"),
        ("//host/v2", "//host/v2"),
        ("https://h/v2/x", "https://h/v2/x"),
        ("x", "x"),
    ] {
        let answer = format!(
            "HTTP/1.1 302 Found\r\nLocation: {location}\r\nSet-Cookie: a=b; Path={location}\r\nContent-Length: 0\r\n\r\n"
        );
        let (proxy, origin) = start(routes, &answer).await;
        let answer = get(&proxy, "h", "/v1/x").await;
        assert_eq!(answer.header("location"), Some(want), "{location}");
        assert_eq!(answer.header("set-cookie"), Some(&*format!("a=b; Path={want}")), "{location}");
        assert_eq!(origin.requests()[0].header("x-forwarded-prefix"), None);
    }
}

/// A Socket.IO app under a prefix: its sessions are sticky, and their ids carry tags.
#[tokio::test]
async fn a_session_under_a_prefix_stays_on_its_node() {
    let routes = "[[route]]\npath = \"/app1\"\nstrip = true\nupstream = \"nodes\"";
    let open = r#"0{"sid":"abcdefghijklmnopqrst","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{open}", open.len());
    let (proxy, origin) = start(routes, &answer).await;
    let handshake = get(&proxy, "h", "/app1/socket.io/?EIO=4&transport=polling").await.text();
    let sid = handshake.split("\"sid\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a sid");
    assert_eq!(sid.len(), "abcdefghijklmnopqrst".len() + 8, "{handshake}");
    get(&proxy, "h", &format!("/app1/socket.io/?EIO=4&transport=polling&sid={sid}")).await;
    let starts: Vec<String> = origin.requests().into_iter().map(|request| request.start).collect();
    assert_eq!(
        starts,
        [
            "GET /socket.io/?EIO=4&transport=polling HTTP/1.1",
            "GET /socket.io/?EIO=4&transport=polling&sid=abcdefghijklmnopqrst HTTP/1.1",
        ]
    );
}
