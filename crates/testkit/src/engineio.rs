//! One Engine.IO session by hand, for what a real client never does: JSONP, forged ids, leaving in a pending poll.

use std::net::SocketAddr;

use crate::message::Message;
use crate::raw::RawConnection;

/// A polling session that was opened, and what to ask for in its name. Each request has a connection of its own.
#[derive(Clone, Debug)]
pub struct PollingSession {
    address: SocketAddr,
    query: String,
    /// The session's id as the client was told it.
    pub sid: String,
    /// The answer to the handshake.
    pub handshake: Message,
}

impl PollingSession {
    /// Opens a session at `address`; `query` is the query without transport and id, such as `EIO=4` or `EIO=4&j=0`.
    ///
    /// # Panics
    /// If the answer is not that to a handshake.
    pub async fn open(address: SocketAddr, query: &str) -> Self {
        let opened = Self::try_open(address, query).await;
        opened.unwrap_or_else(|answer| panic!("no session id in {:?}", answer.text()))
    }

    /// The same, or the answer in which no session is.
    ///
    /// # Errors
    /// The answer.
    pub async fn try_open(address: SocketAddr, query: &str) -> Result<Self, Message> {
        let mut session = Self {
            address,
            query: query.to_owned(),
            sid: String::new(),
            handshake: Message::from_head(b"\r\n\r\n".to_vec()),
        };
        session.handshake = session.send("GET", "", "").await;
        match sid(&session.handshake.text()) {
            Some(sid) => Ok(Self { sid, ..session }),
            None => Err(session.handshake),
        }
    }

    /// The same session under another id, true or forged.
    #[must_use]
    pub fn with_sid(&self, sid: &str) -> Self {
        Self { sid: sid.to_owned(), ..self.clone() }
    }

    /// The same session by way of another tidelock.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// Polls, and waits for the answer.
    pub async fn poll(&self) -> Message {
        self.send("GET", &format!("&sid={}", self.sid), "").await
    }

    /// Posts `payload`.
    pub async fn post(&self, payload: &str) -> Message {
        self.send("POST", &format!("&sid={}", self.sid), payload).await
    }

    /// Polls on `connection`, and does not wait.
    pub async fn begin_poll(&self, connection: &mut RawConnection) {
        self.begin_poll_with(connection, "").await;
    }

    /// The same with `more` in the query.
    pub async fn begin_poll_with(&self, connection: &mut RawConnection, more: &str) {
        connection.send(self.request("GET", &format!("&sid={}{more}", self.sid), "")).await;
    }

    /// Sends a request with `&sid=…` as the test spells it.
    pub async fn poll_spelt(&self, sid_pairs: &str) -> Message {
        self.send("GET", sid_pairs, "").await
    }

    async fn send(&self, method: &str, sid_pairs: &str, body: &str) -> Message {
        let mut connection = RawConnection::connect(self.address).await;
        connection.send(self.request(method, sid_pairs, body)).await;
        connection.read_message().await
    }

    fn request(&self, method: &str, sid_pairs: &str, body: &str) -> String {
        let Self { address, query, .. } = self;
        // JSONP posts a form, everything else plain text.
        let is_jsonp = query.contains("j=");
        let content_type = if is_jsonp { "application/x-www-form-urlencoded" } else { "text/plain" };
        let body = match body {
            "" => String::new(),
            payload if is_jsonp => format!("d={}", payload.replace(':', "%3A")),
            payload => payload.to_owned(),
        };
        let content = match method {
            "POST" => format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len()),
            _ => String::new(),
        };
        format!(
            "{method} /socket.io/?{query}&transport=polling{sid_pairs} HTTP/1.1\r\nHost: {address}\r\n\
             Origin: http://page.example\r\nConnection: close\r\n{content}\r\n{body}"
        )
    }
}

/// The session's id in the answer to a handshake, of JSONP too, where quotes are escaped.
#[must_use]
pub fn sid(handshake: &str) -> Option<String> {
    let plain = handshake.replace('\\', "");
    let (_, rest) = plain.split_once("\"sid\":\"")?;
    let (sid, _) = rest.split_once('"')?;
    Some(sid.to_owned())
}
