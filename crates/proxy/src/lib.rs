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

pub use control::certificates::{FirstRead, check_certificates, warn_of_certificates};
pub use control::listen_sockets::ListenSockets;
pub use control::metrics::{Metrics, NodeMetrics};
pub use control::proxy::{Proxy, StartProblem};
pub use control::run::Prepared;
pub use control::status::{Left, NodeHandle, NodeStatus, Remains, Status, UnknownNode, UpstreamStatus};
pub use control::successor::{Newcomers, PassedAddress, PassedSession};
pub use net::listen_socket::bind;
pub use net::memory::TooLittleMemory;
pub use net::scheduled::Scheduled;
pub use net::shared_rates::RedisNow;
pub use net::tls::{CertificateNow, TlsProblem};
pub use net::took::{DURATIONS, Durations};
pub use observe::counters::{Counts, Handshake};
pub use observe::routes::{LIFETIME_SECONDS, Passed, RouteCounts, RouteName};
pub use state::explain::{Imagined, Says, Taken};
pub use upstream::answers::{Answered, Lately};
pub use upstream::gone::NodeCounts;

/// What `fuzz/` plays.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz {
    /// Exchanges drawn from bytes.
    pub fn exchanges(data: &[u8]) {
        crate::worker::stand::oracle::exchanges(data);
    }

    /// Lines of the access log, in all formats.
    pub fn access_lines(data: &[u8]) {
        crate::observe::access::forge::lines(data);
    }

    /// What a client says on a connection, whatever it is.
    pub fn connection(data: &[u8]) {
        crate::worker::stand::oracle::connection(data);
    }
}

#[cfg(test)]
mod sizes;
