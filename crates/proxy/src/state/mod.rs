//! What requests are decided by: the plan with its routes and nodes at one moment.

pub(crate) mod copies;
pub(crate) mod local;
pub(crate) mod media;
pub(crate) mod open_files;
pub(crate) mod shared;
pub(crate) mod explain;
pub(crate) mod route;
