//! What an instance has for as long as it lives.

use config::roster::InstanceAddress;

use crate::bus::Seat;
use crate::host::InstanceFolder;
use crate::ports::PortLease;

/// Where it listens, and what goes with that; all of it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) address: InstanceAddress,
    pub(super) _port: Option<PortLease>,
    pub(super) folder: InstanceFolder,
    /// Where it talks to the others, if there is room for its path.
    pub(super) seat: Option<Seat>,
}
