//! The data plane: one request from listener to tunnel. The modules stand in the order in which a request meets
//! them.

mod places;
mod listener;
mod worker;
mod clock;
mod tls;
mod stream;
mod buffers;
mod pour;
mod pace;
mod shared;
mod conversation;
mod seats;
mod memory;
mod park;
mod ends;
mod front_door;
mod route;
mod edits;
mod own;
mod files;
mod sticky;
mod registry;
mod attempt;
mod gate;
mod balance;
mod upstream;
mod names;
mod exchange;
mod handshake;
mod tunnel;
mod bell;
mod drain;
mod reply;
mod record;
mod access;
mod fault;
mod run;
mod reload;
mod instances;
mod verbs;
mod status;
#[doc(hidden)]
pub mod bench;

pub use record::Counts;
pub use run::{Proxy, StartProblem, check_certificates};
pub use status::{Left, NodeHandle, NodeStatus, Remains, Status, UnknownNode, UpstreamStatus};
pub use tls::TlsProblem;

#[cfg(test)]
mod sizes;
