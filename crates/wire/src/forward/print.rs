//! What lines are printed with, whichever way they go.

use std::io::Write;
use std::net::IpAddr;

use crate::lines::Line;
use crate::span::Version;

/// Prints an address. `Display` finds out first how wide it may be, which takes longer than the digits.
pub fn print_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(v4) => {
            let [first, rest @ ..] = v4.octets();
            let mut digits = itoa::Buffer::new();
            out.extend_from_slice(digits.format(first).as_bytes());
            for octet in rest {
                out.push(b'.');
                out.extend_from_slice(digits.format(octet).as_bytes());
            }
        }
        IpAddr::V6(v6) => print_display(out, format_args!("{v6}")),
    }
}

/// Adds a line, whose value is what `print` prints, to a head that has been printed.
pub fn add_line(out: &mut Vec<u8>, name: &str, print: impl FnOnce(&mut Vec<u8>)) {
    debug_assert!(out.ends_with(b"\r\n\r\n"));
    out.truncate(out.len() - b"\r\n".len());
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    print(out);
    out.extend_from_slice(b"\r\n\r\n");
}

/// Says what is not the version's default (RFC 9112 section 9.3).
pub fn print_connection(version: Version, keep_alive: bool, out: &mut Vec<u8>) {
    match (version, keep_alive) {
        (Version::Http11, true) | (Version::Http10, false) => {}
        (Version::Http11, false) => print_line(out, "Connection", b"close"),
        (Version::Http10, true) => print_line(out, "Connection", b"keep-alive"),
    }
}

pub(super) fn print_line(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// A line as it came, but for white space around its value.
pub(crate) fn copy_line(bytes: &[u8], line: &Line, out: &mut Vec<u8>) {
    // Nearly every line has one blank in front of its value and none behind it, and is copied in one piece.
    let (name_end, end) = (line.name.end(), line.value.end());
    let whole = bytes.get(line.name.start as usize..end + 2);
    if let Some(whole) = whole.filter(|whole| whole.ends_with(b"\r\n"))
        && line.value.start as usize == name_end + 2
        && bytes[name_end + 1] == b' '
    {
        return out.extend_from_slice(whole);
    }
    out.extend_from_slice(line.name.of_bytes(bytes));
    out.extend_from_slice(b": ");
    out.extend_from_slice(line.value.of_bytes(bytes));
    out.extend_from_slice(b"\r\n");
}

pub(super) fn print_display(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("writing to a Vec does not fail");
}

/// What our own lines add to a head, roughly; a guess that spares a reallocation, no bound.
pub(super) const OUR_LINES_BYTES: usize = 256;
