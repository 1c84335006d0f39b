//! What requests are decided by: the plan with its routes and nodes at one moment.

pub(crate) mod local;
pub(crate) mod shared;
pub(crate) mod route;
