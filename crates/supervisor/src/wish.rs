//! What the supervisor wishes of whoever holds the data plane. The binary grants the wishes; neither side knows the
//! other.

use std::time::Duration;

use config::roster::{Instance, InstanceId};
use tokio::sync::oneshot;

/// One wish, in the order in which they have to be granted.
#[derive(Debug)]
pub enum Wish {
    /// These instances of the app can be reached now, and no others: the whole list, those that are being emptied
    /// included. An instance that is missing is gone, and what it carried with it.
    Publish {
        /// The name of the app.
        app: String,
        /// In the order of their slots, then of their generations.
        instances: Vec<Instance>,
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
        /// Told once, what was left, in words: nothing if it is empty. Dropped if the instance is unknown.
        emptied: oneshot::Sender<Option<String>>,
    },
}
