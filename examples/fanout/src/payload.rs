//! An event's arguments, between the two forms they take: JSON with attachments, as Socket.IO sends them
//! to clients, and MessagePack with the bytes inline, as notepack.io sends them to other nodes.
//! A single pass each way, without a tree in between; object keys keep their order.

use std::{collections::VecDeque, fmt};

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use socketioxide_core::{Str, Value};

use crate::{
    error::Malformed,
    halves,
    msgpack::{self, DEPTH_MAX, Reader, Token},
    timestamp,
};

/// JSON text in which `{"_placeholder":true,"num":n}` stands for attachment `n`.
///
/// For an event the text is an array, `["name", …arguments]`; for an acknowledgement it is the array of its arguments.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) json: Str,
    pub(crate) attachments: VecDeque<Bytes>,
}

impl Payload {
    pub(crate) fn from_json(json: String) -> Self {
        Self { json: json.into(), attachments: VecDeque::new() }
    }

    /// `None` for a payload of the MessagePack parser, which is already encoded for clients and
    /// has no form that a Node.js node could read.
    pub(crate) fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Str(json, attachments) => {
                Some(Self { json, attachments: attachments.unwrap_or_default() })
            }
            Value::Bytes(_) => None,
        }
    }

    pub(crate) fn into_value(self) -> Value {
        let attachments = (!self.attachments.is_empty()).then_some(self.attachments);
        Value::Str(self.json, attachments)
    }

    /// Appends the MessagePack form.
    pub(crate) fn put_msgpack(&self, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let start = out.len();
        let mut written = self.write(&self.json, out);
        if written.is_err()
            && let Some(mended) = halves::mended(self.json.as_bytes())
        {
            out.truncate(start);
            written = self.write(&String::from_utf8_lossy(&mended), out);
        }
        written.map_err(|_| {
            out.truncate(start);
            Malformed("JSON with attachments")
        })
    }

    fn write(&self, json: &str, out: &mut Vec<u8>) -> serde_json::Result<()> {
        let mut json = serde_json::Deserializer::from_str(json);
        let mut unused: Vec<_> = self.attachments.iter().map(Some).collect();
        ToMsgpack { out, unused: &mut unused }.deserialize(&mut json)?;
        json.end()
    }

    /// Reads one MessagePack value. `source` is the message that `value` lies in, so that
    /// attachments can share its memory.
    pub(crate) fn from_msgpack(value: &[u8], source: &Bytes) -> Result<Self, Malformed> {
        FromMsgpack::read(value, Some(source))?.finish()
    }

    /// As [`Self::from_msgpack`], wrapped in an array: the form of an acknowledgement with one argument.
    pub(crate) fn argument_from_msgpack(value: &[u8], source: &Bytes) -> Result<Self, Malformed> {
        let inner = Self::from_msgpack(value, source)?;
        Ok(Self { json: format!("[{}]", inner.json).into(), attachments: inner.attachments })
    }
}

/// One MessagePack value as a JSON tree, with bytes as Node.js' `Buffer.toJSON` has them: what an app gets from serverSideEmit,
/// where nothing is forwarded to a client.
pub(crate) fn tree(value: &[u8]) -> Result<Json, Malformed> {
    let json = FromMsgpack::read(value, None)?.json;
    serde_json::from_slice(&json).map_err(|_| Malformed("not JSON"))
}

/// What it takes in memory, about.
pub(crate) fn size(value: &Value) -> usize {
    match value {
        Value::Str(json, attachments) => {
            json.len() + attachments.iter().flatten().map(Bytes::len).sum::<usize>()
        }
        Value::Bytes(bytes) => bytes.len(),
    }
}

/// Writes what a JSON parser sees as MessagePack.
struct ToMsgpack<'a, 'p> {
    out: &'a mut Vec<u8>,
    /// The attachments that no placeholder has stood for yet.
    unused: &'a mut [Option<&'p Bytes>],
}

impl<'p> ToMsgpack<'_, 'p> {
    fn again(&mut self) -> ToMsgpack<'_, 'p> {
        ToMsgpack { out: self.out, unused: self.unused }
    }

    /// Lengths come first in MessagePack and last in JSON: one byte is kept free at `start`, and
    /// only a container of more than 15 elements has to move what follows it.
    fn close(&mut self, start: usize, length: usize, put: fn(&mut Vec<u8>, usize)) {
        let mut header = Vec::with_capacity(5);
        put(&mut header, length);
        self.out.splice(start..=start, header);
    }

    /// The attachment that the map written since `start` stands for, if it is a placeholder.
    fn placeholder(&mut self, start: usize, pairs: usize) -> Option<&'p Bytes> {
        if pairs != 2 || self.unused.is_empty() {
            return None;
        }
        let mut map = Reader::new(&self.out[start + 1..]);
        let (mut marked, mut number) = (false, None);
        for _ in 0..2 {
            match (map.token(), map.token()) {
                (Ok(Token::Str(b"_placeholder")), Ok(Token::Bool(true))) => marked = true,
                (Ok(Token::Str(b"num")), Ok(Token::Uint(index))) => number = Some(index),
                _ => return None,
            }
        }
        let index = usize::try_from(number.filter(|_| marked)?).unwrap_or(usize::MAX);
        // Without an attachment it is data that a client made up, as it is in Node.js. So is a second one for the same
        // attachment: thirty bytes of a client's would become a megabyte, as often as it likes.
        self.unused.get_mut(index)?.take()
    }
}

impl<'de> DeserializeSeed<'de> for ToMsgpack<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ToMsgpack<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        msgpack::put_nil(self.out);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        msgpack::put_bool(self.out, value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        msgpack::put_uint(self.out, value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        msgpack::put_int(self.out, value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        msgpack::put_float(self.out, value);
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        msgpack::put_str(self.out, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let start = self.out.len();
        self.out.push(0);
        let mut length = 0;
        while seq.next_element_seed(self.again())?.is_some() {
            length += 1;
        }
        self.close(start, length, msgpack::put_array);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let start = self.out.len();
        self.out.push(0);
        let mut pairs = 0;
        while map.next_key_seed(self.again())?.is_some() {
            map.next_value_seed(self.again())?;
            pairs += 1;
        }
        match self.placeholder(start, pairs) {
            Some(attachment) => {
                self.out.truncate(start);
                msgpack::put_bin(self.out, attachment);
            }
            None => self.close(start, pairs, msgpack::put_map),
        }
        Ok(())
    }
}

/// Writes MessagePack tokens as JSON.
struct FromMsgpack<'a> {
    json: Vec<u8>,
    attachments: VecDeque<Bytes>,
    /// Where attachments lie. Without it there are none, and bytes are written out.
    source: Option<&'a Bytes>,
}

impl<'a> FromMsgpack<'a> {
    fn read(value: &[u8], source: Option<&'a Bytes>) -> Result<Self, Malformed> {
        let json = Vec::with_capacity(value.len() * 2);
        let mut transcoder = Self { json, attachments: VecDeque::new(), source };
        let mut reader = Reader::new(value);
        transcoder.value(&mut reader, DEPTH_MAX)?;
        if !reader.is_empty() {
            return Err(Malformed("bytes after a MessagePack value"));
        }
        Ok(transcoder)
    }

    fn value(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<(), Malformed> {
        match reader.token()? {
            Token::Nil => self.raw("null"),
            Token::Bool(value) => self.raw(if value { "true" } else { "false" }),
            Token::Uint(value) => self.raw(&value.to_string()),
            Token::Int(value) => self.raw(&value.to_string()),
            Token::Float(value) => self.float(value),
            Token::Str(text) => self.text(&msgpack::utf8(text)),
            Token::Bin(bytes) => self.attachment(bytes),
            // JSON has no dates; a client expects what `Date.prototype.toJSON` would have sent it.
            Token::Ext(-1, stamp) => match timestamp::to_iso8601(stamp) {
                Some(date) => self.text(&date),
                None => self.raw("null"),
            },
            Token::Ext(..) => self.raw("null"),
            Token::Array(length) => return self.array(reader, length, depth),
            Token::Map(pairs) => return self.map(reader, pairs, depth),
        }
        Ok(())
    }

    fn array(&mut self, reader: &mut Reader<'_>, length: usize, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed("nested too deep"))?;
        self.json.push(b'[');
        for index in 0..length {
            if index > 0 {
                self.json.push(b',');
            }
            self.value(reader, depth)?;
        }
        self.json.push(b']');
        Ok(())
    }

    fn map(&mut self, reader: &mut Reader<'_>, pairs: usize, depth: usize) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or(Malformed("nested too deep"))?;
        self.json.push(b'{');
        for index in 0..pairs {
            if index > 0 {
                self.json.push(b',');
            }
            match reader.token()? {
                Token::Str(key) => self.text(&msgpack::utf8(key)),
                // Emitters in other languages keep numeric keys; JavaScript and JSON only know strings.
                Token::Uint(key) => self.text(&key.to_string()),
                Token::Int(key) => self.text(&key.to_string()),
                _ => return Err(Malformed("a map key that is no string")),
            }
            self.json.push(b':');
            self.value(reader, depth)?;
        }
        self.json.push(b'}');
        Ok(())
    }

    fn attachment(&mut self, bytes: &[u8]) {
        let Some(source) = self.source else {
            self.raw("{\"type\":\"Buffer\",\"data\":");
            let _ = serde_json::to_writer(&mut self.json, bytes);
            return self.raw("}");
        };
        let index = self.attachments.len();
        self.raw(&format!("{{\"_placeholder\":true,\"num\":{index}}}"));
        // Empty slices have no place in the source that could be shared.
        let shared = if bytes.is_empty() { Bytes::new() } else { source.slice_ref(bytes) };
        self.attachments.push_back(shared);
    }

    fn float(&mut self, value: f64) {
        // Writing into a Vec cannot fail, and serde_json turns NaN and the infinities into null as JSON.stringify does.
        let _ = serde_json::to_writer(&mut self.json, &value);
    }

    fn text(&mut self, text: &str) {
        let _ = serde_json::to_writer(&mut self.json, text);
    }

    fn raw(&mut self, text: &str) {
        self.json.extend_from_slice(text.as_bytes());
    }

    fn finish(self) -> Result<Payload, Malformed> {
        let json = String::from_utf8(self.json).map_err(|_| Malformed("not UTF-8"))?;
        Ok(Payload { json: json.into(), attachments: self.attachments })
    }
}

#[cfg(test)]
mod tests;
