//! A chat in rooms: one Socket.IO node of an app that runs on as many nodes as one likes. It knows nothing of the
//! proxy in front of it.
//!
//! | event | arguments | what happens |
//! |---|---|---|
//! | `join` | `{room, name}` | the socket enters the room, under that name; acknowledged with whether it is in |
//! | `leave` | `room` | the socket leaves the room |
//! | `message` | `{room, text, id?, picture?}` | `message` `{room, id?, name, text, picture?, node, at}` goes to the room, if the socket is in it; acknowledged with whether it does |
//! | `who` | acknowledged | `{node, pid, transport, headers}`: what reached the node through whatever stands in front |
//! | `echo` | acknowledged | the very arguments, text and binary |
//!
//! Whenever a room changes, `members` `{room, names}` goes to all who are in it, on whichever node they are. Alone, a
//! node knows the names by itself; in a fleet, which `fanout` makes of nodes in Rust and in Node.js, it asks the others.
//!
//! Messages with an id are told to the other nodes as `said`, too, so that whoever keeps them for clients that were away can.
//!
//! `GET /` and `GET /chat` are the page to chat in, `GET /health` says `ok`, `GET /sessions` says how many sessions are here.

pub mod events;
mod payload;
pub mod roster;
pub mod web;

/// The largest message taken in bytes, as in Node.js; socketioxide's own default is a tenth of it.
pub const PAYLOAD_BYTES_MAX: u64 = 1_000_000;

/// The name that a node goes by, in messages and in answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeName(pub std::sync::Arc<str>);
