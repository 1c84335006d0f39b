//! What can go wrong, and whose fault it is.

use socketioxide_core::adapter::errors::AdapterError;

/// Bytes from another node that its protocol does not allow. Counted and dropped; never an error for the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The address or the options cannot work, whatever Redis does. Returned by [`connect`](crate::connect).
#[derive(Debug, thiserror::Error)]
#[error("cannot use this Redis address: {0}")]
pub struct ConfigError(#[from] pub(crate) redis::RedisError);

/// Why a question to the other nodes has no complete answer.
///
/// Broadcasts fail with [`QueueFull`](Self::QueueFull) alone: they are delivered locally, and their loss towards other
/// nodes while Redis is away is counted in [`Stats`](crate::Stats) instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Redis is out of reach or this node's subscription is not confirmed, so no answer could arrive.
    /// Worth asking again after the reconnect, which is tried at least once a second.
    #[error("not connected to Redis")]
    Disconnected,
    /// Some nodes did not answer within [`Options::request_timeout`](crate::Options::request_timeout).
    #[error("{answered} of {expected} nodes answered in time")]
    TimedOut {
        /// Nodes that did.
        answered: usize,
        /// Nodes that were subscribed when the question was asked, without this one.
        expected: usize,
    },
    /// The message did not fit into the queue to Redis within [`Options::emit_wait_max`](crate::Options::emit_wait_max):
    /// this node says more than Redis takes. It is dropped and counted. Local clients have received it.
    #[error("the queue of messages to other nodes is full")]
    QueueFull,
    /// [`Options::requests_max`](crate::Options::requests_max) questions are waiting already.
    #[error("too many requests to other nodes at once")]
    Busy,
    /// Redis does not answer within [`Options::command_timeout`](crate::Options::command_timeout).
    #[error("Redis does not answer")]
    Stalled,
    /// Redis answered with an error.
    #[error("Redis: {0}")]
    Redis(#[from] redis::RedisError),
}

impl From<Error> for AdapterError {
    fn from(error: Error) -> Self {
        AdapterError(Box::new(error))
    }
}
