//! People and machines looking in: a Unix socket that answers HTTP with JSON, and the client that the command line
//! asks it with. Reads the data plane and says a handful of verbs to it; the data plane knows nothing of it, and is
//! the same byte for byte without it.
//!
//! Reading the file is not done here: whoever starts tidelock does it, and gets a [`ReloadWanted`].

mod socket;
pub mod places;
mod serve;
mod handles;
mod verbs;
mod apps;
mod metrics;
mod collect;
pub mod api;
pub mod client;

pub use collect::{Collectors, collect};
pub use handles::{Applied, Handles, ReloadWanted, UpgradeWanted, Ups};
pub use serve::serve;
pub use socket::{Socket, SocketProblem};
pub use verbs::UPGRADE_TIMEOUT;
