//! What the supervisor needs from the data plane. The binary carries the requests over; neither side knows the other.

use std::time::Duration;

use config::roster::{Instance, InstanceId};
use tokio::sync::oneshot;

/// A request to the data plane. They have to be carried out in their order.
#[derive(Debug)]
pub enum DataPlaneRequest {
    /// These instances of the app can be reached now, and no others: the whole list, those that are being emptied
    /// included. An instance that is missing is gone, and what it carried with it.
    Publish {
        /// The name of the app.
        app: String,
        /// In the order of their slots, then of their generations.
        instances: Vec<Instance>,
        /// It is stopped or given up: nothing of it runs again by itself.
        is_stopped: bool,
    },
    /// Give the instance nothing new, and its sessions a turn each to leave.
    Empty {
        /// The name of the app.
        app: String,
        /// Which of its instances.
        instance: InstanceId,
        /// The turns are spread over so long.
        window: Duration,
        /// What is left then is left.
        deadline: Duration,
        /// Gets once, in words, what is left; `None` if the instance is empty. Dropped if the instance is unknown.
        emptied: oneshot::Sender<Option<String>>,
    },
}
