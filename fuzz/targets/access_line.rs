//! The access log: whatever a client has put into its request, a line is one line of JSON, and says what was sent.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/proxy/src/observe/access/json.rs"]
#[expect(dead_code, reason = "the addresses and words of a line are ours")]
mod json;

fuzz_target!(|data: &[u8]| {
    let (target, host) = data.split_at(data.len() / 2);
    let mut printed = Vec::new();
    let mut line = json::JsonLine::begin(&mut printed);
    line.text("target", target);
    line.number("bytes", data.len() as u64);
    line.milliseconds("ms", Duration::from_micros(data.len() as u64));
    line.text("host", host);
    line.end();
    let printed = String::from_utf8(printed).expect("a log is text");
    // Neither a line of its own nor a word to the terminal of whoever reads it.
    assert!(!printed.contains(char::is_control), "{printed:?}");
    let read: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    for (key, sent) in [("target", target), ("host", host)] {
        let said = read[key].as_str().expect("a text");
        let sent = String::from_utf8_lossy(sent);
        if sent.contains(|character: char| character.is_control() && character >= '\u{7f}') {
            assert_eq!(said.chars().count(), sent.chars().count());
        } else {
            assert_eq!(said, sent);
        }
    }
});
