//! What a broker is started with, and its bounds.

use std::fmt;

/// The bounds of a [`Broker`](crate::Broker).
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Clients at once (default 4,096); further ones get an error and are closed.
    pub clients_max: usize,
    /// Bytes of one command (default 16 MiB); a longer one is refused when its length is announced.
    pub command_bytes_max: usize,
    /// Arguments of one command (default 1,024).
    pub arguments_max: usize,
    /// Bytes that wait to be read by one client (default 32 MiB, as Redis for subscribers). Beyond half of it publishers are
    /// made to wait for the client, for a second at most. At the bound it is cut off; it reconnects and knows that it
    /// missed something.
    pub waiting_bytes_max: usize,
    /// Messages that wait to be read by one client (default 65,536), with the same consequence.
    pub waiting_messages_max: usize,
    /// Channels and patterns of one client (default 16,384); further ones are an error.
    pub subscriptions_max: usize,
    /// Bytes of the names of them (default 8 MiB), likewise.
    pub subscription_bytes_max: usize,
}

impl Limits {
    /// What somebody may say who has not said the password yet, as in Redis.
    pub(crate) fn of_strangers(&self) -> Self {
        Self {
            command_bytes_max: self.command_bytes_max.min(16 << 10),
            arguments_max: self.arguments_max.min(10),
            ..*self
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_max: 4096,
            command_bytes_max: 16 << 20,
            arguments_max: 1024,
            waiting_bytes_max: 32 << 20,
            waiting_messages_max: 65_536,
            subscriptions_max: 16_384,
            subscription_bytes_max: 8 << 20,
        }
    }
}

/// What a [`Broker`](crate::Broker) is started with. [`Limits`] alone will do as well.
#[derive(Clone, Default)]
pub struct Settings {
    /// The bounds.
    pub limits: Limits,
    /// What clients must say with `AUTH` or `HELLO`, as user `default` (none if `None`, which is the default, or empty).
    pub password: Option<String>,
}

impl From<Limits> for Settings {
    fn from(limits: Limits) -> Self {
        Self { limits, password: None }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Settings").field("limits", &self.limits).finish_non_exhaustive()
    }
}
