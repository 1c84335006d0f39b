//! Fan-out's transcoder: whatever another node says becomes JSON that a client can read, and what has become JSON becomes
//! the same MessagePack for the next node.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

#[path = "../../examples/fanout/src/halves.rs"]
mod halves;
#[path = "../../examples/fanout/src/msgpack.rs"]
mod msgpack;
#[path = "../../examples/fanout/src/payload.rs"]
#[expect(dead_code, reason = "the rest is for socketioxide")]
mod payload;
#[path = "../../examples/fanout/src/timestamp.rs"]
mod timestamp;

/// As it is in the crate, whose other errors are Redis' own.
mod error {
    #[derive(Debug)]
    pub(crate) struct Malformed(
        #[expect(dead_code, reason = "for whoever prints it")] pub(crate) &'static str,
    );
}

use msgpack::Reader;
use payload::Payload;

/// Of the tokens alone: a value that is stepped over is one that is there.
fn step_over(data: &[u8]) {
    let mut reader = Reader::new(data);
    while let Ok(value) = reader.value() {
        assert!(!value.is_empty() && value.len() <= data.len());
        let mut alone = Reader::new(value);
        assert_eq!(alone.value().expect("it is whole"), value);
        assert!(alone.is_empty());
    }
    let _ = Reader::new(data).fields(|_, mut value| value.value().map(drop));
    let _ = Reader::new(data).array();
}

fuzz_target!(|data: &[u8]| {
    step_over(data);
    let source = Bytes::copy_from_slice(data);
    if let Ok(argument) = Payload::argument_from_msgpack(&source, &source) {
        assert!(argument.json.starts_with('[') && argument.json.ends_with(']'));
    }
    if let Ok(payload) = Payload::from_msgpack(&source, &source) {
        let mut again = Vec::new();
        payload.put_msgpack(&mut again).expect("what has become JSON can be said to others");
        let again = Bytes::from(again);
        let read = Payload::from_msgpack(&again, &again).expect("what we say is understood");
        // With attachments, a placeholder that the sender has made up becomes one of them, as in Node.js.
        if payload.attachments.is_empty() {
            assert_eq!(read, payload);
        }
    }
    // A client's JSON.
    let text = String::from_utf8_lossy(data).into_owned();
    let mut said = Vec::new();
    if Payload::from_json(text).put_msgpack(&mut said).is_ok() {
        let said = Bytes::from(said);
        assert!(Payload::from_msgpack(&said, &said).is_ok(), "what a client may say, others understand");
    } else {
        assert!(said.is_empty(), "nothing half is left");
    }
});
