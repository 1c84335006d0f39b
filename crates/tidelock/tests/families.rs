//! Goal: where every interface is meant, clients come in by IPv4 and by IPv6, and nodes see their addresses as they are.
//! Method: the real binary with a port on every interface, asked at 127.0.0.1 and at ::1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::get;
use testkit::tidelock::Tidelock;

#[tokio::test]
async fn every_interface_is_those_of_both_families() {
    let origin = ScriptedOrigin::start(|request| {
        let client = request.header("X-Forwarded-For").unwrap_or_default().to_owned();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", client.len());
        vec![Step::send(&(head + &client))]
    })
    .await;
    for written in [":0", "*:0", "[::]:0"] {
        let file = format!(
            "[[listen]]\naddress = \"{written}\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"{}\"]\n",
            origin.address()
        );
        let tidelock = Tidelock::start(TIDELOCK, &file).await;
        let port = tidelock.address().port();
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let answer = get(SocketAddr::new(ip, port), "/").await;
            assert_eq!((answer.status(), answer.text()), (200, ip.to_string()), "{written} at {ip}");
        }
    }
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
