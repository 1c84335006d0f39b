//! What nodes say to each other, in neither dialect: `classic` and `sharded` translate it to bytes.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Json;

use crate::{
    error::Malformed,
    halves,
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
    #[serde(default)]
    pub(crate) rooms: Rooms,
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

/// The rooms of a target. An empty list on the wire means everybody, and a list of values that name no room means
/// nobody: two things that must never become one, or `io.to(undefined)` would reach every client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Rooms {
    #[default]
    All,
    /// A socket is meant if it is in any of these.
    In(Vec<String>),
}

impl Rooms {
    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::All => &[],
            Self::In(names) => names,
        }
    }

    pub(crate) fn push(&mut self, room: String) {
        match self {
            Self::All => *self = Self::In(vec![room]),
            Self::In(names) => names.push(room),
        }
    }

    fn read(listed: Listed) -> Self {
        match listed.length {
            0 => Self::All,
            _ => Self::In(listed.names),
        }
    }
}

impl Serialize for Rooms {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rooms {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Listed::deserialize(deserializer).map(Self::read)
    }
}

/// A list as it came: how long it was, and what of it can be the name of a room.
#[derive(Default)]
struct Listed {
    length: usize,
    names: Vec<String>,
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values = Option::<Vec<Json>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(Self { length: values.len(), names: values.into_iter().filter_map(name).collect() })
    }
}

impl Listed {
    /// The same from MessagePack.
    fn from_msgpack(mut reader: Reader<'_>) -> Result<Self, Malformed> {
        let length = match reader.token()? {
            Token::Array(length) => length,
            Token::Nil => 0,
            _ => return Err(Malformed("rooms that are no array")),
        };
        let mut names = Vec::new();
        for _ in 0..length {
            // Stepped over whole: what is no name may be a container.
            match Reader::new(reader.value()?).token()? {
                // What is no text must not become the same text as something else.
                Token::Str(name) => names.extend(std::str::from_utf8(name).ok().map(str::to_owned)),
                Token::Uint(number) => names.push(number.to_string()),
                Token::Int(number) => names.push(number.to_string()),
                Token::Float(number) => names.extend(number_name(number)),
                _ => {}
            }
        }
        Ok(Self { length, names })
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
    /// A Rust node only knows it if the app [describes](crate::Fanout::build_layer) its sockets.
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
    /// Or the stream.
    pub(crate) channel: String,
    pub(crate) body: Vec<u8>,
    /// There if it is added to a stream instead of being published.
    pub(crate) entry: Option<Entry>,
}

impl Outgoing {
    pub(crate) fn publish(channel: String, body: Vec<u8>) -> Self {
        Self { channel, body, entry: None }
    }
}

/// What an entry of a stream says beside its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) sender: Arc<Sender>,
    pub(crate) kind: u64,
}

/// What is the same in all entries of one node in one namespace.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sender {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    /// At about how many entries the stream is cut off.
    pub(crate) length_max: u64,
}

/// Reads a message in JSON. Where there are halves of surrogate pairs in it, what is left without them; but a name with one must
/// not become that of another room.
pub(crate) fn read_json(
    json: &[u8],
    read: impl Fn(&[u8]) -> Result<Option<Incoming>, Malformed>,
) -> Result<Option<Incoming>, Malformed> {
    read(json).or_else(|error| match halves::mended(json) {
        Some(mended) => Ok(read(&mended)?.map(Incoming::without_halved_names)),
        None => Err(error),
    })
}

impl Incoming {
    fn without_halved_names(mut self) -> Self {
        let Self::Request(_, request) = &mut self else { return self };
        let (target, rooms) = match request {
            Request::Join { target, rooms } | Request::Leave { target, rooms } => (Some(target), Some(rooms)),
            Request::Broadcast { target, .. }
            | Request::BroadcastWithAck { target, .. }
            | Request::Disconnect { target, .. }
            | Request::SocketIds { target }
            | Request::Sockets { target } => (Some(target), None),
            Request::Rooms | Request::ServerSideEmit { .. } => (None, None),
        };
        let whole = |name: &String| !name.contains(char::REPLACEMENT_CHARACTER);
        if let Some(target) = target {
            target.except.retain(whole);
            if let Rooms::In(names) = &mut target.rooms {
                names.retain(whole);
            }
        }
        if let Some(rooms) = rooms {
            rooms.retain(whole);
        }
        self
    }
}

/// Room names. In JavaScript a room may be a number, `socket.join(42)`; here it is the text that
/// JavaScript would print. Other values name no room.
pub(crate) fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Listed::deserialize(deserializer).map(|listed| listed.names)
}

pub(crate) fn name(json: Json) -> Option<String> {
    match json {
        Json::String(name) => Some(name),
        Json::Number(number) if number.is_f64() => number.as_f64().and_then(number_name),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What JavaScript takes for true, since code passes on whatever it has: `disconnectSockets(1)`.
pub(crate) fn truth<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(match Json::deserialize(deserializer)? {
        Json::Null => false,
        Json::Bool(value) => value,
        Json::Number(number) => number.as_f64() != Some(0.0),
        Json::String(text) => !text.is_empty(),
        Json::Array(_) | Json::Object(_) => true,
    })
}

/// A time as `setTimeout` takes it, which also knows the text of a number: `timeout(process.env.TIMEOUT)`.
pub(crate) fn milliseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Ok(match Json::deserialize(deserializer)? {
        Json::Number(ms) => ms.as_f64().map(|ms| ms as u64),
        Json::String(text) => number(&text),
        _ => None,
    })
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse::<f64>().ok().filter(|ms| ms.is_finite()).map(|ms| ms as u64)
}

/// ECMA-262 section 6.1.6.1.20, `Number::toString`. NaN and the infinities become null in JSON, and name no room there.
fn number_name(number: f64) -> Option<String> {
    let size = number.abs();
    match () {
        () if !number.is_finite() => None,
        () if size == 0.0 => Some("0".to_owned()),
        () if (1e-6..1e21).contains(&size) => Some(number.to_string()),
        () if size < 1.0 => Some(format!("{number:e}")),
        () => Some(format!("{number:e}").replace('e', "e+")),
    }
}

/// `{rooms, except, flags}`, which both dialects write the same way.
pub(crate) fn read_options(reader: &mut Reader<'_>) -> Result<(Target, Flags), Malformed> {
    let (mut target, mut flags) = (Target::everyone(), Flags::default());
    reader.fields(|key, mut value| {
        match key {
            b"rooms" => target.rooms = Rooms::read(Listed::from_msgpack(value)?),
            b"except" => target.except = Listed::from_msgpack(value)?.names,
            b"flags" if value.clone().token()? != Token::Nil => value.fields(|key, mut value| {
                match (key, value.token()?) {
                    (b"volatile", token) => {
                        let lies = [Token::Bool(false), Token::Nil, Token::Uint(0), Token::Str(b"")];
                        flags.volatile = !lies.contains(&token);
                    }
                    (b"timeout", Token::Uint(ms)) => flags.timeout_ms = Some(ms),
                    (b"timeout", Token::Float(ms)) => flags.timeout_ms = Some(ms as u64),
                    (b"timeout", Token::Str(ms)) => flags.timeout_ms = number(&String::from_utf8_lossy(ms)),
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
    use super::{Flags, Rooms, Target, read_options};
    use crate::msgpack::Reader;
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
    use serde_json::{Value as Json, json};

    /// What both encodings of `options` read as, which must be the same.
    fn read(options: &Json) -> (Target, Flags) {
        let mut bytes = Vec::new();
        crate::payload::Payload::from_json(options.to_string()).put_msgpack(&mut bytes).unwrap();
        let (target, flags) = read_options(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(serde_json::from_value::<Target>(options.clone()).unwrap(), target, "{options}");
        (target, flags)
    }

    #[test]
    fn numeric_rooms_are_what_javascript_prints() {
        let options = json!({ "rooms": [1, "a", -2, 1.5, 1e21, 1e-7, 1e20, -0.0], "except": null, "flags": { "timeout": 900, "volatile": true } });
        let rooms = ["1", "a", "-2", "1.5", "1e+21", "1e-7", "100000000000000000000", "0"];
        let target = Target { rooms: Rooms::In(rooms.map(String::from).to_vec()), except: vec![] };
        assert_eq!(read(&options), (target, Flags { volatile: true, timeout_ms: Some(900) }));
    }

    #[test]
    fn a_list_of_what_names_no_room_is_nobody_and_only_an_empty_one_is_everybody() {
        for (rooms, expected) in [
            (json!([]), Rooms::All),
            (json!(null), Rooms::All),
            (json!([null]), Rooms::In(vec![])),
            (json!([true, {}, []]), Rooms::In(vec![])),
            (json!([null, ["b"], "a"]), Rooms::In(vec!["a".to_owned()])),
        ] {
            let target = Target { rooms: expected, except: vec![] };
            assert_eq!(
                read(&json!({ "rooms": rooms, "except": [null, { "a": ["a"] }] })).0,
                target,
                "{rooms}"
            );
        }
    }

    fn value() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Json::from),
            any::<i64>().prop_map(Json::from),
            any::<f64>().prop_map(Json::from),
            "[a-c]{0,2}".prop_map(Json::from),
        ];
        leaf.prop_recursive(2, 8, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
                prop::collection::hash_map("[a-c]", inner, 0..4)
                    .prop_map(|fields| fields.into_iter().collect::<Json>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_value_widens_a_target(rooms in prop::collection::vec(value(), 1..5), except in prop::collection::vec(value(), 0..5)) {
            let (target, _) = read(&json!({ "rooms": rooms, "except": except }));
            assert_ne!(target.rooms, Rooms::All);
            let texts = rooms.iter().filter(|room| room.is_string() || room.is_number()).count();
            assert_eq!(target.rooms.names().len(), texts);
        }
    }
}
