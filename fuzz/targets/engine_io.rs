//! Engine.IO as it goes by: the query of a request, the open packet of an answer, a close packet in a payload.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidelock_fuzz::{print_request, read_target};
use wire::engineio::{CloseScan, Revision, read_open_packet};

fn is_closed(revision: Revision, jsonp: bool, payload: &[u8], piece: usize) -> bool {
    let mut scan = CloseScan::new(revision, jsonp);
    payload.chunks(piece.max(1)).for_each(|bytes| scan.feed(bytes));
    scan.is_closed()
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let revision = if choice & 1 == 0 { Revision::V3 } else { Revision::V4 };
    let jsonp = choice & 2 == 2;
    let whole = is_closed(revision, jsonp, bytes, bytes.len());
    let in_pieces = is_closed(revision, jsonp, bytes, usize::from(choice >> 2));
    // Known: where a length should begin, NUL and SOH make a payload of revision 3 binary only at the begin of a piece.
    // No honest client sends them there but first.
    let is_known = revision == Revision::V3 && bytes.iter().any(|&byte| byte <= 1);
    assert!(is_known || whole == in_pieces);
    if let Some(open) = read_open_packet(bytes) {
        assert!(!open.sid.is_empty() && open.silence_ms.is_none_or(|silence| silence > 0));
        // A tag stands in front of the quote that ends the id.
        assert!(open.tag_at.is_none_or(|at| bytes[at] == b'"'));
    }
    if let Some(head) = read_target(b"a", &[b"/socket.io/?", bytes].concat()) {
        let _ = (head.engine_io(), head.sid());
        print_request(&head, false);
    }
});
