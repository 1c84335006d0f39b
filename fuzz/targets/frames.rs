//! The frames of a WebSocket: edges are where they are, however the bytes were cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::frame::{Edge, FrameEdges, close_to_client, close_to_origin};

/// Where the frames end, and how.
fn edges(bytes: &[u8], piece: usize, message_bytes_max: u64) -> (Vec<(usize, Edge)>, Option<u16>) {
    let mut follows = FrameEdges::bounded(message_bytes_max);
    let (mut seen, mut at) = (Vec::new(), 0);
    for mut bytes in bytes.chunks(piece.max(1)) {
        while !bytes.is_empty() {
            let step = follows.step(bytes);
            at += step.taken;
            bytes = &bytes[step.taken..];
            match step.edge {
                Edge::Inside => assert!(bytes.is_empty()),
                Edge::TooBig => return ([seen, vec![(at, Edge::TooBig)]].concat(), None),
                edge => seen.push((at, edge)),
            }
        }
    }
    assert_eq!(follows.frames(), seen.len() as u64);
    (seen, follows.close_code())
}

fuzz_target!(|data: &[u8]| {
    let [piece, bound, bytes @ ..] = data else { return };
    let bound = if *bound == 0 { u64::MAX } else { u64::from(*bound) };
    assert_eq!(edges(bytes, bytes.len(), bound), edges(bytes, usize::from(*piece), bound));
    let reason = String::from_utf8_lossy(bytes);
    let code = 1000 + u16::from(*piece);
    for close in [close_to_client(code, &reason), close_to_origin(code, &reason, [1, 2, 3, *piece])] {
        assert_eq!(edges(&close, 1, u64::MAX), (vec![(close.len(), Edge::Close)], Some(code)));
    }
});
