//! The leaves of the supervisor with real processes: how they start, listen, get ready, write and end. Every test
//! ends with the proof that nothing of it is left.

mod end;
mod keep;
mod listen;
mod ready;
mod start;
mod support;
mod write;
