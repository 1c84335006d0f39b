//! The sections of the file, each declared once. `configs/full.toml` has their text from here; a test holds
//! it, and writes it with `UPDATE_SCHEMA=1`.

pub(crate) mod acme;
pub(crate) mod admin;
pub(crate) mod admission;
pub(crate) mod app;
pub(crate) mod client_certificates;
pub(crate) mod drain;
pub(crate) mod health;
pub(crate) mod limits;
pub(crate) mod listen;
pub(crate) mod log;
pub(crate) mod node_tls;
pub(crate) mod outliers;
pub(crate) mod rebalance;
pub(crate) mod redis;
pub(crate) mod resolver;
pub(crate) mod route;
pub(crate) mod timeouts;
pub(crate) mod upstream;

#[cfg(test)]
mod tests;
