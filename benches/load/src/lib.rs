//! Load for a proxy of real-time apps, and an origin to stand behind it. Both are one thread each, so that a machine of
//! two cores has one left for the proxy; both are small enough not to be what is measured.
//!
//! - [`destination`]: where to connect, over TLS or not; [`http`]: requests on connections that are kept or new.
//! - [`websocket`]: echoes and rooms; [`socketio`]: what Socket.IO says on a WebSocket; [`polling`]: Engine.IO without
//!   one; [`hold`]: connections that rest, and the memory they take.
//! - [`meter`]: what is counted in which time, and how long it took; [`pace`]: when a request of an open loop is due;
//!   [`processes`]: what the measured processes used of the machine meanwhile.
//! - [`origin`]: bodies of any size, echoes, rooms and Engine.IO sessions.

pub mod destination;
pub mod hold;
pub mod http;
pub mod http2;
pub mod meter;
pub mod origin;
pub mod pace;
pub mod polling;
pub mod processes;
pub mod socketio;
pub mod websocket;
