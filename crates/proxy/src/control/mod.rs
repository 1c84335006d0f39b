//! What the control thread does, and what people ask of it: start and end, reloads, apps, drains.

pub(crate) mod certificates;
pub(crate) mod proxy;
pub(crate) mod listen_sockets;
pub(crate) mod successor;
pub(crate) mod run;
pub(crate) mod health;
pub(crate) mod reload;
pub(crate) mod instances;
pub(crate) mod verbs;
pub(crate) mod status;
pub(crate) mod metrics;
pub(crate) mod drain;
