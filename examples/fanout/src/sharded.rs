//! The dialect of `createShardedAdapter` (@socket.io/redis-adapter 8.x, Redis 7), in its `static` mode.
//!
//! Two channels, `P#N#` for everyone and `P#N#uid#` for answers, and one envelope `{uid, nsp, type, data}`:
//! JSON, or MessagePack when there are bytes in it. Redis keeps each channel on one shard.
//!
//! The `dynamic` modes have a channel per room besides. socketioxide does not say when rooms come and
//! go, so that a node cannot subscribe to them: a fleet with Rust nodes must be `static` throughout.

mod wire;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value as Json, value::RawValue};

pub(crate) use self::wire::OutData;
use self::wire::{Data, Envelope, OptFlags, OutEnvelope, OutPacket, Packet};
use crate::{
    classic::{put_first_argument, put_options, put_packet, starting_with},
    error::Malformed,
    message::{self, Answer, Ask, Flags, Incoming, Outgoing, Request, Target, read_options},
    msgpack::{self, Reader},
    payload::{Payload, tree},
};

pub(crate) const BROADCAST: u64 = 3;
const SOCKETS_JOIN: u64 = 4;
const SOCKETS_LEAVE: u64 = 5;
const DISCONNECT_SOCKETS: u64 = 6;
const FETCH_SOCKETS: u64 = 7;
const FETCH_SOCKETS_RESPONSE: u64 = 8;
const SERVER_SIDE_EMIT: u64 = 9;
const SERVER_SIDE_EMIT_RESPONSE: u64 = 10;
const BROADCAST_CLIENT_COUNT: u64 = 11;
const BROADCAST_ACK: u64 = 12;

#[derive(Debug)]
pub(crate) struct Sharded {
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) channel: String,
    pub(crate) answers_to_us: String,
}

impl Sharded {
    pub(crate) fn new(prefix: &str, namespace: &str, uid: String) -> Self {
        let channel = format!("{prefix}#{namespace}#");
        Self { answers_to_us: format!("{channel}{uid}#"), channel, namespace: namespace.to_owned(), uid }
    }

    /// All channels of this namespace.
    pub(crate) fn pattern(&self) -> String {
        starting_with(&self.channel)
    }

    /// `None` means that the message is for someone else: our own echo or another namespace.
    pub(crate) fn decode(&self, body: &Bytes) -> Result<Option<Incoming>, Malformed> {
        if body.first() != Some(&b'{') {
            return self.decode_msgpack(body);
        }
        message::read_json(body, |body| self.decode_json(body))
    }

    fn decode_json(&self, body: &[u8]) -> Result<Option<Incoming>, Malformed> {
        let envelope: Envelope<'_> =
            serde_json::from_slice(body).map_err(|_| Malformed("an envelope that is no JSON"))?;
        if !self.is_for_us(&envelope.uid, &envelope.nsp) {
            return Ok(None);
        }
        read_json(envelope.kind, envelope.uid, envelope.data.map_or("{}", RawValue::get))
    }

    pub(crate) fn decode_msgpack(&self, body: &Bytes) -> Result<Option<Incoming>, Malformed> {
        let (mut uid, mut namespace, mut kind, mut data) = (None, None, None, None);
        Reader::new(body).fields(|key, mut value| {
            match key {
                b"uid" => uid = Some(value.text()?),
                b"nsp" => namespace = Some(value.text()?),
                b"type" => kind = Some(value.token()?),
                b"data" => data = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        let (Some(uid), Some(namespace), Some(msgpack::Token::Uint(kind))) = (uid, namespace, kind) else {
            return Err(Malformed("an envelope without uid, nsp or type"));
        };
        if !self.is_for_us(&uid, &namespace) {
            return Ok(None);
        }
        let data = data.ok_or(Malformed("an envelope without data"))?;
        read_msgpack(kind, uid.into_owned(), data, body)
    }

    pub(crate) fn is_for_us(&self, uid: &str, namespace: &str) -> bool {
        uid != self.uid && namespace == self.namespace
    }

    pub(crate) fn encode(&self, id: Option<&str>, request: &Request) -> Result<Outgoing, Malformed> {
        let channel = self.channel.clone();
        if !has_bytes(request) {
            let (kind, data) = self.fields(id, request)?;
            return self.json(channel, kind, data);
        }
        let body = self.envelope(BROADCAST, 2 + usize::from(id.is_some()), |body| {
            self.put_broadcast(body, request)?;
            put_id(body, id);
            Ok(())
        })?;
        Ok(Outgoing::publish(channel, body))
    }

    /// The type and the data of a request without bytes.
    pub(crate) fn fields<'a>(
        &'a self,
        id: Option<&'a str>,
        request: &'a Request,
    ) -> Result<(u64, OutData<'a>), Malformed> {
        let (kind, data) = match request {
            Request::Broadcast { payload, target, flags }
            | Request::BroadcastWithAck { payload, target, flags } => {
                let event: Box<RawValue> = RawValue::from_string(payload.json.to_string())
                    .map_err(|_| Malformed("an event that is no JSON"))?;
                let packet = raw(&OutPacket { kind: 2, data: &event, nsp: &self.namespace })?;
                (BROADCAST, OutData { packet: Some(packet), ..OutData::opts(target).flags(*flags) })
            }
            Request::Join { target, rooms } => {
                (SOCKETS_JOIN, OutData { rooms: Some(rooms), ..OutData::opts(target) })
            }
            Request::Leave { target, rooms } => {
                (SOCKETS_LEAVE, OutData { rooms: Some(rooms), ..OutData::opts(target) })
            }
            Request::Disconnect { target, close } => {
                (DISCONNECT_SOCKETS, OutData { close: Some(*close), ..OutData::opts(target) })
            }
            Request::Sockets { target } => (FETCH_SOCKETS, OutData::opts(target)),
            Request::ServerSideEmit { arguments } => {
                (SERVER_SIDE_EMIT, OutData { packet: Some(raw(arguments)?), ..OutData::default() })
            }
            Request::Rooms | Request::SocketIds { .. } => {
                return Err(Malformed("no such request in this dialect"));
            }
        };
        Ok((kind, OutData { request_id: id, ..data }))
    }

    /// Two pairs of a map: what is broadcast, and to whom.
    pub(crate) fn put_broadcast(&self, out: &mut Vec<u8>, request: &Request) -> Result<(), Malformed> {
        let (Request::Broadcast { payload, target, flags }
        | Request::BroadcastWithAck { payload, target, flags }) = request
        else {
            return Err(Malformed("bytes in something else than a broadcast"));
        };
        msgpack::put_str(out, "packet");
        put_packet(out, payload, &self.namespace)?;
        msgpack::put_str(out, "opts");
        put_options(out, target, *flags);
        Ok(())
    }

    pub(crate) fn encode_answer(&self, ask: &Ask, answer: &Answer) -> Result<Outgoing, Malformed> {
        let channel = format!("{}{}#", self.channel, ask.uid.as_deref().unwrap_or_default());
        let id = ask.id.as_deref();
        let (kind, data) = match answer {
            Answer::ClientAck(arguments) => {
                let body = self.envelope(BROADCAST_ACK, 1 + usize::from(id.is_some()), |body| {
                    msgpack::put_str(body, "packet");
                    put_first_argument(body, arguments)?;
                    put_id(body, id);
                    Ok(())
                })?;
                return Ok(Outgoing::publish(channel, body));
            }
            Answer::ClientCount(count) => {
                (BROADCAST_CLIENT_COUNT, OutData { client_count: Some(*count), ..OutData::default() })
            }
            Answer::Sockets(sockets) => {
                (FETCH_SOCKETS_RESPONSE, OutData { sockets: Some(sockets), ..OutData::default() })
            }
            Answer::ServerSideEmit(data) => {
                (SERVER_SIDE_EMIT_RESPONSE, OutData { packet: Some(raw(data)?), ..OutData::default() })
            }
            Answer::Done | Answer::SocketIds(_) | Answer::Rooms(_) => {
                return Err(Malformed("no such answer in this dialect"));
            }
        };
        self.json(channel, kind, OutData { request_id: id, ..data })
    }

    /// A MessagePack envelope around the `pairs` that `put` writes.
    fn envelope(
        &self,
        kind: u64,
        pairs: usize,
        put: impl FnOnce(&mut Vec<u8>) -> Result<(), Malformed>,
    ) -> Result<Vec<u8>, Malformed> {
        let mut body = Vec::with_capacity(256);
        msgpack::put_map(&mut body, 4);
        for (key, value) in [("uid", &self.uid), ("nsp", &self.namespace)] {
            msgpack::put_str(&mut body, key);
            msgpack::put_str(&mut body, value);
        }
        msgpack::put_str(&mut body, "type");
        msgpack::put_uint(&mut body, kind);
        msgpack::put_str(&mut body, "data");
        msgpack::put_map(&mut body, pairs);
        put(&mut body)?;
        Ok(body)
    }

    fn json(&self, channel: String, kind: u64, data: OutData<'_>) -> Result<Outgoing, Malformed> {
        let envelope = OutEnvelope { uid: &self.uid, nsp: &self.namespace, kind, data };
        let body = serde_json::to_vec(&envelope).map_err(|_| Malformed("fields that are no JSON"))?;
        Ok(Outgoing::publish(channel, body))
    }
}

/// What the data of a JSON envelope means.
pub(crate) fn read_json(kind: u64, uid: String, data: &str) -> Result<Option<Incoming>, Malformed> {
    let data: Data<'_> = serde_json::from_str(data).map_err(|_| Malformed("fields of another type"))?;
    let (target, flags) = match data.opts {
        Some(opts) => {
            (Some(Target { rooms: opts.rooms, except: opts.except }), opts.flags.unwrap_or_default())
        }
        None => (None, OptFlags::default()),
    };
    let flags = Flags { volatile: flags.volatile, timeout_ms: flags.timeout };
    let fields = Fields { target, flags, rooms: data.rooms, close: data.close, id: data.request_id };
    let raw = || data.packet.map_or("null", RawValue::get);
    match kind {
        BROADCAST => {
            let packet: Packet<'_> =
                serde_json::from_str(raw()).map_err(|_| Malformed("a broadcast without packet"))?;
            if !packet.data.get().starts_with('[') {
                return Err(Malformed("an event that is no array"));
            }
            fields.broadcast(uid, Payload::from_json(packet.data.get().to_owned()))
        }
        BROADCAST_ACK => fields.answer(Answer::ClientAck(Payload::from_json(format!("[{}]", raw())))),
        BROADCAST_CLIENT_COUNT => fields.answer(Answer::ClientCount(data.client_count)),
        FETCH_SOCKETS_RESPONSE => fields.answer(Answer::Sockets(data.sockets)),
        kind => fields.plain(kind, uid, serde_json::from_str(raw()).unwrap_or_default()),
    }
}

/// What the data of a MessagePack envelope means, which lies in `source`.
pub(crate) fn read_msgpack(
    kind: u64,
    uid: String,
    mut data: Reader<'_>,
    source: &Bytes,
) -> Result<Option<Incoming>, Malformed> {
    let (mut fields, mut packet, mut sockets, mut count) = (Fields::default(), None, None, 0);
    data.fields(|key, mut value| {
        match key {
            b"requestId" => fields.id = value.text().ok().map(Into::into),
            b"opts" => {
                let (target, flags) = read_options(&mut value)?;
                (fields.target, fields.flags) = (Some(target), flags);
            }
            b"clientCount" => match value.token()? {
                msgpack::Token::Uint(clients) => count = u32::try_from(clients).unwrap_or(u32::MAX),
                _ => return Err(Malformed("a count that is no number")),
            },
            b"packet" => packet = Some(value.rest()),
            b"sockets" => sockets = Some(value.rest()),
            _ => {}
        }
        Ok(())
    })?;
    let packet = packet.unwrap_or(&[0xc0]);
    match kind {
        BROADCAST => {
            let mut event = None;
            Reader::new(packet).fields(|key, value| {
                if key == b"data" {
                    event = Some(value.rest());
                }
                Ok(())
            })?;
            let event = event.ok_or(Malformed("a packet without data"))?;
            Reader::new(event).array()?;
            fields.broadcast(uid, Payload::from_msgpack(event, source)?)
        }
        BROADCAST_ACK => fields.answer(Answer::ClientAck(Payload::argument_from_msgpack(packet, source)?)),
        BROADCAST_CLIENT_COUNT => fields.answer(Answer::ClientCount(count)),
        FETCH_SOCKETS_RESPONSE => {
            let sockets = tree(sockets.unwrap_or(&[0x90]))?;
            let sockets =
                serde_json::from_value(sockets).map_err(|_| Malformed("sockets of another shape"))?;
            fields.answer(Answer::Sockets(sockets))
        }
        kind => fields.plain(kind, uid, tree(packet)?),
    }
}

/// Whether only MessagePack can say it.
pub(crate) fn has_bytes(request: &Request) -> bool {
    matches!(request, Request::Broadcast { payload, .. } | Request::BroadcastWithAck { payload, .. } if !payload.attachments.is_empty())
}

fn put_id(out: &mut Vec<u8>, id: Option<&str>) {
    if let Some(id) = id {
        msgpack::put_str(out, "requestId");
        msgpack::put_str(out, id);
    }
}

fn raw(value: &impl Serialize) -> Result<Box<RawValue>, Malformed> {
    serde_json::value::to_raw_value(value).map_err(|_| Malformed("a value that is no JSON"))
}

/// What both encodings of `data` have in common.
#[derive(Default)]
struct Fields {
    id: Option<String>,
    target: Option<Target>,
    flags: Flags,
    rooms: Vec<String>,
    close: bool,
}

impl Fields {
    fn broadcast(self, uid: String, payload: Payload) -> Result<Option<Incoming>, Malformed> {
        let target = self.target.ok_or(Malformed("a broadcast without options"))?;
        let request = match self.id {
            Some(_) => Request::BroadcastWithAck { payload, target, flags: self.flags },
            None => Request::Broadcast { payload, target, flags: self.flags },
        };
        Ok(Some(Incoming::Request(Ask { uid: Some(uid), id: self.id }, request)))
    }

    fn answer(self, answer: Answer) -> Result<Option<Incoming>, Malformed> {
        let id = self.id.ok_or(Malformed("an answer without request"))?;
        Ok(Some(Incoming::Answer { id, answer }))
    }

    fn plain(self, kind: u64, uid: String, packet: Json) -> Result<Option<Incoming>, Malformed> {
        let request = match (kind, self.target) {
            (SERVER_SIDE_EMIT_RESPONSE, _) => {
                return Self { target: None, ..self }.answer(Answer::ServerSideEmit(packet));
            }
            (SERVER_SIDE_EMIT, _) => match packet {
                Json::Array(arguments) => Request::ServerSideEmit { arguments },
                _ => return Err(Malformed("serverSideEmit without arguments")),
            },
            (SOCKETS_JOIN, Some(target)) => Request::Join { target, rooms: self.rooms },
            (SOCKETS_LEAVE, Some(target)) => Request::Leave { target, rooms: self.rooms },
            (DISCONNECT_SOCKETS, Some(target)) => Request::Disconnect { target, close: self.close },
            (FETCH_SOCKETS, Some(target)) => Request::Sockets { target },
            // Heartbeats and whatever later versions add.
            _ => return Ok(None),
        };
        Ok(Some(Incoming::Request(Ask { uid: Some(uid), id: self.id }, request)))
    }
}

#[cfg(test)]
mod tests;
