//! The dialect of `@socket.io/redis-streams-adapter` 0.3.
//!
//! Broadcasts, joins, leaves and disconnects are entries of a stream, `uid nsp type data`, which Redis keeps: whoever
//! was away reads on where it stopped. What only those who are there can answer is published, in the envelope of the sharded
//! dialect and on its channels, but in MessagePack throughout.
//!
//! In Node.js the stream also serves connection state recovery: a client that comes back is told what it missed. socketioxide
//! has nothing of the kind, so that clients of a Rust node start anew. Those of Node.js nodes find what Rust nodes said.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;

use crate::{
    error::Malformed,
    message::{self, Answer, Ask, Entry, Incoming, Outgoing, Request, Sender},
    msgpack::{self, Reader},
    options::Options,
    payload::Payload,
    sharded::{BROADCAST, Sharded, has_bytes, read_json, read_msgpack},
};

#[derive(Debug)]
pub(crate) struct Streams {
    pub(crate) envelope: Sharded,
    stream: String,
    sender: Arc<Sender>,
}

/// An entry as it was read.
pub(crate) struct Read {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) kind: u64,
    pub(crate) data: Bytes,
}

impl Streams {
    pub(crate) fn new(options: &Options, namespace: &str, uid: String) -> Self {
        let sender = Sender {
            uid: uid.clone(),
            namespace: namespace.to_owned(),
            length_max: options.stream_length_max,
        };
        Self {
            envelope: Sharded::new(&options.prefix, namespace, uid),
            stream: stream_of(options, namespace),
            sender: Arc::new(sender),
        }
    }

    pub(crate) fn decode(&self, body: &Bytes) -> Result<Option<Incoming>, Malformed> {
        self.envelope.decode_msgpack(body)
    }

    pub(crate) fn decode_entry(&self, entry: Read) -> Result<Option<Incoming>, Malformed> {
        let Read { uid, namespace, kind, data } = entry;
        if !self.envelope.is_for_us(&uid, &namespace) {
            return Ok(None);
        }
        if data.is_empty() || data.starts_with(b"{") {
            return message::read_json(&data, |data| {
                let text = std::str::from_utf8(data).map_err(|_| Malformed("data that is no UTF-8"))?;
                read_json(kind, uid.clone(), if text.is_empty() { "{}" } else { text })
            });
        }
        let data: Bytes =
            BASE64_STANDARD.decode(&data).map_err(|_| Malformed("data that is no base64"))?.into();
        read_msgpack(kind, uid, Reader::new(&data), &data)
    }

    pub(crate) fn encode(&self, id: Option<&str>, request: &Request) -> Result<Outgoing, Malformed> {
        let is_kept = matches!(
            request,
            Request::Broadcast { .. }
                | Request::Join { .. }
                | Request::Leave { .. }
                | Request::Disconnect { .. }
        );
        if !is_kept {
            return in_msgpack(self.envelope.encode(id, request)?);
        }
        let (kind, body) = if has_bytes(request) {
            let mut data = Vec::with_capacity(256);
            msgpack::put_map(&mut data, 2);
            self.envelope.put_broadcast(&mut data, request)?;
            (BROADCAST, BASE64_STANDARD.encode(data).into_bytes())
        } else {
            let (kind, data) = self.envelope.fields(id, request)?;
            (kind, serde_json::to_vec(&data).map_err(|_| Malformed("fields that are no JSON"))?)
        };
        let entry = Some(Entry { sender: self.sender.clone(), kind });
        Ok(Outgoing { channel: self.stream.clone(), body, entry })
    }

    pub(crate) fn encode_answer(&self, ask: &Ask, answer: &Answer) -> Result<Outgoing, Malformed> {
        in_msgpack(self.envelope.encode_answer(ask, answer)?)
    }
}

/// Questions and answers are few, so that a second pass does no harm.
fn in_msgpack(mut outgoing: Outgoing) -> Result<Outgoing, Malformed> {
    if outgoing.body.starts_with(b"{") {
        let json = String::from_utf8(outgoing.body).map_err(|_| Malformed("fields that are no UTF-8"))?;
        outgoing.body = Vec::with_capacity(json.len());
        Payload::from_json(json).put_msgpack(&mut outgoing.body)?;
    }
    Ok(outgoing)
}

/// The names of all streams, each of which is read over a connection of its own.
pub(crate) fn streams(options: &Options) -> Vec<String> {
    match options.stream_count {
        0 | 1 => vec![options.stream_name.clone()],
        count => (0..count).map(|n| format!("{}-{n}", options.stream_name)).collect(),
    }
}

/// Each namespace has one stream, so that its messages keep their order.
fn stream_of(options: &Options, namespace: &str) -> String {
    let count = i64::from(options.stream_count);
    if count < 2 {
        return options.stream_name.clone();
    }
    // The remainder of a negative hash is negative in JavaScript as well, and nobody reads such a stream.
    format!("{}-{}", options.stream_name, i64::from(hash(namespace)) % count)
}

/// As in Node.js: over UTF-16, wrapped to 32 bits with sign.
fn hash(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use bytes::Bytes;
    use proptest::prelude::{any, proptest};
    use serde_json::json;

    use super::{Read, Streams, hash, stream_of};
    use crate::{
        message::{Answer, Ask, Flags, Incoming, Outgoing, RemoteSocket, Request, Target},
        options::Options,
        payload::Payload,
    };

    fn end(uid: &str) -> Streams {
        Streams::new(&Options::default(), "/chat", uid.to_owned())
    }

    /// As it would be read from Redis.
    fn receive(at: &Streams, outgoing: Outgoing) -> Option<Incoming> {
        let Some(entry) = outgoing.entry else { return at.decode(&outgoing.body.into()).unwrap() };
        let (uid, namespace) = (entry.sender.uid.clone(), entry.sender.namespace.clone());
        at.decode_entry(Read { uid, namespace, kind: entry.kind, data: outgoing.body.into() }).unwrap()
    }

    #[test]
    fn every_request_arrives_as_it_was_sent_and_not_at_its_sender() {
        let target = Target::room("here").or_room("there").except("muted");
        let text = Payload::from_json(r#"["news",{"z":1,"a":2}]"#.to_owned());
        let binary = Payload {
            json: r#"["news",{"b":{"_placeholder":true,"num":0}}]"#.into(),
            attachments: VecDeque::from([Bytes::from_static(b"\x00\xff")]),
        };
        let flags = Flags { volatile: true, timeout_ms: Some(1500) };
        let broadcast = |payload: &Payload| Request::Broadcast {
            payload: payload.clone(),
            target: target.clone(),
            flags,
        };
        let with_ack = |payload: &Payload| Request::BroadcastWithAck {
            payload: payload.clone(),
            target: target.clone(),
            flags,
        };
        let rows = [
            (broadcast(&text), true),
            (broadcast(&binary), true),
            (Request::Join { target: target.clone(), rooms: vec!["new".to_owned()] }, true),
            (Request::Leave { target: target.clone(), rooms: vec!["old".to_owned()] }, true),
            (Request::Disconnect { target: target.clone(), close: true }, true),
            (with_ack(&text), false),
            (with_ack(&binary), false),
            (Request::Sockets { target: target.clone() }, false),
            (Request::ServerSideEmit { arguments: vec![json!("hi"), json!({ "a": [1] })] }, false),
        ];
        for (sent, kept) in rows {
            let id = (!kept).then_some("id");
            let outgoing = end("them").encode(id, &sent).unwrap();
            assert_eq!(outgoing.entry.is_some(), kept, "{sent:?}");
            assert_eq!(outgoing.channel, if kept { "socket.io" } else { "socket.io#/chat#" });
            let ask = Ask { uid: Some("them".to_owned()), id: id.map(Into::into) };
            assert_eq!(receive(&end("us"), outgoing.clone()), Some(Incoming::Request(ask, sent.clone())));
            assert_eq!(receive(&end("them"), outgoing), None, "{sent:?}");
        }
    }

    #[test]
    fn every_answer_arrives_as_it_was_sent() {
        let rooms = vec!["r".to_owned()];
        let socket = RemoteSocket { id: "x".repeat(20), handshake: json!({}), rooms, data: json!(1) };
        let ask = Ask { uid: Some("us".to_owned()), id: Some("id".to_owned()) };
        for sent in [
            Answer::Sockets(vec![socket]),
            Answer::Sockets(vec![]),
            Answer::ServerSideEmit(json!({ "ok": true })),
            Answer::ServerSideEmit(json!(null)),
            Answer::ClientCount(300),
            Answer::ClientAck(Payload::from_json(r#"["first"]"#.to_owned())),
        ] {
            let outgoing = end("them").encode_answer(&ask, &sent).unwrap();
            assert_eq!(outgoing.channel, "socket.io#/chat#us#");
            let expected = Incoming::Answer { id: "id".to_owned(), answer: sent };
            assert_eq!(receive(&end("us"), outgoing), Some(expected));
        }
    }

    // Expected numbers were printed by `hashCode` of the adapter in Node.js.
    #[test]
    fn namespaces_are_spread_over_the_streams_as_in_node() {
        for (namespace, expected) in [("/", 47), ("/chat", 46_457_863), ("/ä😀", 3_392_184)] {
            assert_eq!(hash(namespace), expected, "{namespace}");
        }
        let options = Options { stream_count: 3, ..Options::default() };
        assert_eq!(stream_of(&options, "/"), "socket.io-2");
        assert_eq!(stream_of(&Options::default(), "/"), "socket.io");
    }

    proptest! {
        #[test]
        fn no_entry_panics(kind in 0_u64..20, data in any::<Vec<u8>>()) {
            let read = Read { uid: "them".to_owned(), namespace: "/chat".to_owned(), kind, data: data.into() };
            let _ = end("us").decode_entry(read);
        }
    }
}
