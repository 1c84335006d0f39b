//! The sections whose keys are plain values, each declared once. `configs/full.toml` has their text from here; a test holds
//! it, and writes it with `UPDATE_SCHEMA=1`.

pub(crate) mod limits;
pub(crate) mod outliers;
pub(crate) mod rebalance;
pub(crate) mod timeouts;

#[cfg(test)]
mod tests;
