//! What a request has to say, beside its host, path and method, for a route to take it.

/// Header lines and query parameters, all of which have to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Matches {
    /// Names in lower case.
    pub headers: Vec<Match>,
    /// Names as they are when their escapes are decoded.
    pub query: Vec<Match>,
}

/// A header line or a query parameter.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Match {
    /// What it is called.
    pub name: String,
    /// What it has to be, byte for byte; `None` for anything, an empty value included.
    pub value: Option<String>,
}
