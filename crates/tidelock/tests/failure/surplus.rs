//! Nodes that send more than their answer: nobody else gets it, and it is told.

use testkit::origin::Origin;
use testkit::process::tells;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;

use crate::{GET, OK, start};

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/// Asks on `client`, and answers on the next connection to the node: it must be a new one. `behind` follows the answer.
async fn on_a_new_connection(client: &mut RawConnection, origin: &Origin, behind: &str) -> RawConnection {
    client.send(GET).await;
    let mut node = origin.accept().await;
    node.read_head().await;
    node.send(format!("{OK}{behind}")).await;
    assert_eq!(client.read_message().await.text(), "ok");
    node
}

async fn surplus_of(proxy: &Tidelock) -> u64 {
    let status = proxy.status().await;
    status["upstreams"][0]["nodes"][0]["surplus"].as_u64().expect("it is counted")
}

/// However they come: in one piece with an answer, or on a connection that rests.
#[tokio::test]
async fn bytes_behind_an_answer_reach_nobody_and_are_told() {
    for is_late in [false, true] {
        let origin = Origin::bind().await;
        let mut proxy = start(&[origin.address()], "").await;
        let mut client = RawConnection::connect(proxy.address()).await;
        // Another connection to the node rests beside it; who knows what comes on that one.
        let mut other = RawConnection::connect(proxy.address()).await;
        client.send(GET).await;
        let mut node = origin.accept().await;
        node.read_head().await;
        let mut resting = on_a_new_connection(&mut other, &origin, "").await;
        if is_late {
            node.send(OK).await;
            assert_eq!(client.read_message().await.text(), "ok");
            node.send(EVIL).await;
        } else {
            node.send(format!("{OK}{EVIL}")).await;
            assert_eq!(client.read_message().await.text(), "ok");
        }
        // Each gets its own answer, and no connection is used again, neither that one nor those that came later.
        let mut kept = Vec::new();
        for round in 0..6 {
            let asks = if round % 2 == 0 { &mut client } else { &mut other };
            kept.push(on_a_new_connection(asks, &origin, "").await);
        }
        assert_eq!(resting.read_to_end().await.0, b"", "it was used again");
        assert_eq!(surplus_of(&proxy).await, 1, "late: {is_late}");
        // Another time it is counted, and not said again.
        on_a_new_connection(&mut client, &origin, EVIL).await;
        assert_eq!(surplus_of(&proxy).await, 2, "late: {is_late}");
        let warnings = proxy.process().lines_since(Default::default());
        let warned = warnings.iter().filter(|line| tells(line, "node_surplus")).count();
        assert_eq!(warned, 1, "{warnings:#?}");
    }
}

/// A connection that the node has just closed says nothing against it.
#[tokio::test]
async fn an_end_is_no_surplus() {
    let origin = Origin::bind().await;
    let proxy = start(&[origin.address()], "").await;
    let mut client = RawConnection::connect(proxy.address()).await;
    drop(on_a_new_connection(&mut client, &origin, "").await);
    let mut node = on_a_new_connection(&mut client, &origin, "").await;
    client.send(GET).await;
    node.read_head().await;
    node.send(OK).await;
    assert_eq!(client.read_message().await.text(), "ok");
    assert_eq!(surplus_of(&proxy).await, 0);
}
