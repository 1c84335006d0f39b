//! Goal: a node that is drained lets its browsers' pages come to the end of the window and sends what lasts elsewhere at once,
//! pin and all; and it is empty in time, however busy they are. Method: browsers with a login on one of two nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use testkit::TIMEOUT;
use testkit::message::Message;
use testkit::node::NodePlan;
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::logins::{Jar, two};
use crate::stand::{TIDELOCK, verb};

const BROWSERS: usize = 50;

/// The head of the answer to a browser's request, which keeps none of its cookies.
async fn head_of(proxy: &Tidelock, jar: &Jar, request: &str) -> Message {
    let (name, pin) = jar.pin().expect("a pin");
    let mut connection = RawConnection::connect(proxy.address()).await;
    let (line, lines) = request.split_once("\r\n").unwrap_or((request, ""));
    connection
        .send(format!("{line} HTTP/1.1\r\nHost: app.example\r\nCookie: {name}={pin}\r\n{lines}\r\n"))
        .await;
    connection.read_head().await
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn while_a_node_drains_pages_stay_and_what_lasts_moves() {
    let nodes = two(NodePlan::login).await;
    let drain = "[drain]\nwindow = \"10m\"\ndeadline = \"10m\"\n";
    let proxy = Tidelock::start(TIDELOCK, &(FilePlan::to(&nodes).text() + drain)).await;
    let mut jar = Jar::default();
    let login = jar.json(&proxy, "POST /login?user=ada").await;
    let here = usize::from(login["node"] == "b");
    let (address, there) = (nodes[here].address().to_string(), ["a", "b"][1 - here]);
    let draining = async {
        while_it_drains(&proxy, &mut jar, &login, there).await;
        verb(proxy.directory(), &["undrain", &address]).await
    };
    let drain = ["drain", &address];
    let ((code, said), undrained) = tokio::join!(verb(proxy.directory(), &drain), draining);
    assert_eq!(undrained.0, 0, "{}", undrained.1);
    // Nothing was under way there now and then, but it was not empty: a page could come.
    assert!(code == 1 && said.contains("told to take part again"), "{said}");
}

async fn while_it_drains(proxy: &Tidelock, jar: &mut Jar, login: &Value, there: &str) {
    let drains = async {
        while !proxy.status().await["upstreams"][0]["nodes"].to_string().contains("\"draining\":true") {}
    };
    timeout(TIMEOUT, drains).await.expect("it drains");
    let before = jar.0.clone();
    for _ in 0..4 {
        assert_eq!(&jar.json(proxy, "GET /me").await, login);
    }
    assert_eq!(jar.0, before, "the pin stays as well");
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for lasting in [
        "GET /socket.io/?EIO=4&transport=polling".to_owned(),
        format!("GET /socket.io/?EIO=4&transport=websocket\r\n{upgrade}"),
        "GET /me\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n".to_owned(),
    ] {
        let head = head_of(proxy, jar, &lasting).await;
        assert!([200, 101].contains(&head.status()), "{lasting}: {}", head.status());
        let (name, pin) = jar.pin().map(|(name, pin)| (name.clone(), pin.clone())).expect("a pin");
        let sets = head.all("set-cookie");
        let moved = sets.iter().find_map(|set| set.strip_prefix(&format!("{name}="))).expect(&lasting);
        let moved = moved.split(';').next().expect("a value");
        assert_ne!(moved, pin, "{lasting}");
        // Whoever keeps it is at home there, also for pages.
        let mut goes_along = jar.clone();
        goes_along.0.insert(name, moved.to_owned());
        assert_eq!(goes_along.json(proxy, "GET /me").await["node"], there, "{lasting}");
    }
}

/// Their requests come without a pause, so that some are always under way.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_drain_ends_under_fifty_busy_browsers() {
    let nodes = two(NodePlan::login).await;
    let drain = "[drain]\nwindow = \"1s\"\ndeadline = \"30s\"\n";
    let proxy = Arc::new(Tidelock::start(TIDELOCK, &(FilePlan::to(&nodes).text() + drain)).await);
    let mut jars = Vec::new();
    for number in 0..BROWSERS {
        let mut jar = Jar::default();
        let login = jar.json(&proxy, &format!("POST /login?user=user-{number}")).await;
        jars.push((jar, login));
    }
    let is_drained = Arc::new(AtomicBool::new(false));
    let mut browsers = JoinSet::new();
    for (mut jar, login) in jars {
        let (proxy, is_drained) = (proxy.clone(), is_drained.clone());
        browsers.spawn(async move {
            while !is_drained.load(Ordering::Acquire) {
                let page = jar.json(&proxy, "GET /me").await;
                assert!(login["node"] == "a" || page == login, "who is on the other node notices nothing");
            }
            jar.json(&proxy, "GET /me").await["node"].clone()
        });
    }
    let (code, said) = verb(proxy.directory(), &["drain", &nodes[0].address().to_string()]).await;
    is_drained.store(true, Ordering::Release);
    assert!(code == 0 && said.contains("empty"), "{said}");
    let mut on_b = 0;
    while let Some(node) = browsers.join_next().await {
        on_b += usize::from(node.expect("each request is answered") == "b");
    }
    assert_eq!(on_b, BROWSERS, "none is on the node that has been drained");
}
