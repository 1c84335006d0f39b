//! Engine.IO 4 at the origin, as little as a client can tell from the whole: handshakes, posts and polls.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Connection, write_all};

/// What was posted and is not polled yet, by session. Sessions that wait for nothing take no memory here.
#[derive(Default)]
pub(super) struct Sessions {
    opened: u64,
    waiting: HashMap<String, Rc<Mailbox>>,
}

#[derive(Default)]
struct Mailbox {
    packets: std::cell::RefCell<String>,
    arrived: Notify,
}

impl Sessions {
    /// The open packet of a new session.
    pub(super) fn open(&mut self, upgrades: bool) -> String {
        self.opened += 1;
        let upgrades = if upgrades { "\"websocket\"" } else { "" };
        // It never pings, so that it promises none for as long as is believed.
        format!(
            "0{{\"sid\":\"{:020}\",\"upgrades\":[{upgrades}],\"pingInterval\":240000,\"pingTimeout\":60000,\
             \"maxPayload\":1000000}}",
            self.opened
        )
    }

    fn mailbox(&mut self, sid: &str) -> Rc<Mailbox> {
        if let Some(mailbox) = self.waiting.get(sid) {
            return mailbox.clone();
        }
        self.waiting.entry(sid.to_owned()).or_default().clone()
    }
}

impl Connection {
    pub(super) async fn answer_engine_io(
        &mut self,
        target: &str,
        is_post: bool,
        body: &[u8],
    ) -> io::Result<()> {
        let sid = target.split(['?', '&']).find_map(|pair| pair.strip_prefix("sid="));
        let Some(sid) = sid else {
            let packet = self.shared.sessions.borrow_mut().open(true);
            return self.answer_text(&packet).await;
        };
        let mailbox = self.shared.sessions.borrow_mut().mailbox(sid);
        if is_post {
            let text = std::str::from_utf8(body).unwrap_or_default();
            if let Some(packet) = answer(text) {
                let mut packets = mailbox.packets.borrow_mut();
                if !packets.is_empty() {
                    packets.push('\x1e');
                }
                packets.push_str(&packet);
                mailbox.arrived.notify_one();
            }
            return self.answer_text("ok").await;
        }
        if mailbox.packets.borrow().is_empty() {
            let _ = timeout(POLL_MAX, mailbox.arrived.notified()).await;
        }
        let packets = mailbox.packets.take();
        self.shared.sessions.borrow_mut().waiting.remove(sid);
        // A noop, when there is nothing else to say.
        self.answer_text(if packets.is_empty() { "6" } else { &packets }).await
    }

    async fn answer_text(&self, text: &str) -> io::Result<()> {
        let length = text.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=UTF-8\r\nContent-Length: {length}\r\n\r\n{text}"
        );
        write_all(&self.write, answer.as_bytes()).await
    }
}

/// What is said to a packet of a client: connect is granted, messages are echoed, everything else needs no word.
pub(super) fn answer(packet: &str) -> Option<String> {
    match packet {
        "40" => Some("40{\"sid\":\"00000000000000000000\"}".to_owned()),
        message if message.starts_with('4') => Some(message.to_owned()),
        _ => None,
    }
}

pub(super) const PATH: &str = "/socket.io/";
const POLL_MAX: Duration = Duration::from_secs(25);
