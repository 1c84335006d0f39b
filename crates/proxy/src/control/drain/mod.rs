//! Emptying a node, or leaving: whose turn it is, how tunnels and polling sessions are told, and how sessions are spread
//! anew.

pub(crate) mod schedule;
pub(crate) mod node;
pub(crate) mod polling;
pub(crate) mod rebalance;
