//! `upstreams.toml` to a validated, immutable [`plan::Plan`]. No async, no network, no sockets.

pub mod limits;
pub mod plan;
pub mod roster;
