//! Nothing: the benches are in `benches/`, and `cargo bench` runs them.
