//! Which upstream gets a request, by its path: however it is spelled, and what a route that is strict refuses.

use testkit::origin::ScriptedOrigin;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

#[tokio::test]
async fn a_path_is_routed_by_what_it_means_and_sent_as_it_came() {
    let answering = async |who: &str| {
        ScriptedOrigin::answering(&format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{who}")).await
    };
    let (admin, other) = (answering("admin").await, answering("other").await);
    let config = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/admin\"\nupstream = \"admin\"\n\
         [[route]]\nhost = \"strict\"\npath = \"/admin\"\nupstream = \"admin\"\npaths = \"strict\"\n\
         [[route]]\nhost = \"strict\"\nupstream = \"other\"\npaths = \"strict\"\n\
         [[route]]\nupstream = \"other\"\n\
         [upstream.admin]\nnodes = [\"{}\"]\n[upstream.other]\nnodes = [\"{}\"]\n",
        admin.address(),
        other.address()
    );
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
    for (path, lenient, strict) in [
        ("/admin", "admin", "admin"),
        ("/%61dmin/x", "admin", "admin"),
        ("//admin", "admin", "admin"),
        ("/x/../admin", "admin", "admin"),
        ("/x/%2e%2e/%61dmin?a=%2f", "admin", "admin"),
        ("/administrator", "other", "other"),
        ("/.well-known/x", "other", "other"),
        ("/../admin", "admin", "400"),
        ("/x/..%2fadmin", "other", "400"),
        ("/admin%5cx", "other", "400"),
        ("/admin/%00", "admin", "400"),
        ("/admin/..;/x", "admin", "400"),
        ("/x%zz", "other", "400"),
    ] {
        for (host, want) in [("lenient", lenient), ("strict", strict)] {
            let mut client = RawConnection::connect(proxy.address()).await;
            client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
            let answer = client.read_message().await;
            match want {
                "400" => assert_eq!(answer.status(), 400, "{host}{path}"),
                who => {
                    assert_eq!(answer.text(), who, "{host}{path}");
                    let origin = if who == "admin" { &admin } else { &other };
                    let sent = origin.requests().last().map(|request| request.start.clone());
                    assert_eq!(sent, Some(format!("GET {path} HTTP/1.1")));
                }
            }
        }
    }
}

#[tokio::test]
async fn routes_of_one_path_are_told_apart_by_header_lines_and_the_query() {
    let route = |takes: &str, text: &str| format!("[[route]]\n{takes}\nrespond = {{ text = \"{text}\" }}\n");
    let config = "[[listen]]\naddress = \"127.0.0.1:0\"\n".to_owned()
        + &route("", "plain")
        + &route("query = { v = \"2\" }", "query")
        + &route("query = { v = \"2\", \"a b\" = true }", "query and key")
        + &route("headers = { X-V = \"2\" }", "header")
        + &route("headers = { x-v = \"2\", X-Debug = true }", "header and line")
        + &route("headers = { X-V = \"2\" }\nquery = { v = \"2\" }", "header and query")
        + &route("headers = { X-V = \"3\" }\nmethods = [\"POST\"]", "posted")
        + &route("path = \"/longer\"", "longer")
        + &route("regex = '/re.*'", "first regex")
        + &route("regex = '/regex'\nheaders = { X-V = \"2\" }\nmethods = [\"GET\"]", "second regex");
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
    for (line, lines, want) in [
        ("GET /", "", "plain"),
        ("GET /", "X-V: 2\r\n", "header"),
        ("GET /", "x-v:   2  \r\n", "header"),
        ("GET /", "X-V: 22\r\n", "plain"),
        ("GET /", "X-V: 1\r\nX-V: 2\r\n", "header"),
        ("GET /", "X-Debug: \r\n", "plain"),
        ("GET /", "X-Debug: \r\nX-V: 2\r\n", "header and line"),
        ("GET /?v=2", "", "query"),
        ("GET /?v=%32", "", "query"),
        ("GET /?%76=2", "", "query"),
        ("GET /?a=1&v=2&b", "", "query"),
        ("GET /?V=2", "", "plain"),
        ("GET /?v=2x", "", "plain"),
        ("GET /?v", "", "plain"),
        ("GET /?xv=2", "", "plain"),
        ("GET /?v=2&a+b", "", "query and key"),
        ("GET /?a%20b=x&v=2", "", "query and key"),
        ("GET /?v=2", "X-V: 2\r\n", "header and query"),
        // More header lines come before more of the query.
        ("GET /?v=2", "X-V: 2\r\nX-Debug: 1\r\n", "header and line"),
        ("POST /?v=2", "X-V: 3\r\nContent-Length: 0\r\n", "posted"),
        ("GET /?v=2", "X-V: 3\r\n", "query"),
        // A longer path comes before them, and regular expressions keep their order.
        ("GET /longer?v=2", "X-V: 2\r\n", "longer"),
        ("GET /regex", "X-V: 2\r\n", "first regex"),
    ] {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(format!("{line} HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).await;
        assert_eq!(client.read_message().await.text(), want, "{line} {lines}");
    }
}
