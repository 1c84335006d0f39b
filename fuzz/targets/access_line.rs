//! The access log: whatever a client has put into its request, a line is one line in every format, and says what was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| proxy::fuzz::access_lines(data));
