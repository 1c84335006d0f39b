//! What the file answers, beyond what single kinds do.

mod answers;
mod variables;
