//! The leaves of the supervisor with real processes: how they start, listen, get ready, write and end. Every test
//! ends with the proof that nothing of it is left.

#![expect(
    clippy::unwrap_used,
    reason = "what the tests share is test too: what cannot be unwrapped has failed"
)]

mod end;
mod keep;
mod listen;
mod messages;
mod shapes;
mod ready;
mod start;
mod support;
mod write;
