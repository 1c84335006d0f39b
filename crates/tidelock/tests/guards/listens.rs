//! Whose connections a listen takes.

use testkit::origin::ScriptedOrigin;
use testkit::process::{Signal, tells};
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

use super::{TIDELOCK, counted};

const WHY: &str = "connection from an address that its listen does not take";
const GET: &str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// Whether a request is answered, behind these bytes.
async fn is_taken(address: std::net::SocketAddr, before: &str) -> bool {
    let mut client = RawConnection::connect(address).await;
    // Who is closed at once may be so before this.
    let _ = client.try_send(format!("{before}{GET}")).await;
    let said = client.try_read_exactly(12).await;
    said.is_ok_and(|said| said == b"HTTP/1.1 200")
}

#[tokio::test]
async fn a_listen_takes_connections_of_whom_it_names() {
    let origin = ScriptedOrigin::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let file = format!(
        "trusted_proxies = [\"127.0.0.1\"]\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\nallow = [\"127.0.0.0/8\"]\n\
         [[listen]]\naddress = \"127.0.0.2:0\"\nallow = [\"10.0.0.0/8\"]\n\
         [[listen]]\naddress = \"127.0.0.3:0\"\ndeny = [\"127.0.0.1\"]\n\
         [[listen]]\naddress = \"127.0.0.4:0\"\nallow = [\"10.0.0.0/8\"]\ndeny = [\"10.0.0.7\"]\nproxy_protocol = true\n\
         [[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"{}\"]\n",
        origin.address()
    );
    let mut proxy = Tidelock::start(TIDELOCK, &file).await;
    let at = |last: u8| {
        *proxy
            .addresses()
            .iter()
            .find(|at| at.ip() == std::net::Ipv4Addr::new(127, 0, 0, last))
            .expect("it listens")
    };
    let [open, other, denied, proxied] = [1, 2, 3, 4].map(at);
    assert!(is_taken(open, "").await);
    assert!(!is_taken(other, "").await);
    assert!(!is_taken(denied, "").await);
    // Of a balancer that says who its client is, that one counts.
    let of = |client: &str| format!("PROXY TCP4 {client} 127.0.0.4 1000 80\r\n");
    assert!(is_taken(proxied, &of("10.0.0.1")).await);
    assert!(!is_taken(proxied, &of("10.0.0.7")).await);
    assert!(!is_taken(proxied, &of("192.0.2.1")).await);
    assert_eq!(counted(&proxy, "faults", WHY).await, 4);
    assert_eq!(origin.requests().len(), 2);
    // A reload counts for new connections.
    let mut before = RawConnection::connect(open).await;
    before.send(GET).await;
    assert_eq!(before.read_message().await.status(), 200);
    let mark = proxy.process().mark();
    proxy.rewrite(&file.replacen("127.0.0.0/8", "10.0.0.0/8", 1));
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    assert!(!is_taken(open, "").await);
    before.send(GET).await;
    assert_eq!(before.read_message().await.status(), 200);
}
