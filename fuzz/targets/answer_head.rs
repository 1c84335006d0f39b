//! The head of an answer: from a node to a client, who must be able to read it strictly.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidelock_fuzz::{BOUNDS, head_end};
use wire::answer::{AnswerHead, AnswerTo};
use wire::forward::{ForClient, print_answer};
use wire::request::Method;
use wire::scan::Side;
use wire::{HeadBounds, Version};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let whole = head_end(Side::Answer, bytes, bytes.len());
    let in_pieces = head_end(Side::Answer, bytes, usize::from(choice >> 3));
    assert_eq!(whole.ok().flatten(), in_pieces.ok().flatten());
    let Ok(Some(length)) = whole else { return };
    let accept = Some(*b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let asked = AnswerTo { is_head: choice & 1 == 1, accept, is_connect: choice & 16 == 16 };
    let Ok(head) = AnswerHead::parse(&bytes[..length], &BOUNDS, &asked) else { return };
    let _ = (head.keep_alive_timeout_s(), head.is_content_coded(), head.is_event_stream(), head.is_binary());
    let version = if choice & 2 == 2 { Version::Http10 } else { Version::Http11 };
    let how = ForClient {
        version,
        method: if asked.is_head { Method::Head } else { Method::Get },
        keep_alive: choice & 4 == 4,
        content_length: None,
        edits: None,
    };
    let mut out = Vec::new();
    print_answer(&head, &how, &mut out);
    // Every line ends in CRLF, whatever the node's did.
    assert!(out.ends_with(b"\r\n\r\n"));
    assert!(out.split(|&byte| byte == b'\n').rev().skip(1).all(|line| line.ends_with(b"\r")));
    let bounds = HeadBounds { target_bytes_max: 512, head_bytes_max: 8192, lines_max: 64 };
    let again = AnswerHead::parse(&out, &bounds, &asked).expect("what is printed can be read");
    assert_eq!(again.status(), head.status());
    if how.reframed(head.body()) == wire::forward::Reframed::AsItCame {
        assert_eq!(again.body(), head.body());
    }
});
