//! The codec, for the benchmarks of this crate alone. No part of its interface.

use bytes::Bytes;
use socketioxide_core::Value;

use crate::{
    classic::Classic,
    message::{Flags, Request, Target},
    payload::Payload,
};

/// One end of the classic dialect.
#[derive(Debug)]
pub struct End(Classic);

impl End {
    /// An end with a name of its own.
    pub fn new(uid: &str) -> Self {
        Self(Classic::new("socket.io", "/", uid.to_owned()))
    }

    /// A broadcast to one room, as it is published.
    pub fn encode(&self, value: Value, room: &str) -> Vec<u8> {
        let payload = Payload::from_value(value).unwrap_or_default();
        let request = Request::Broadcast { payload, target: Target::room(room), flags: Flags::default() };
        self.0.encode(None, &request).map(|outgoing| outgoing.body).unwrap_or_default()
    }

    /// Whether a broadcast of another end is read.
    pub fn decode(&self, body: &Bytes) -> bool {
        matches!(self.0.decode(&self.0.broadcasts, body, |_| true), Ok(Some(_)))
    }
}
