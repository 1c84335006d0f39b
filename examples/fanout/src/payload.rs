//! An event's arguments, between the two forms they take: JSON with attachments, as Socket.IO sends them
//! to clients, and MessagePack with the bytes inline, as notepack.io sends them to other nodes.
//! A single pass each way, without a tree in between; object keys keep their order.

use std::{collections::VecDeque, fmt};

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use socketioxide_core::{Str, Value};

use crate::{
    error::Malformed,
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
        let mut json = serde_json::Deserializer::from_str(&self.json);
        let start = out.len();
        let written = ToMsgpack { out, attachments: &self.attachments }
            .deserialize(&mut json)
            .and_then(|()| json.end());
        written.map_err(|_| {
            out.truncate(start);
            Malformed("JSON with attachments")
        })
    }

    /// Reads one MessagePack value. `source` is the message that `value` lies in, so that
    /// attachments can share its memory.
    pub(crate) fn from_msgpack(value: &[u8], source: &Bytes) -> Result<Self, Malformed> {
        let mut transcoder =
            FromMsgpack { json: Vec::with_capacity(value.len() * 2), attachments: VecDeque::new(), source };
        let mut reader = Reader::new(value);
        transcoder.value(&mut reader, DEPTH_MAX)?;
        if !reader.is_empty() {
            return Err(Malformed("bytes after a MessagePack value"));
        }
        transcoder.finish()
    }

    /// As [`Self::from_msgpack`], wrapped in an array: the form of an acknowledgement with one argument.
    pub(crate) fn argument_from_msgpack(value: &[u8], source: &Bytes) -> Result<Self, Malformed> {
        let inner = Self::from_msgpack(value, source)?;
        Ok(Self { json: format!("[{}]", inner.json).into(), attachments: inner.attachments })
    }
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
struct ToMsgpack<'a> {
    out: &'a mut Vec<u8>,
    attachments: &'a VecDeque<Bytes>,
}

impl ToMsgpack<'_> {
    fn again(&mut self) -> ToMsgpack<'_> {
        ToMsgpack { out: self.out, attachments: self.attachments }
    }

    /// Lengths come first in MessagePack and last in JSON: one byte is kept free at `start`, and
    /// only a container of more than 15 elements has to move what follows it.
    fn close(&mut self, start: usize, length: usize, put: fn(&mut Vec<u8>, usize)) {
        let mut header = Vec::with_capacity(5);
        put(&mut header, length);
        self.out.splice(start..=start, header);
    }

    /// The attachment that the map written since `start` stands for, if it is a placeholder.
    fn placeholder(&self, start: usize, pairs: usize) -> Option<Bytes> {
        if pairs != 2 {
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
        // Without an attachment it is data that a client made up, as it is in Node.js.
        self.attachments.get(index).cloned()
    }
}

impl<'de> DeserializeSeed<'de> for ToMsgpack<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ToMsgpack<'_> {
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
                msgpack::put_bin(self.out, &attachment);
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
    source: &'a Bytes,
}

impl FromMsgpack<'_> {
    fn value(&mut self, reader: &mut Reader<'_>, depth: usize) -> Result<(), Malformed> {
        match reader.token()? {
            Token::Nil => self.raw("null"),
            Token::Bool(value) => self.raw(if value { "true" } else { "false" }),
            Token::Uint(value) => self.raw(&value.to_string()),
            Token::Int(value) => self.raw(&value.to_string()),
            Token::Float(value) => self.float(value),
            Token::Str(text) => self.text(&String::from_utf8_lossy(text)),
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
                Token::Str(key) => self.text(&String::from_utf8_lossy(key)),
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
        let index = self.attachments.len();
        self.raw(&format!("{{\"_placeholder\":true,\"num\":{index}}}"));
        // Empty slices have no place in the source that could be shared.
        let shared = if bytes.is_empty() { Bytes::new() } else { self.source.slice_ref(bytes) };
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
mod tests {
    use super::Payload;
    use bytes::Bytes;
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
    use rmpv::Value as Tree;

    fn encode(tree: &Tree) -> Bytes {
        let mut bytes = Vec::new();
        rmpv::encode::write_value(&mut bytes, tree).unwrap();
        bytes.into()
    }

    /// MessagePack in, this JSON out; and back again to the same tree.
    fn check(tree: Tree, json: &str, attachments: &[&[u8]]) {
        let source = encode(&tree);
        let payload = Payload::from_msgpack(&source, &source).unwrap();
        assert_eq!(&*payload.json, json);
        assert_eq!(payload.attachments, attachments);
        let mut back = Vec::new();
        payload.put_msgpack(&mut back).unwrap();
        assert_eq!(rmpv::decode::read_value(&mut &back[..]).unwrap(), tree);
        for cut in 0..source.len() {
            assert!(Payload::from_msgpack(&source[..cut], &source).is_err());
        }
    }

    #[test]
    fn values_cross_both_ways() {
        let map = |key: &str, value: Tree| Tree::Map(vec![(key.into(), value)]);
        check(Tree::Array(vec!["hi".into(), 1.into(), (-1).into(), 1.5.into()]), r#"["hi",1,-1,1.5]"#, &[]);
        check(
            Tree::Array(vec![Tree::Nil, true.into(), "a\"\n\u{1f600}".into()]),
            "[null,true,\"a\\\"\\n\u{1f600}\"]",
            &[],
        );
        check(Tree::Map(vec![("z".into(), 1.into()), ("a".into(), 2.into())]), r#"{"z":1,"a":2}"#, &[]);
        check(
            Tree::Array(vec![map("x", Tree::Binary(vec![1, 2])), Tree::Binary(vec![])]),
            r#"[{"x":{"_placeholder":true,"num":0}},{"_placeholder":true,"num":1}]"#,
            &[&[1, 2], &[]],
        );
        check(
            Tree::Array((0..300).map(Tree::from).collect()),
            &serde_json::to_string(&(0..300).collect::<Vec<_>>()).unwrap(),
            &[],
        );
    }

    #[test]
    fn dates_become_what_javascript_would_send_to_a_client() {
        let stamp = 1_700_000_000_u32.to_be_bytes().to_vec();
        let source = encode(&Tree::Ext(-1, stamp));
        assert_eq!(&*Payload::from_msgpack(&source, &source).unwrap().json, r#""2023-11-14T22:13:20.000Z""#);
    }

    #[test]
    fn a_placeholder_without_its_attachment_is_data() {
        for json in [
            r#"[{"num":0,"_placeholder":true}]"#,
            r#"[{"_placeholder":true,"num":4294967296}]"#,
            r#"[{"num":0,"_placeholder":false}]"#,
        ] {
            let mut bytes = Vec::new();
            Payload::from_json(json.to_owned()).put_msgpack(&mut bytes).unwrap();
            let back = Payload::from_msgpack(&bytes, &Bytes::from(bytes.clone())).unwrap();
            assert_eq!((&*back.json, back.attachments.len()), (json, 0));
        }
    }

    #[test]
    fn nesting_has_an_end() {
        let mut tree = Tree::Nil;
        for _ in 0..500 {
            tree = Tree::Array(vec![tree]);
        }
        let source = encode(&tree);
        assert!(Payload::from_msgpack(&source, &source).is_err());
    }

    fn tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Nil),
            any::<bool>().prop_map(Tree::from),
            any::<i64>().prop_map(Tree::from),
            any::<u64>().prop_map(Tree::from),
            any::<f64>().prop_filter("JSON has finite numbers only", |f| f.is_finite()).prop_map(Tree::from),
            ".*".prop_map(Tree::from),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Tree::Binary),
        ];
        leaf.prop_recursive(5, 60, 20, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..20).prop_map(Tree::Array),
                prop::collection::vec((".*".prop_map(Tree::from), inner), 0..20).prop_map(Tree::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_tree_survives_the_round_trip(tree in tree()) {
            let source = encode(&tree);
            let payload = Payload::from_msgpack(&source, &source).unwrap();
            let mut back = Vec::new();
            payload.put_msgpack(&mut back).unwrap();
            assert_eq!(rmpv::decode::read_value(&mut &back[..]).unwrap(), tree);
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let source = Bytes::from(bytes);
            let _ = Payload::from_msgpack(&source, &source);
        }
    }
}
