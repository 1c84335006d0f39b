//! Copies of requests, for an upstream whose answers nobody gets: what is tried with the requests of real clients.

/// Where copies of a route's requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The NAME of an `[upstream.NAME]`.
    pub upstream: String,
    /// So many of a hundred requests are copied.
    pub percent: u32,
    /// A request with a longer body is not copied.
    pub body_bytes_max: u64,
}
