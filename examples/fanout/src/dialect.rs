//! The one place that knows that there are three dialects.

use bytes::Bytes;
use socketioxide_core::Sid;

use crate::{
    classic::Classic,
    error::Malformed,
    message::{Answer, Ask, Incoming, Outgoing, Request},
    options::{Mode, Options},
    sharded::Sharded,
    streams::{Read, Streams},
};

/// How a channel is subscribed to, which also decides how Redis routes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Channel,
    Pattern,
    Shard,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Subscription {
    pub(crate) kind: Kind,
    pub(crate) name: String,
}

#[derive(Debug)]
pub(crate) enum Dialect {
    Classic(Classic),
    Sharded(Sharded),
    Streams(Streams),
}

impl Dialect {
    pub(crate) fn new(options: &Options, namespace: &str) -> Self {
        // Nodes in Node.js draw 6 or 16 characters. Any text without `#` will do, and this one is
        // long enough never to meet another.
        let uid = Sid::new().to_string();
        match options.mode {
            Mode::Classic => Self::Classic(Classic::new(&options.prefix, namespace, uid)),
            Mode::Sharded => Self::Sharded(Sharded::new(&options.prefix, namespace, uid)),
            Mode::Streams => Self::Streams(Streams::new(options, namespace, uid)),
        }
    }

    pub(crate) fn subscriptions(&self) -> Vec<Subscription> {
        let subscription = |kind, name: &String| Subscription { kind, name: name.clone() };
        match self {
            Self::Classic(classic) => vec![
                subscription(Kind::Pattern, &classic.pattern()),
                subscription(Kind::Channel, &classic.requests),
                subscription(Kind::Channel, &classic.answers),
                subscription(Kind::Channel, &classic.answers_to_us),
            ],
            Self::Sharded(sharded) => vec![
                subscription(Kind::Shard, &sharded.channel),
                subscription(Kind::Shard, &sharded.answers_to_us),
            ],
            Self::Streams(streams) => vec![
                subscription(Kind::Channel, &streams.envelope.channel),
                subscription(Kind::Channel, &streams.envelope.answers_to_us),
            ],
        }
    }

    /// The name of this node in this namespace, which its messages carry.
    pub(crate) fn uid(&self) -> &str {
        match self {
            Self::Classic(classic) => &classic.uid,
            Self::Sharded(sharded) => &sharded.uid,
            Self::Streams(streams) => &streams.envelope.uid,
        }
    }

    /// The channel whose subscribers are the fleet's nodes.
    pub(crate) fn roll_call(&self) -> &str {
        match self {
            Self::Classic(classic) => &classic.requests,
            Self::Sharded(sharded) => &sharded.channel,
            Self::Streams(streams) => &streams.envelope.channel,
        }
    }

    /// `None` for a message that is not for this node.
    pub(crate) fn decode(
        &self,
        channel: &str,
        body: &Bytes,
        has_room: impl Fn(&str) -> bool,
    ) -> Result<Option<Incoming>, Malformed> {
        match self {
            Self::Classic(classic) => classic.decode(channel, body, has_room),
            Self::Sharded(sharded) => sharded.decode(body),
            Self::Streams(streams) => streams.decode(body),
        }
    }

    /// As [`Self::decode`], of an entry of a stream.
    pub(crate) fn decode_entry(&self, entry: Read) -> Result<Option<Incoming>, Malformed> {
        match self {
            Self::Streams(streams) => streams.decode_entry(entry),
            Self::Classic(_) | Self::Sharded(_) => Ok(None),
        }
    }

    pub(crate) fn encode(&self, id: Option<&str>, request: &Request) -> Result<Outgoing, Malformed> {
        match self {
            Self::Classic(classic) => classic.encode(id, request),
            Self::Sharded(sharded) => sharded.encode(id, request),
            Self::Streams(streams) => streams.encode(id, request),
        }
    }

    pub(crate) fn encode_answer(&self, ask: &Ask, answer: &Answer) -> Result<Outgoing, Malformed> {
        match self {
            Self::Classic(classic) => classic.encode_answer(ask, answer),
            Self::Sharded(sharded) => sharded.encode_answer(ask, answer),
            Self::Streams(streams) => streams.encode_answer(ask, answer),
        }
    }
}
