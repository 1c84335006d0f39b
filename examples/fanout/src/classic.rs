//! The dialect of `createAdapter` (@socket.io/redis-adapter 8.x) and of @socket.io/redis-emitter 5.x.
//!
//! Broadcasts are MessagePack on `P#N#` or `P#N#room#`; everything else is a numbered request on
//! `P-request#N#`, in JSON but for broadcasts with acknowledgements, and its answers come on `P-response#N#`.
//! There is no specification: the numbers and field names below are what those packages send.

mod wire;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use self::wire::{Sockets, WireAnswer, WireRequest};
use crate::{
    error::Malformed,
    message::{Answer, Ask, Flags, Incoming, Outgoing, Request, Target, name, read_json, read_options},
    msgpack::{self, Reader, Token},
    payload::Payload,
};

const SOCKETS: u64 = 0;
const ALL_ROOMS: u64 = 1;
const REMOTE_JOIN: u64 = 2;
const REMOTE_LEAVE: u64 = 3;
const REMOTE_DISCONNECT: u64 = 4;
const REMOTE_FETCH: u64 = 5;
const SERVER_SIDE_EMIT: u64 = 6;
const BROADCAST: u64 = 7;
const BROADCAST_CLIENT_COUNT: u64 = 8;
const BROADCAST_ACK: u64 = 9;

/// socket.io-parser's EVENT. Nodes say 2 even of packets with attachments; the client-facing parser turns it into 5.
const PACKET_EVENT: u64 = 2;

#[derive(Debug)]
pub(crate) struct Classic {
    pub(crate) namespace: String,
    pub(crate) uid: String,
    /// `P#N#`; a room and another `#` may follow.
    pub(crate) broadcasts: String,
    pub(crate) requests: String,
    pub(crate) answers: String,
    pub(crate) answers_to_us: String,
}

impl Classic {
    pub(crate) fn new(prefix: &str, namespace: &str, uid: String) -> Self {
        let answers = format!("{prefix}-response#{namespace}#");
        Self {
            broadcasts: format!("{prefix}#{namespace}#"),
            requests: format!("{prefix}-request#{namespace}#"),
            answers_to_us: format!("{answers}{uid}#"),
            answers,
            namespace: namespace.to_owned(),
            uid,
        }
    }

    /// Every broadcast of this namespace. Redis' glob characters may be part of a namespace's
    /// name and are escaped.
    pub(crate) fn pattern(&self) -> String {
        starting_with(&self.broadcasts)
    }

    /// `None` means that the message is for someone else: our own echo, another namespace, or a
    /// room that `has_room` does not know.
    pub(crate) fn decode(
        &self,
        channel: &str,
        body: &Bytes,
        has_room: impl Fn(&str) -> bool,
    ) -> Result<Option<Incoming>, Malformed> {
        if let Some(room) = channel.strip_prefix(&self.broadcasts) {
            // The room is in the channel so that a node without it need not decode the rest.
            return match room.strip_suffix('#') {
                Some(room) if !has_room(room) => Ok(None),
                _ => self.decode_broadcast(body),
            };
        }
        let json = body.first() == Some(&b'{');
        match channel.starts_with(&self.answers) {
            true if json => read_json(body, decode_answer),
            true => decode_ack(body),
            false if json => read_json(body, |body| self.decode_request(body)),
            false => self.decode_broadcast_with_ack(body),
        }
    }

    fn decode_broadcast(&self, body: &Bytes) -> Result<Option<Incoming>, Malformed> {
        let mut reader = Reader::new(body);
        if reader.array()? < 3 {
            return Err(Malformed("a broadcast of less than three parts"));
        }
        let uid = reader.text()?;
        if uid == self.uid {
            return Ok(None);
        }
        let Some(payload) = self.read_packet(&mut reader, body)? else { return Ok(None) };
        let (target, flags) = read_options(&mut reader)?;
        let ask = Ask { uid: Some(uid.into_owned()), id: None };
        Ok(Some(Incoming::Request(ask, Request::Broadcast { payload, target, flags })))
    }

    fn decode_broadcast_with_ack(&self, body: &Bytes) -> Result<Option<Incoming>, Malformed> {
        let (mut ask, mut kind, mut packet, mut options) = (Ask::default(), None, None, None);
        Reader::new(body).fields(|key, mut value| {
            match key {
                b"uid" => ask.uid = value.text().ok().map(Into::into),
                b"requestId" => ask.id = value.text().ok().map(Into::into),
                b"type" => kind = Some(value.token()?),
                b"packet" => packet = Some(value),
                b"opts" => options = Some(value),
                _ => {}
            }
            Ok(())
        })?;
        if kind != Some(Token::Uint(BROADCAST)) || ask.uid.as_ref() == Some(&self.uid) {
            return Ok(None);
        }
        let (Some(mut packet), Some(mut options)) = (packet, options) else {
            return Err(Malformed("a broadcast without packet or options"));
        };
        let (target, flags) = read_options(&mut options)?;
        let Some(payload) = self.read_packet(&mut packet, body)? else { return Ok(None) };
        Ok(Some(Incoming::Request(ask, Request::BroadcastWithAck { payload, target, flags })))
    }

    /// The event of a packet of this namespace.
    fn read_packet(&self, packet: &mut Reader<'_>, body: &Bytes) -> Result<Option<Payload>, Malformed> {
        // Emitters for the main namespace may leave `nsp` out.
        let (mut namespace, mut data) = ("/".into(), None);
        packet.fields(|key, mut value| {
            match key {
                b"nsp" => namespace = value.text()?,
                b"data" => data = Some(value.rest()),
                _ => {}
            }
            Ok(())
        })?;
        if namespace != self.namespace.as_str() {
            return Ok(None);
        }
        let data = data.ok_or(Malformed("a packet without data"))?;
        Reader::new(data).array()?;
        Payload::from_msgpack(data, body).map(Some)
    }

    fn decode_request(&self, body: &[u8]) -> Result<Option<Incoming>, Malformed> {
        let wire: WireRequest =
            serde_json::from_slice(body).map_err(|_| Malformed("a request that is no JSON"))?;
        if wire.uid.as_ref() == Some(&self.uid) {
            return Ok(None);
        }
        // Adapters before 6 name one socket and one room instead of a target and rooms. A request with
        // neither must not be read as one for everyone.
        let addressed = match (wire.opts, wire.sid) {
            (Some(target), _) => Some((target, wire.rooms.names().to_vec())),
            (None, Some(sid)) => Some((Target::room(sid), wire.room.and_then(name).into_iter().collect())),
            (None, None) => None,
        };
        let request = match (wire.kind, addressed) {
            (SOCKETS, _) => Request::SocketIds { target: Target { rooms: wire.rooms, except: vec![] } },
            (ALL_ROOMS, _) => Request::Rooms,
            (REMOTE_JOIN, Some((target, rooms))) => Request::Join { target, rooms },
            (REMOTE_LEAVE, Some((target, rooms))) => Request::Leave { target, rooms },
            (REMOTE_DISCONNECT, Some((target, _))) => Request::Disconnect { target, close: wire.close },
            (REMOTE_FETCH, Some((target, _))) => Request::Sockets { target },
            (SERVER_SIDE_EMIT, _) => Request::ServerSideEmit { arguments: wire.data.unwrap_or_default() },
            _ => return Ok(None),
        };
        let ask = Ask { uid: wire.uid, id: wire.request_id };
        Ok(Some(Incoming::Request(ask, request)))
    }

    pub(crate) fn encode(&self, id: Option<&str>, request: &Request) -> Result<Outgoing, Malformed> {
        let body = match request {
            Request::Broadcast { payload, target, flags } => {
                return self.encode_broadcast(payload, target, *flags);
            }
            Request::BroadcastWithAck { payload, target, flags } => {
                let mut body = Vec::with_capacity(payload.json.len() + 256);
                msgpack::put_map(&mut body, 5);
                for (key, value) in [("uid", self.uid.as_str()), ("requestId", id.unwrap_or_default())] {
                    msgpack::put_str(&mut body, key);
                    msgpack::put_str(&mut body, value);
                }
                msgpack::put_str(&mut body, "type");
                msgpack::put_uint(&mut body, BROADCAST);
                msgpack::put_str(&mut body, "packet");
                put_packet(&mut body, payload, &self.namespace)?;
                msgpack::put_str(&mut body, "opts");
                put_options(&mut body, target, *flags);
                body
            }
            Request::Join { target, rooms } => {
                self.json(REMOTE_JOIN, id, json!({ "opts": target, "rooms": rooms }))
            }
            Request::Leave { target, rooms } => {
                self.json(REMOTE_LEAVE, id, json!({ "opts": target, "rooms": rooms }))
            }
            Request::Disconnect { target, close } => {
                self.json(REMOTE_DISCONNECT, id, json!({ "opts": target, "close": close }))
            }
            Request::SocketIds { target } => self.json(SOCKETS, id, json!({ "rooms": target.rooms })),
            Request::Rooms => self.json(ALL_ROOMS, id, json!({})),
            Request::Sockets { target } => self.json(REMOTE_FETCH, id, json!({ "opts": target })),
            Request::ServerSideEmit { arguments } => {
                self.json(SERVER_SIDE_EMIT, id, json!({ "data": arguments }))
            }
        };
        Ok(Outgoing::publish(self.requests.clone(), body))
    }

    fn encode_broadcast(
        &self,
        payload: &Payload,
        target: &Target,
        flags: Flags,
    ) -> Result<Outgoing, Malformed> {
        let channel = match target.rooms.names() {
            [room] => format!("{}{room}#", self.broadcasts),
            _ => self.broadcasts.clone(),
        };
        let mut body = Vec::with_capacity(payload.json.len() + 128);
        msgpack::put_array(&mut body, 3);
        msgpack::put_str(&mut body, &self.uid);
        put_packet(&mut body, payload, &self.namespace)?;
        put_options(&mut body, target, flags);
        Ok(Outgoing::publish(channel, body))
    }

    fn json(&self, kind: u64, id: Option<&str>, mut fields: Json) -> Vec<u8> {
        fields["uid"] = json!(self.uid);
        fields["type"] = json!(kind);
        if let Some(id) = id {
            fields["requestId"] = json!(id);
        }
        fields.to_string().into_bytes()
    }

    pub(crate) fn encode_answer(&self, ask: &Ask, answer: &Answer) -> Result<Outgoing, Malformed> {
        let id = ask.id.as_deref().unwrap_or_default();
        // Every 8.x node listens on a channel of its own as well, which spares all the others the
        // answer. Only answers to serverSideEmit are always sent to all of them.
        let channel = match (&ask.uid, answer) {
            (Some(uid), answer) if !matches!(answer, Answer::ServerSideEmit(_)) => {
                format!("{}{uid}#", self.answers)
            }
            _ => self.answers.clone(),
        };
        let body = match answer {
            Answer::Done => json!({ "requestId": id }),
            Answer::SocketIds(ids) => json!({ "requestId": id, "sockets": ids }),
            Answer::Rooms(rooms) => json!({ "requestId": id, "rooms": rooms }),
            Answer::Sockets(sockets) => json!({ "requestId": id, "sockets": sockets }),
            Answer::ServerSideEmit(data) => {
                json!({ "type": SERVER_SIDE_EMIT, "requestId": id, "data": data })
            }
            Answer::ClientCount(count) => {
                json!({ "type": BROADCAST_CLIENT_COUNT, "requestId": id, "clientCount": count })
            }
            Answer::ClientAck(arguments) => {
                return Ok(Outgoing::publish(channel, encode_ack(id, arguments)?));
            }
        };
        Ok(Outgoing::publish(channel, body.to_string().into_bytes()))
    }
}

pub(crate) fn put_packet(out: &mut Vec<u8>, payload: &Payload, namespace: &str) -> Result<(), Malformed> {
    msgpack::put_map(out, 3);
    msgpack::put_str(out, "type");
    msgpack::put_uint(out, PACKET_EVENT);
    msgpack::put_str(out, "data");
    payload.put_msgpack(out)?;
    msgpack::put_str(out, "nsp");
    msgpack::put_str(out, namespace);
    Ok(())
}

pub(crate) fn put_options(out: &mut Vec<u8>, target: &Target, flags: Flags) {
    msgpack::put_map(out, 3);
    for (key, rooms) in [("rooms", target.rooms.names()), ("except", &target.except)] {
        msgpack::put_str(out, key);
        msgpack::put_array(out, rooms.len());
        rooms.iter().for_each(|room| msgpack::put_str(out, room));
    }
    msgpack::put_str(out, "flags");
    msgpack::put_map(out, usize::from(flags.volatile) + usize::from(flags.timeout_ms.is_some()));
    if flags.volatile {
        msgpack::put_str(out, "volatile");
        msgpack::put_bool(out, true);
    }
    if let Some(ms) = flags.timeout_ms {
        msgpack::put_str(out, "timeout");
        msgpack::put_uint(out, ms);
    }
}

/// The pattern of all channels with such a beginning.
pub(crate) fn starting_with(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for char in prefix.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern.push('*');
    pattern
}

/// The first argument of an acknowledgement is the only one that Node.js nodes pass on.
pub(crate) fn put_first_argument(out: &mut Vec<u8>, arguments: &Payload) -> Result<(), Malformed> {
    let mut all = Vec::with_capacity(arguments.json.len());
    arguments.put_msgpack(&mut all)?;
    let mut reader = Reader::new(&all);
    match reader.array()? {
        0 => msgpack::put_nil(out),
        _ => out.extend_from_slice(reader.value()?),
    }
    Ok(())
}

fn encode_ack(id: &str, arguments: &Payload) -> Result<Vec<u8>, Malformed> {
    let mut body = Vec::with_capacity(arguments.json.len() + 64);
    msgpack::put_map(&mut body, 3);
    msgpack::put_str(&mut body, "type");
    msgpack::put_uint(&mut body, BROADCAST_ACK);
    msgpack::put_str(&mut body, "requestId");
    msgpack::put_str(&mut body, id);
    msgpack::put_str(&mut body, "packet");
    put_first_argument(&mut body, arguments)?;
    Ok(body)
}

fn decode_ack(body: &Bytes) -> Result<Option<Incoming>, Malformed> {
    let (mut id, mut kind, mut packet) = (None, None, None);
    Reader::new(body).fields(|key, mut value| {
        match key {
            b"type" => kind = Some(value.token()?),
            b"requestId" => id = Some(value.text()?),
            b"packet" => packet = Some(value.rest()),
            _ => {}
        }
        Ok(())
    })?;
    if kind != Some(Token::Uint(BROADCAST_ACK)) {
        return Ok(None);
    }
    let id = id.ok_or(Malformed("an acknowledgement without request"))?.into_owned();
    let packet = packet.unwrap_or(&[0xc0]);
    let answer = Answer::ClientAck(Payload::argument_from_msgpack(packet, body)?);
    Ok(Some(Incoming::Answer { id, answer }))
}

fn decode_answer(body: &[u8]) -> Result<Option<Incoming>, Malformed> {
    let wire: WireAnswer =
        serde_json::from_slice(body).map_err(|_| Malformed("an answer that is no JSON"))?;
    let answer = match (wire.kind, wire.sockets, wire.rooms) {
        (Some(BROADCAST_CLIENT_COUNT), ..) => Answer::ClientCount(wire.client_count),
        (Some(SERVER_SIDE_EMIT), ..) => Answer::ServerSideEmit(wire.data),
        (_, Some(Sockets::Full(sockets)), _) => Answer::Sockets(sockets),
        (_, Some(Sockets::Ids(ids)), _) => Answer::SocketIds(ids),
        (_, _, Some(rooms)) => Answer::Rooms(rooms.into_iter().filter_map(name).collect()),
        (None, None, None) => Answer::Done,
        _ => return Ok(None),
    };
    Ok(Some(Incoming::Answer { id: wire.request_id, answer }))
}

#[cfg(test)]
mod tests;
