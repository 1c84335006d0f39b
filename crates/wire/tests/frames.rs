//! Our edges against a full decoder: wherever we say that a message ends, tungstenite has read whole messages and
//! nothing half.

use std::io::{Cursor, Read, Write};

use proptest::prelude::*;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocket};
use wire::frame::{Edge, FrameEdges};

/// A peer that says what is in the cursor and hears nothing.
struct Spoken<'a>(Cursor<&'a [u8]>);

impl Read for Spoken<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Spoken<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// How many messages, pings and pongs included, tungstenite reads in `bytes`.
fn messages_in(bytes: &[u8]) -> usize {
    let mut reader = WebSocket::from_raw_socket(Spoken(Cursor::new(bytes)), Role::Client, None);
    std::iter::from_fn(|| reader.read().ok()).count()
}

/// One message: its fragments, and whether a ping goes in front of each of them.
fn print(fragments: &[(Vec<u8>, bool)], out: &mut Vec<u8>) {
    for (index, (payload, pings)) in fragments.iter().enumerate() {
        if *pings {
            Frame::ping(b"p".to_vec()).format(out).expect("into memory");
        }
        let opcode = if index == 0 { Data::Binary } else { Data::Continue };
        let is_last = index + 1 == fragments.len();
        Frame::message(payload.clone(), OpCode::Data(opcode), is_last).format(out).expect("into memory");
    }
}

proptest! {
    #[test]
    fn messages_end_where_a_full_decoder_ends_them(
        messages in proptest::collection::vec(
            proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..300), any::<bool>()), 1..4),
            1..6,
        ),
    ) {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for fragments in &messages {
            print(fragments, &mut bytes);
            ends.push(bytes.len());
        }
        let (mut edges, mut at, mut found) = (FrameEdges::default(), 0, Vec::new());
        let mut so_far = 0;
        while at < bytes.len() {
            let step = edges.step(&bytes[at..]);
            at += step.taken;
            if step.edge == Edge::Message {
                found.push(at);
                let read = messages_in(&bytes[..at]);
                prop_assert!(read > so_far, "a message or a ping ended at {at}");
                so_far = read;
            }
        }
        prop_assert!(ends.iter().all(|end| found.contains(end)));
        prop_assert_eq!(so_far, messages_in(&bytes));
    }
}
