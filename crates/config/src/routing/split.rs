//! Several upstreams that share the clients of a route: a canary beside what is proven, for one.

use crate::plan::values::HashKey;

/// An upstream as a route names it, and its share of the clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The NAME of an `[upstream.NAME]`.
    pub name: String,
    /// How many of all clients: of weights 95 and 5 the second has 5 of 100. 0 is for those alone who are sent there by name.
    pub weight: u32,
}

/// By what it is decided which upstream a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitBy {
    /// Whose clients stay together; `None` draws for each request.
    pub key: Option<HashKey>,
    /// A cookie that may name one of the upstreams.
    pub cookie: Option<String>,
    /// A header line that may, in lower case.
    pub header: Option<String>,
}

impl Default for SplitBy {
    fn default() -> Self {
        Self { key: Some(HashKey::Ip), cookie: None, header: None }
    }
}

/// The sides of a route: as many routes, the first of which has this, stand one after the other in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// As the file has them.
    pub sides: Vec<Share>,
    /// How they are told apart.
    pub by: SplitBy,
}
