//! What the targets share: how a head is read, in one piece or in several, and how it is printed for a node.
//!
//! A target wants more than that nothing panics: what is printed must read as the same message again, and where the bytes
//! were cut must make no difference.

use std::net::{IpAddr, Ipv4Addr};

use wire::forward::{self, ClientEnd, ForOrigin};
use wire::pin_names::{PinNames, StripPins};
use wire::request::RequestHead;
use wire::scan::{HeadScan, Side};
use wire::{HeadBounds, Malformed};

/// Small, so that inputs of the usual length meet them.
pub const BOUNDS: HeadBounds = HeadBounds { target_bytes_max: 256, head_bytes_max: 2048, lines_max: 16 };

/// Where a head ends that comes in pieces of so many bytes; `None` if it does not.
pub fn head_end(side: Side, bytes: &[u8], piece: usize) -> Result<Option<usize>, Malformed> {
    let mut scan = HeadScan::new(side);
    let mut end = 0;
    loop {
        end = (end + piece.max(1)).min(bytes.len());
        match scan.advance(&bytes[..end], &BOUNDS)? {
            Some(length) => return Ok(Some(length)),
            None if end == bytes.len() => return Ok(None),
            None => {}
        }
    }
}

/// A whole head at the begin of `bytes`.
pub fn read_request(bytes: &[u8]) -> Option<RequestHead> {
    let length = head_end(Side::Request, bytes, bytes.len()).ok()??;
    RequestHead::parse(&bytes[..length], &BOUNDS).ok()
}

/// The same at a host and a target.
pub fn read_target(host: &[u8], target: &[u8]) -> Option<RequestHead> {
    read_request(&[b"GET ", target, b" HTTP/1.1\r\nHost: ", host, b"\r\n\r\n"].concat())
}

/// What a node gets of a head.
pub fn print_request(head: &RequestHead, is_trusted: bool) -> Vec<u8> {
    let end = ClientEnd::new(IpAddr::V4(Ipv4Addr::LOCALHOST), "http", 80, is_trusted);
    let ours = PinNames::only("ours");
    let how = ForOrigin {
        host_override: None,
        host_default: "node:3000",
        client_end: &end,
        client_address: end.client_address(head, |address| address.is_loopback()),
        strips_tag: false,
        wants_plain: false,
        strips_pins: StripPins::All(&ours),
        pass_headers: &[],
        edits: None,
    };
    let mut out = Vec::new();
    forward::print_request(head, &how, &mut out);
    out
}
