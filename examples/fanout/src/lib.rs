//! Fan-out between Socket.IO nodes.
mod acks;
mod adapter;
pub mod broker;
mod classic;
mod dialect;
mod error;
mod fanout;
mod hooks;
mod link;
mod local;
mod message;
mod msgpack;
mod node;
mod options;
mod payload;
mod pending;
mod sharded;
mod stats;
mod timestamp;

pub use crate::{
    acks::AckStream,
    adapter::{RedisAdapter, Started},
    error::{ConfigError, Error},
    fanout::{Fanout, Namespace, connect, connect_cluster},
    hooks::{Description, Responder, ServerSideEmit},
    message::{RemoteSocket, Target},
    options::{Mode, Options},
    stats::{DropReason, Event, Side, Stats},
};
