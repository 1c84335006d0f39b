//! What goes over the admin socket, either way: what is understood says the same when it is said again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::DeserializeOwned;

#[path = "../../crates/admin/src/api.rs"]
mod api;

fn check<T: DeserializeOwned + Serialize>(data: &[u8]) {
    let Ok(said) = serde_json::from_slice::<T>(data) else { return };
    let printed = serde_json::to_string(&said).expect("what was read can be said");
    // One event a line.
    assert!(!printed.contains(['\r', '\n']));
    let again: T = serde_json::from_str(&printed).expect("what we say is understood");
    assert_eq!(serde_json::to_string(&again).expect("as before"), printed);
}

fuzz_target!(|data: &[u8]| {
    check::<api::NodeSelector>(data);
    check::<api::AppRequest>(data);
    check::<api::LogsWanted>(data);
    check::<api::Event>(data);
    check::<api::LogLine>(data);
    check::<api::Status>(data);
});
