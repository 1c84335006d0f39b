//! The data plane: one request from listener to tunnel. The modules are its floors, the highest first: each uses those
//! below it, and none above (`cargo xtask floors`).

mod control;
mod worker;
mod tunnel;
mod request;
mod state;
mod observe;
mod upstream;
mod net;
mod fault;
#[doc(hidden)]
pub mod bench;

pub use control::proxy::{Proxy, StartProblem};
pub use control::run::check_certificates;
pub use control::status::{Left, NodeHandle, NodeStatus, Remains, Status, UnknownNode, UpstreamStatus};
pub use net::memory::TooLittleMemory;
pub use net::tls::TlsProblem;
pub use observe::record::Counts;

#[cfg(test)]
mod sizes;
