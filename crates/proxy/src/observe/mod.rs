//! What happened: the record of an exchange, the access log, the counters.

pub(crate) mod guarded;
pub(crate) mod record;
pub(crate) mod routes;
pub(crate) mod counters;
pub(crate) mod access;
pub(crate) mod lifecycle;
