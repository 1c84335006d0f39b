//! What clients send and what they get, as it stands on the wire.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Debug, Deserialize)]
pub(crate) struct Join {
    pub(crate) room: String,
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    pub(crate) room: String,
    pub(crate) text: String,
    /// The sender's own, if it has one.
    #[serde(default)]
    pub(crate) id: String,
    /// Bytes of an image; whatever else stands here is left out. It is no `Option`, here or in [`Message`], because
    /// socketioxide-parser-common 0.17.3 neither finds bytes inside of one nor writes them as bytes.
    #[serde(default = "nothing")]
    pub(crate) picture: rmpv::Value,
}

#[derive(Debug, Serialize)]
pub(crate) struct Message<'a> {
    pub(crate) room: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) text: &'a str,
    #[serde(skip_serializing_if = "rmpv::Value::is_nil")]
    pub(crate) picture: rmpv::Value,
    pub(crate) node: &'a str,
    /// Milliseconds since 1970, as JavaScript counts them.
    pub(crate) at: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Members<'a> {
    pub(crate) room: &'a str,
    pub(crate) names: Vec<String>,
}

fn nothing() -> rmpv::Value {
    rmpv::Value::Nil
}

/// What a socket's person is called. Kept with the socket.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Name(pub(crate) String);

impl Name {
    /// What a client asked for, cut to a sane length.
    pub(crate) fn of(asked: &str) -> Self {
        Self(shortened(asked, "someone"))
    }
}

/// The name of a person or a room, without its margins and cut to a sane length.
pub(crate) fn shortened(text: &str, otherwise: &str) -> String {
    let kept: String = text.trim().chars().take(NAME_CHARS_MAX).collect();
    if kept.is_empty() { otherwise.to_owned() } else { kept }
}

/// Every argument of an event, however many there are, bytes as bytes.
///
/// socketioxide tells several arguments from one list by serde's tuples, whose length is part of their type. This
/// one claims to be a tuple and takes what comes.
#[derive(Debug)]
pub(crate) struct Arguments(Vec<rmpv::Value>);

impl<'de> Deserialize<'de> for Arguments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The parser reads to the end of the array whatever the length says.
        deserializer.deserialize_tuple(1, TakeAll)
    }
}

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for value in &self.0 {
            tuple.serialize_element(value)?;
        }
        tuple.end()
    }
}

struct TakeAll;

impl<'de> Visitor<'de> for TakeAll {
    type Value = Arguments;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the arguments of an event")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Arguments, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Arguments(values))
    }
}

const NAME_CHARS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(shortened("  ", "lobby"), "lobby");
        assert_eq!(Name::of(&"é".repeat(50)).0.chars().count(), 40);
    }
}
