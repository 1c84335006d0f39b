//! Exchanges through a worker, by a paused clock: what the node sees is what the client sent, and the other way round, but for
//! the documented changes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| proxy::fuzz::exchanges(data));
