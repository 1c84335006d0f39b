//! Goal: ids of the app's own making are as good as Engine.IO's: counted, sticky, and drained. Method: the app's
//! `engine.generateId`, as JSON writes it, and clients that spell it in a query in every way that is allowed.

use testkit::engineio::PollingSession;
use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::tidelock::Tidelock;

use crate::stand::{SECRET, TIDELOCK, file_of};

/// An id as the open packet has it, what it means, and how a client spells it in a query.
const IDS: [(&str, &str, &str); 9] = [
    ("user:42:abc", "user:42:abc", "user%3A42%3Aabc"),
    ("user:43:abc", "user:43:abc", "user:43:abc"),
    ("a+b/c==", "a+b/c==", "a%2Bb%2Fc%3D%3D"),
    (r#"quote\"and\\slash"#, r#"quote"and\slash"#, "quote%22and%5Cslash"),
    (r"\u00e9t\u00e9", "été", "%C3%A9t%C3%A9"),
    ("é€😀", "é€😀", "%c3%a9%e2%82%ac%f0%9f%98%80"),
    ("with blank", "with blank", "with+blank"),
    ("with blank too", "with blank too", "with%20blank%20too"),
    (LONG, LONG, LONG),
];
const LONG: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\
                    0123456789abcdef0123456789abcdef01";

/// A node that gives these ids in turn, and knows none but its own.
async fn node(name: &'static str, ids: Vec<&'static str>) -> ScriptedOrigin {
    let mut next = 0;
    ScriptedOrigin::start(move |request: &Message| {
        let body = if request.start.contains("sid=") {
            "6".to_owned()
        } else {
            next += 1;
            let id = ids[(next - 1) % ids.len()];
            format!(r#"0{{"sid":"{id}","upgrades":[],"pingInterval":25000,"pingTimeout":20000}}"#)
        };
        let length = body.len();
        vec![Step::send(&format!(
            "HTTP/1.1 200 OK\r\nX-Node: {name}\r\nContent-Length: {length}\r\n\r\n{body}"
        ))]
    })
    .await
}

#[tokio::test]
async fn an_id_of_the_apps_own_making_is_sticky_in_every_mode() {
    for sticky in ["engineio", "engineio-learned", "cookie", "ip"] {
        for (json, means, spelt) in IDS {
            let (a, b) = (node("a", vec![json]).await, node("b", vec!["another"]).await);
            let entries = [format!("\"{}\"", a.address()), format!("\"{}\"", b.address())];
            let file = file_of(&[&entries[0], &entries[1]], SECRET, &format!("sticky = \"{sticky}\"\n"));
            let proxy = Tidelock::start(TIDELOCK, &file).await;
            let session = loop {
                let session = PollingSession::open(proxy.address(), "EIO=4").await;
                if session.handshake.header("x-node") == Some("a") || sticky == "ip" {
                    break session;
                }
            };
            let open: serde_json::Value =
                serde_json::from_slice(&session.handshake.body[1..]).expect("JSON behind the 0");
            let given = open["sid"].as_str().expect("an id");
            let here = session.handshake.header("x-node");
            let (tag, means, spelt) = match given.strip_prefix(means) {
                Some(tag) => (tag, means, spelt),
                None => (given.strip_prefix("another").expect("the other node's"), "another", "another"),
            };
            assert_eq!(tag.len(), if sticky == "engineio-learned" { 0 } else { 8 }, "{sticky}: {given}");
            for _ in 0..4 {
                let answer = session.poll_spelt(&format!("&sid={spelt}{tag}&t=x")).await;
                assert_eq!((answer.status(), answer.header("x-node")), (200, here), "{sticky}: {means}");
            }
            let asked = if here == Some("a") { &a } else { &b };
            let last = asked.requests().pop().expect("it was asked");
            assert!(
                last.start.contains(&format!("&sid={spelt}&t=x ")),
                "the rest is untouched: {}",
                last.start
            );
        }
    }
}
