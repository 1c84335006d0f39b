use proptest::prelude::*;

use super::*;

fn frame(first: u8, payload: usize, is_masked: bool) -> Vec<u8> {
    let mask = if is_masked { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload {
        0..126 => frame.push(mask | payload as u8),
        126..0x1_0000 => {
            frame.push(mask | 126);
            frame.extend_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            frame.push(mask | 127);
            frame.extend_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    if is_masked {
        frame.extend_from_slice(b"\x88\x81\x7f\x00");
    }
    // The payload looks like headers, which it must not be taken for.
    frame.extend(std::iter::repeat_n(0x88, payload));
    frame
}

/// The edges in `bytes` and where they are: the same whole, byte by byte, and at every split.
fn check(bytes: &[u8], want: &[(usize, Edge)]) {
    let walk = |pieces: &[&[u8]]| {
        let (mut edges, mut found, mut at) = (FrameEdges::default(), Vec::new(), 0);
        for piece in pieces {
            let mut piece = *piece;
            while !piece.is_empty() {
                let step = edges.step(piece);
                at += step.taken;
                piece = &piece[step.taken..];
                if step.edge != Edge::Inside {
                    found.push((at, step.edge));
                }
            }
        }
        found
    };
    assert_eq!(walk(&[bytes]), want, "whole");
    assert_eq!(walk(&bytes.chunks(1).collect::<Vec<_>>()), want, "byte by byte");
    for cut in 0..bytes.len().min(600) {
        assert_eq!(walk(&[&bytes[..cut], &bytes[cut..]]), want, "cut at {cut}");
    }
}

#[test]
fn a_message_is_one_however_many_frames_it_has() {
    let mut edges = FrameEdges::default();
    edges.feed(&[frame(0x01, 3, true), frame(0x89, 1, true), frame(0x00, 3, true)].concat());
    assert_eq!(edges.kinds(), Kinds { messages: 0, fragments: 2, controls: 1 });
    edges.feed(&[frame(0x80, 3, true), frame(0x82, 0, true), frame(0x88, 0, true)].concat());
    assert_eq!(edges.kinds(), Kinds { messages: 2, fragments: 2, controls: 2 });
}

#[test]
fn whole_messages() {
    check(&frame(0x81, 0, false), &[(2, Edge::Message)]);
    check(&frame(0x81, 5, true), &[(11, Edge::Message)]);
    check(&frame(0x82, 125, false), &[(127, Edge::Message)]);
    check(&frame(0x82, 126, false), &[(130, Edge::Message)]);
    check(&frame(0x82, 300, true), &[(308, Edge::Message)]);
    check(&frame(0x82, 70_000, true), &[(70_014, Edge::Message)]);
    // permessage-deflate marks its frames with RSV1; they are frames like any other.
    check(&frame(0xc1, 5, false), &[(7, Edge::Message)]);
    check(&[frame(0x81, 1, true), frame(0x81, 2, true)].concat(), &[(7, Edge::Message), (15, Edge::Message)]);
}

#[test]
fn fragments_with_control_frames_between_them() {
    let bytes = [
        frame(0x01, 3, false),
        frame(0x89, 2, false),
        frame(0x00, 3, false),
        frame(0x8a, 0, false),
        frame(0x80, 3, false),
        frame(0x89, 0, false),
    ];
    check(
        &bytes.concat(),
        &[
            (5, Edge::Frame),
            (9, Edge::Frame),
            (14, Edge::Frame),
            (16, Edge::Frame),
            (21, Edge::Message),
            (23, Edge::Message),
        ],
    );
}

#[test]
fn a_close_is_told_wherever_it_comes() {
    check(&frame(0x88, 0, true), &[(6, Edge::Close)]);
    check(&frame(0x88, 2, false), &[(4, Edge::Close)]);
    check(&[frame(0x01, 1, false), frame(0x88, 2, false)].concat(), &[(3, Edge::Frame), (7, Edge::Close)]);
}

#[test]
fn a_message_announces_its_length() {
    let mut edges = FrameEdges::default();
    edges.feed(&frame(0x01, 100, true));
    edges.feed(&frame(0x89, 50, true));
    edges.feed(&frame(0x00, 200, true)[..8]);
    assert_eq!(edges.message_bytes(), 300);
    assert!(!edges.is_at_frame_edge());
}

#[test]
fn a_message_that_announces_too_much_is_told_at_its_header() {
    let bytes = [frame(0x01, 60, true), frame(0x89, 100, true), frame(0x80, 60, true)].concat();
    let mut edges = FrameEdges::bounded(100);
    let (mut at, mut found) = (0, Vec::new());
    while !found.contains(&Edge::TooBig) {
        let step = edges.step(&bytes[at..]);
        at += step.taken;
        found.push(step.edge);
    }
    assert_eq!(found, [Edge::Frame, Edge::Frame, Edge::TooBig]);
    assert_eq!(at, 66 + 106 + 6);
    let mut edges = FrameEdges::bounded(60);
    assert_eq!(edges.step(&bytes).edge, Edge::Frame);
}

#[test]
fn the_code_of_a_close_is_read_masked_or_not() {
    for close in [close_to_client(1012, "restart"), close_to_origin(1012, "restart", [1, 2, 3, 4])] {
        for cut in 0..=close.len() {
            let mut edges = FrameEdges::default();
            edges.feed(&close[..cut]);
            edges.feed(&close[cut..]);
            assert_eq!(edges.close_code(), Some(1012), "cut at {cut}");
        }
    }
    let mut edges = FrameEdges::default();
    edges.feed(&frame(0x88, 0, true));
    assert_eq!(edges.close_code(), None);
}

#[test]
fn close_frames_fit_whatever_the_reason() {
    assert_eq!(close_to_client(1012, "restart"), b"\x88\x09\x03\xf4restart");
    assert_eq!(close_to_client(1001, &"é".repeat(100)).len(), 2 + 2 + 122);
    assert_eq!(close_to_origin(1001, "", [0, 0, 0, 0]), b"\x88\x82\0\0\0\0\x03\xe9");
    check(&close_to_origin(1012, "restart", [1, 2, 3, 4]), &[(15, Edge::Close)]);
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        frames in proptest::collection::vec((0_u8..3, any::<bool>(), 0_usize..400, any::<bool>()), 1..10),
        pieces in proptest::collection::vec(1_usize..50, 1..20),
    ) {
        let mut bytes = Vec::new();
        for (opcode, is_final, payload, is_masked) in frames {
            bytes.extend(frame(opcode | if is_final { 0x80 } else { 0 }, payload, is_masked));
        }
        let mut whole = FrameEdges::default();
        whole.feed(&bytes);
        let mut cut = FrameEdges::default();
        let (mut rest, mut pieces) = (bytes.as_slice(), pieces.iter().cycle());
        while !rest.is_empty() {
            let piece = rest.len().min(*pieces.next().unwrap());
            cut.feed(&rest[..piece]);
            rest = &rest[piece..];
        }
        prop_assert!(whole.is_at_frame_edge());
        prop_assert_eq!((whole.frames(), whole.is_at_message_edge()), (cut.frames(), cut.is_at_message_edge()));
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        FrameEdges::default().feed(&bytes);
    }
}
