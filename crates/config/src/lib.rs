//! `upstreams.toml` to a validated, immutable [`plan::Plan`]. No async, no network, no sockets.
//!
//! [`load`] and [`parse`] give a plan, or everything that is wrong with the file, all of it at once.

pub mod app;
pub mod diff;
mod file;
pub mod limits;
pub mod plan;
pub mod problem;
mod regular;
pub mod roster;
pub mod routing;
pub mod schema;
mod suggest;

pub use file::{Inspected, Loaded, duration, inspect, literal, load, parse};
pub use regular::read_regular;
pub use suggest::nearest;
