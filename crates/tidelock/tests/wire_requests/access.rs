//! Who may, by address.

use testkit::origin::ScriptedOrigin;
use testkit::tidelock::Tidelock;

use super::actions::ask;

/// All clients are at 127.0.0.1, which is a trusted proxy here, and says for whom it asks.
#[tokio::test]
async fn a_route_answers_the_clients_that_it_allows() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnode").await;
    let file = format!(
        "trusted_proxies = [\"127.0.0.1\"]\nerror_pages = {{ 403 = {{ text = \"not you\" }} }}\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/in\"\nallow = [\"10.0.0.0/8\", \"fd00::/8\"]\ndeny = [\"10.1.0.0/16\"]\nupstream = \"nodes\"\n\
         cors = {{ origins = [\"*\"] }}\n\
         [[route]]\npath = \"/out\"\ndeny = [\"192.0.2.7\"]\nrespond = {{ text = \"out\" }}\n\
         [[route]]\nupstream = \"nodes\"\nerror_pages = {{ 403 = {{ upstream = \"nodes\" }} }}\n\
         [[route]]\npath = \"/fallen\"\nallow = [\"10.0.0.0/8\"]\nrespond = 404\n\
         error_pages = {{ 403 = {{ upstream = \"nodes\" }}, 404 = {{ path = \"/in\" }} }}\n\
         [upstream.nodes]\nnodes = [\"{}\"]\n",
        origin.address()
    );
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file).await;
    let preflight = "OPTIONS /in HTTP/1.1\r\nOrigin: https://a\r\nAccess-Control-Request-Method: PUT";
    for (start, client, status, text) in [
        ("GET /in/x HTTP/1.1", "10.2.3.4", 200, "node"),
        ("GET /in/x HTTP/1.1", "fd00::1", 200, "node"),
        ("GET /in/x HTTP/1.1", "10.1.3.4", 403, "not you"),
        ("GET /in/x HTTP/1.1", "192.0.2.1", 403, "not you"),
        ("GET /in HTTP/1.1", "2001:db8::1", 403, "not you"),
        ("GET /%69n HTTP/1.1", "192.0.2.1", 403, "not you"),
        ("GET //x/..//in HTTP/1.1", "192.0.2.1", 403, "not you"),
        // Nodes may take these for it.
        ("GET /x/..%2fin HTTP/1.1", "192.0.2.1", 400, ""),
        ("GET /in%2fx HTTP/1.1", "192.0.2.1", 400, ""),
        (preflight, "192.0.2.1", 403, "not you"),
        (preflight, "10.2.3.4", 204, ""),
        ("GET /out HTTP/1.1", "192.0.2.7", 403, "not you"),
        ("GET /out HTTP/1.1", "192.0.2.8", 200, "out"),
        ("GET /else HTTP/1.1", "192.0.2.7", 200, "node"),
        // No page leads round it.
        ("GET /fallen HTTP/1.1", "192.0.2.7", 403, "403"),
        ("GET /fallen HTTP/1.1", "10.1.3.4", 404, "404"),
        ("GET /fallen HTTP/1.1", "10.2.3.4", 404, "node"),
        ("GET /in/?EIO=4&transport=polling HTTP/1.1", "192.0.2.1", 403, "\"code\":3"),
        (
            "GET /in HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "192.0.2.1",
            403,
            "not you",
        ),
    ] {
        let lines = format!("Host: h\r\nX-Forwarded-For: {client}\r\n\r\n");
        let (first, more) = start.split_once("\r\n").unwrap_or((start, ""));
        let more = if more.is_empty() { String::new() } else { format!("{more}\r\n") };
        let answer = ask(&proxy, &format!("{first}\r\n{more}{lines}")).await;
        assert_eq!(answer.status(), status, "{start} of {client}: {}", answer.text());
        assert!(answer.text().contains(text), "{start} of {client}: {}", answer.text());
    }
}
