//! One request and its answer: where it goes, on whose behalf, and what becomes of the bytes.

pub(crate) mod downstream;
pub(crate) mod front_door;
pub(crate) mod edits;
pub(crate) mod policy;
pub(crate) mod request_id;
pub(crate) mod pages;
pub(crate) mod subrequest;
pub(crate) mod waits;
pub(crate) mod guards;
pub(crate) mod mirror;
pub(crate) mod own;
pub(crate) mod files;
pub(crate) mod challenge;
pub(crate) mod sides;
pub(crate) mod sticky;
pub(crate) mod await_instance;
pub(crate) mod await_node;
pub(crate) mod dispatch;
pub(crate) mod exchange;
pub(crate) mod handshake;
pub(crate) mod upgrade;
pub(crate) mod reply;
pub(crate) mod reason;
