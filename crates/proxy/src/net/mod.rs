//! Sockets, buffers and time. Nothing here knows HTTP or an upstream.

pub(crate) mod listen_socket;
pub(crate) mod places;
pub(crate) mod memory;
pub(crate) mod secret_key;
pub(crate) mod file_limit;
pub(crate) mod epoll;
pub(crate) mod clock;
pub(crate) mod date;
pub(crate) mod scheduled;
pub(crate) mod took;
pub(crate) mod tls;
pub(crate) mod node_tls;
pub(crate) mod stream;
pub(crate) mod buffers;
pub(crate) mod splice;
pub(crate) mod encoder;
pub(crate) mod pace;
pub(crate) mod rates;
pub(crate) mod shared_rates;
pub(crate) mod fair_queue;
pub(crate) mod passwords;
pub(crate) mod seats;
