//! Heads as a node or a client would see them: a table for requests and one for answers, each row read and printed
//! again, and the property that printing and reading agree.

mod answers;
mod front_doors;
mod requests;

use proptest::prelude::*;
use wire::HeadBounds;
use wire::answer::{AnswerHead, AnswerTo};
use wire::request::RequestHead;
use wire::scan::{HeadScan, Side};

use requests::{print_request, read_request};

const BOUNDS: HeadBounds = HeadBounds { target_bytes_max: 8192, head_bytes_max: 32768, lines_max: 64 };
const GET: AnswerTo = AnswerTo { is_head: false, accept: None, is_connect: false };

proptest! {
    /// What is printed reads as the same request again, however often it is passed on.
    #[test]
    fn printing_and_reading_agree(
        path in "/[a-zA-Z0-9._~%!$&'()*+,;=:@/-]{0,40}",
        query in proptest::option::of("[a-zA-Z0-9=&._-]{0,40}"),
        lines in proptest::collection::vec(("[A-Za-z][A-Za-z0-9-]{0,12}y", "[ -~]{0,30}"), 0..10),
        length in proptest::option::of(0_u64..1 << 40),
    ) {
        let mut text = format!("POST {path}{} HTTP/1.1\r\nHost: x\r\n", query.map(|query| format!("?{query}")).unwrap_or_default());
        for (name, value) in &lines {
            text.push_str(&format!("{name}: {}\r\n", value.trim()));
        }
        if let Some(length) = length {
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        text.push_str("\r\n");
        let head = read_request(text.as_bytes()).unwrap();
        let once = print_request(&head, false, false);
        prop_assert!(once.starts_with(text.trim_end_matches("\r\n")));
        let again = read_request(once.as_bytes()).unwrap();
        prop_assert_eq!(print_request(&again, false, false), once);
        prop_assert_eq!(again.body(), head.body());
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = [b"GET / HTTP/1.1\r\nHost: x\r\n".as_slice(), &bytes, b"\r\n\r\n"].concat();
        if let Ok(Some(length)) = HeadScan::new(Side::Request).advance(&text, &BOUNDS) {
            let _ = RequestHead::parse(&text[..length], &BOUNDS);
        }
        let text = [b"HTTP/1.1 200 OK\r\n".as_slice(), &bytes, b"\r\n\r\n"].concat();
        if let Ok(Some(length)) = HeadScan::new(Side::Answer).advance(&text, &BOUNDS) {
            let _ = AnswerHead::parse(&text[..length], &BOUNDS, &GET);
        }
    }
}
