//! Fan-out between Socket.IO nodes.
mod classic;
mod error;
mod message;
mod msgpack;
mod payload;
mod sharded;
mod timestamp;
