//! Goal: whatever a client sends, it has one line, and that says what was sent; no client ends a quote or a line, or speaks to
//! the terminal of whoever reads it. Method: requests drawn from bytes, printed in each format and read again.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use config::plan::{self, LineEscape, LineFormat, LogFields, LogFormat};
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::Instant;
use wire::HeadBounds;
use wire::forward::ClientEnd;
use wire::request::RequestHead;
use wire::scan::{HeadScan, Side};

use crate::net::stream::{Io, Stream};
use crate::observe::access::calendar::Calendar;
use crate::observe::access::layout::Layout;
use crate::observe::access::told::Told;
use crate::observe::guarded::Guarded;
use crate::observe::record::{Came, Record};

/// Prints what a client says in all formats.
///
/// # Panics
/// If a line is not one, or can be read otherwise.
pub(crate) fn lines(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let _entered = runtime.enter();
    let io = Io::new(Stream::Unix(Box::new(UnixStream::pair().expect("two sockets").0)));
    let end = ClientEnd::new(IpAddr::V4(Ipv4Addr::LOCALHOST), "http", 80, false);
    let came = Came { end: &end, io: &io, number: 1 };
    let quarter = data.len() / 4;
    let [target, host, line, user] = [0, 1, 2, 3].map(|at| &data[at * quarter..(at + 1) * quarter]);
    let mut record = Record::new(end.peer(), Instant::now());
    let user = String::from_utf8_lossy(user);
    record.guarded = Some(Box::new(Guarded { user: Some((*user).into()), ..Guarded::default() }));
    let request = [
        b"GET /",
        target,
        b" HTTP/1.1\r\nHost: ",
        host,
        b"\r\nUser-Agent: ",
        line,
        b"\r\nReferer: ",
        target,
        b"\r\nTraceparent: ",
        line,
        b"\r\n\r\n",
    ];
    for head in [read(&request.concat()), None] {
        let print = |log: &plan::Log| {
            let mut out = Vec::new();
            let mut calendar = Calendar::default();
            let layout = Layout::of(log);
            let told = Told { record: &record, head: head.as_ref(), came, cut: &layout.cut };
            layout.print(&told, calendar.at(Instant::now()), &mut out);
            let out = String::from_utf8(out).expect("a log is text");
            assert!(!out.contains(char::is_control), "{out:?}");
            out
        };
        let object = print(&plan::Log { fields: Some(LogFields::all()), ..plan::Log::default() });
        check_object(&object, head.as_ref());
        check_text(&print(&text(&VALUES.map(|value| format!("\"{value}\"")).join(" "), LineEscape::Default)));
        let members = VALUES.map(|value| format!("\"{value}\":\"{value}\"").replacen('$', "", 1));
        let object = print(&text(&format!("{{{}}}", members.join(",")), LineEscape::Json));
        let read: Value = serde_json::from_str(&object).unwrap_or_else(|error| panic!("{error}: {object}"));
        let read = read.as_object().expect("an object");
        assert!(read.len() == VALUES.len() && read.values().all(Value::is_string), "{object}");
        if let Some(agent) = head.as_ref().and_then(|head| head.header("user-agent")) {
            check_same(&read["http_user_agent"], agent);
        }
    }
}

fn text(format: &str, escape: LineEscape) -> plan::Log {
    let format = LogFormat::Text(Arc::new(LineFormat::read(format).expect("a format")));
    plan::Log { format, escape, ..plan::Log::default() }
}

fn read(bytes: &[u8]) -> Option<RequestHead> {
    let bounds = HeadBounds { target_bytes_max: 4096, head_bytes_max: 16_384, lines_max: 16 };
    let length = HeadScan::new(Side::Request).advance(bytes, &bounds).ok()??;
    RequestHead::parse(&bytes[..length], &bounds).ok()
}

fn check_object(line: &str, head: Option<&RequestHead>) {
    let read: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let known: Vec<&str> = LogFields::all().names().collect();
    for (key, _) in read.as_object().expect("an object") {
        assert!(known.contains(&&**key), "{key} in {line}");
    }
    let Some(head) = head else { return };
    check_same(&read["host"], head.host_bytes().unwrap_or_default());
    if !head.target_bytes().contains(&b'?') {
        check_same(&read["target"], head.target_bytes());
    }
}

/// What is invisible may be another sign.
fn check_same(said: &Value, sent: &[u8]) {
    let (said, sent) = (said.as_str().expect("a text"), String::from_utf8_lossy(sent));
    if sent.contains(|character: char| character.is_control() && character >= '\u{7f}') {
        assert_eq!(said.chars().count(), sent.chars().count());
    } else {
        assert_eq!(said, sent);
    }
}

/// As many quotes as the format has, and backslashes that spell a byte.
fn check_text(line: &str) {
    assert!(line.is_ascii(), "{line}");
    assert_eq!(line.matches('"').count(), VALUES.len() * 2, "{line}");
    for (at, _) in line.match_indices('\\') {
        let spelt = line.as_bytes().get(at + 1..at + 4).unwrap_or_default();
        assert!(
            spelt.len() == 3 && spelt[0] == b'x' && spelt[1..].iter().all(u8::is_ascii_hexdigit),
            "{line}"
        );
    }
}

/// Those whose values somebody else may choose.
const VALUES: [&str; 11] = [
    "$remote_user",
    "$request",
    "$request_uri",
    "$uri",
    "$args",
    "$arg_token",
    "$arg_a",
    "$host",
    "$http_user_agent",
    "$http_referer",
    "$otel_trace_id",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_writes_a_line() {
        let mut dice = fastrand::Rng::with_seed(7);
        // What is drawn from these gets further than any bytes would.
        let pieces: [&[u8]; 16] = [
            b"\"",
            b"\\",
            b"\n",
            b"\r\n",
            b"\0",
            b"\x1b[2J",
            b"\xc2\x9b",
            b"\xff",
            b"\x7f",
            b"%0a",
            b"?",
            b"&",
            b"token=",
            b"sid=0123456789abcdef",
            b"{\"a\":1}",
            b"a",
        ];
        for round in 0..2000 {
            let mut data = Vec::new();
            for _ in 0..dice.usize(..24) {
                data.extend_from_slice(pieces[dice.usize(..pieces.len())]);
                if round % 2 == 0 {
                    data.push(dice.u8(..));
                }
            }
            lines(&data);
        }
        lines("/\u{9b}?a=\u{e9}\"&token=\\x\u{7f}".repeat(4).as_bytes());
    }
}
