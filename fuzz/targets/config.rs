//! A file: a plan, or a report that can be printed.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    match config::parse(&text, Path::new("upstreams.toml")) {
        Ok(loaded) => {
            let _ = loaded.warnings.to_string();
            assert!(config::diff::diff(&loaded.plan, &loaded.plan).is_empty());
        }
        Err(report) => assert!(!report.to_string().is_empty()),
    }
});
