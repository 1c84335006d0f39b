//! A client that says anything to a worker: what the node sees of it can be read in one way only, however it was cut, and
//! nothing is left behind.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| proxy::fuzz::connection(data));
