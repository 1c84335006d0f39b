//! The data plane: one request from listener to tunnel. The modules stand in the order in which a request meets
//! them.

mod access;
mod attempt;
mod balance;
mod buffers;
mod conversation;
mod drain;
mod ends;
mod exchange;
mod fault;
mod handshake;
mod listener;
mod record;
mod registry;
mod reply;
mod route;
mod run;
mod shared;
mod sticky;
mod stream;
mod tls;
mod tunnel;
mod upstream;
mod worker;

pub use record::Counts;
pub use run::{Hurry, Proxy, StartProblem, check_certificates};
pub use tls::TlsProblem;
