//! Goal: requests that wait for the first process of an app cost little, and those who have left wait no more. Method: an
//! app that never listens, so that nobody is answered for as long as a request waits.

use serde_json::Value;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

async fn start() -> Tidelock {
    let config = "workers = 1\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"chat\"\n\
                  [upstream.chat]\napp = \"chat\"\n[app.chat]\ncommand = \"sleep 1000\"\nlogs = { folder = \"off\" }\n\
                  ready = { when = \"port\", deadline = \"1h\" }\n";
    Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), config).await
}

#[tokio::test]
async fn who_leaves_does_not_wait() {
    let mut proxy = start().await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET).await;
    drop(client);
    let line = proxy.process().wait_for_line(|line| line.starts_with('{')).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["status"], 499, "{line}");
}

#[tokio::test]
async fn only_so_many_wait() {
    let proxy = start().await;
    let mut clients = Vec::new();
    for _ in 0..600 {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(GET).await;
        clients.push(client);
    }
    assert_eq!(clients.last_mut().unwrap().read_message().await.status(), 503);
    assert!(clients[0].is_quiet(), "the first has been sent away");
}
