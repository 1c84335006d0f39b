//! What nodes say to each other, in neither dialect: `classic` and `sharded` translate it to bytes.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value as Json;

use crate::{
    error::Malformed,
    msgpack::{Reader, Token},
    payload::Payload,
};

/// Which sockets of a namespace are meant, on every node.
///
/// ```
/// use fanout::Target;
/// let _everyone = Target::everyone();
/// let _red_or_blue_but_not_muted = Target::room("red").or_room("blue").except("muted");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// A socket is meant if it is in any of these; if there are none, every socket is.
    #[serde(default, deserialize_with = "names")]
    pub(crate) rooms: Vec<String>,
    /// Unless it is in any of these.
    #[serde(default, deserialize_with = "names")]
    pub(crate) except: Vec<String>,
}

impl Target {
    /// Every socket of the namespace.
    pub fn everyone() -> Self {
        Self::default()
    }

    /// The sockets in `room`. A socket's id is a room of its own, as in Node.js.
    pub fn room(room: impl Into<String>) -> Self {
        Self::everyone().or_room(room)
    }

    /// And those in `room`.
    #[must_use]
    pub fn or_room(mut self, room: impl Into<String>) -> Self {
        self.rooms.push(room.into());
        self
    }

    /// But not those in `room`.
    #[must_use]
    pub fn except(mut self, room: impl Into<String>) -> Self {
        self.except.push(room.into());
        self
    }
}

/// A socket of any node in the fleet, Rust or Node.js.
///
/// socketioxide's own `RemoteSocket` holds a 16-character id and cannot name a socket of a Node.js node,
/// whose ids have 20. This one can, and carries what Node.js nodes tell about their sockets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoteSocket {
    /// The socket's id, which is also the name of a room that holds only this socket.
    pub id: String,
    /// What the client sent when it connected: `headers`, `query`, `auth`, `address` and so on.
    /// A Rust node only knows it if the app [describes](crate::Fanout::describe_sockets) its sockets.
    #[serde(default)]
    pub handshake: Json,
    /// The rooms the socket was in when its node answered.
    #[serde(default, deserialize_with = "names")]
    pub rooms: Vec<String>,
    /// `socket.data` in Node.js.
    #[serde(default)]
    pub data: Json,
}

/// Modifiers of a broadcast that mean something to another node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) volatile: bool,
    /// How long the sender waits for acknowledgements.
    pub(crate) timeout_ms: Option<u64>,
}

/// Who asks, and under which name the answer is awaited. Emitters give neither.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) uid: Option<String>,
    pub(crate) id: Option<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Request {
    Broadcast {
        payload: Payload,
        target: Target,
        flags: Flags,
    },
    BroadcastWithAck {
        payload: Payload,
        target: Target,
        flags: Flags,
    },
    Join {
        target: Target,
        rooms: Vec<String>,
    },
    Leave {
        target: Target,
        rooms: Vec<String>,
    },
    Disconnect {
        target: Target,
        close: bool,
    },
    /// Ids only: asked by adapters older than 6, never by us.
    SocketIds {
        target: Target,
    },
    Rooms,
    Sockets {
        target: Target,
    },
    ServerSideEmit {
        arguments: Vec<Json>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// To the join, leave and disconnect of one socket by its id, as adapters older than 6 ask for.
    Done,
    SocketIds(Vec<String>),
    Rooms(Vec<String>),
    Sockets(Vec<RemoteSocket>),
    ServerSideEmit(Json),
    /// How many clients this node will wait for.
    ClientCount(u32),
    /// One client's acknowledgement, as an array of its arguments.
    ClientAck(Payload),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Incoming {
    Request(Ask, Request),
    Answer { id: String, answer: Answer },
}

/// One message for Redis to pass on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) channel: String,
    pub(crate) body: Vec<u8>,
}

/// Room names. In JavaScript a room may be a number, `socket.join(42)`; here it is the text that
/// JavaScript would print.
pub(crate) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let names = Option::<Vec<Json>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(names.into_iter().filter_map(name).collect())
}

pub(crate) fn name(json: Json) -> Option<String> {
    match json {
        Json::String(name) => Some(name),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// As [`names`], from MessagePack.
pub(crate) fn read_names(mut reader: Reader<'_>) -> Result<Vec<String>, Malformed> {
    let length = match reader.token()? {
        Token::Array(length) => length,
        Token::Nil => 0,
        _ => return Err(Malformed("rooms that are no array")),
    };
    let mut names = Vec::new();
    for _ in 0..length {
        match reader.token()? {
            Token::Str(name) => names.push(String::from_utf8_lossy(name).into_owned()),
            Token::Uint(number) => names.push(number.to_string()),
            Token::Int(number) => names.push(number.to_string()),
            Token::Float(number) => names.push(number.to_string()),
            _ => return Err(Malformed("a room that is no string")),
        }
    }
    Ok(names)
}

/// `{rooms, except, flags}`, which both dialects write the same way.
pub(crate) fn read_options(mut reader: Reader<'_>) -> Result<(Target, Flags), Malformed> {
    let (mut target, mut flags) = (Target::everyone(), Flags::default());
    reader.fields(|key, mut value| {
        match key {
            "rooms" => target.rooms = read_names(value)?,
            "except" => target.except = read_names(value)?,
            "flags" if value.clone().token()? != Token::Nil => value.fields(|key, mut value| {
                match (key, value.token()?) {
                    ("volatile", Token::Bool(volatile)) => flags.volatile = volatile,
                    ("timeout", Token::Uint(ms)) => flags.timeout_ms = Some(ms),
                    ("timeout", Token::Float(ms)) => flags.timeout_ms = Some(ms as u64),
                    _ => {}
                }
                Ok(())
            })?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((target, flags))
}

#[cfg(test)]
mod tests {
    use super::{Flags, Target, read_options};
    use crate::msgpack::Reader;
    use serde_json::json;

    #[test]
    fn numeric_rooms_are_what_javascript_prints() {
        let options = json!({ "rooms": [1, "a", -2, 1.5], "except": null, "flags": { "timeout": 900, "volatile": true } });
        let expected = Target { rooms: ["1", "a", "-2", "1.5"].map(String::from).to_vec(), except: vec![] };
        let target: Target = serde_json::from_value(options.clone()).unwrap();
        assert_eq!(target, expected);

        let mut bytes = Vec::new();
        crate::payload::Payload::from_json(options.to_string()).put_msgpack(&mut bytes).unwrap();
        let flags = Flags { volatile: true, timeout_ms: Some(900) };
        assert_eq!(read_options(Reader::new(&bytes)), Ok((expected, flags)));
    }
}
