//! Fleets of real processes: Node.js nodes on the real adapters, Rust nodes on this crate, Redis between them.
//!
//! Goal: a Rust node cannot be told from a Node.js node, by clients or by nodes, and never keeps a local room waiting.
//! Method: each test starts its own processes on free ports, acts on one node, sends a "fence" event through the
//! same connections, and compares what each client received up to the fence. Redis keeps the order of one
//! publisher's messages, so that nothing can be under way when the fence arrives, and nothing has to sleep.

// The helpers are `pub` for each other, and a helper that panics fails its test; clippy takes neither for granted
// outside of functions that are tests themselves.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used)]

mod agent;
mod redis_server;
mod rust_node;
mod support;

mod asking;
mod behind;
mod broadcasts;
mod broker;
mod bursts;
mod clusters;
mod comeback;
mod emitter;
mod failover;
mod four;
mod mixed;
mod names;
mod outages;
mod refusals;
mod requests;
mod servers;
mod settings;
mod sharded;
mod stalls;
mod streams;
mod torn;

pub use support::{Client, Fleet, connection, node_js, patient, persistent, soon, until};

/// An event without arguments. `()` would be one argument, null.
pub const NOTHING: [u8; 0] = [];
