//! The bounds of every buffer, queue and map, and of what a tunnel may carry. They are declared with their keys.

pub use crate::file::sections::limits::Limits;
