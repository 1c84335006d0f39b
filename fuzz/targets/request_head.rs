//! The head of a request: from a client to a node, and read there again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidelock_fuzz::{head_end, print_request, read_request};
use wire::HeadBounds;
use wire::request::RequestHead;
use wire::scan::{HeadScan, Side};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let whole = head_end(Side::Request, bytes, bytes.len()).ok().flatten();
    let in_pieces = head_end(Side::Request, bytes, usize::from(choice >> 1)).ok().flatten();
    assert!(in_pieces.is_none() || in_pieces == whole);
    let Some(head) = read_request(bytes) else { return };
    // What is no head may be refused sooner where less has come; what is one is one however it comes.
    assert_eq!(whole, in_pieces);
    let _ = (head.target_bytes(), head.path_and_query(), head.sid(), head.query_value(b"sid"));
    let is_trusted = choice & 1 == 1;
    let printed = print_request(&head, is_trusted);
    // Our lines come to it.
    let bounds = HeadBounds { target_bytes_max: 512, head_bytes_max: 8192, lines_max: 64 };
    let length = HeadScan::new(Side::Request).advance(&printed, &bounds).expect("good").expect("whole");
    assert_eq!(length, printed.len(), "nothing is behind a head");
    let again = RequestHead::parse(&printed, &bounds).expect("what is printed can be read");
    assert_eq!(again.body(), head.body());
    assert_eq!(again.method_bytes(), head.method_bytes());
    assert_eq!(again.path_bytes(), head.path_bytes());
    assert_eq!(again.websocket_key(), head.websocket_key());
    assert!(head.host_bytes().is_none() || again.host_bytes() == head.host_bytes());
    if !is_trusted {
        assert_eq!(again.header("x-forwarded-for"), Some(b"127.0.0.1".as_slice()));
        // Without a Host it is ours that is printed, and the second time it is the client's.
        assert!(head.host_bytes().is_none() || print_request(&again, false) == printed);
    }
});
