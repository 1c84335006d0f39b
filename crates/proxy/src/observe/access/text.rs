//! A line as a text with nginx's variables, so that what reads nginx's log reads ours.

use std::io::Write as _;
use std::time::{Duration, SystemTime};

use config::plan::{LineEscape, LinePiece, LineVariable};
use wire::forward::print_ip;
use wire::path;
use wire::request::RequestHead;

use crate::fault::{Fault, OurFault};
use crate::observe::access::calendar::Moment;
use crate::observe::access::json::{push_json_text, push_number};
use crate::observe::access::told::{Told, protocol};

/// Prints the line of an exchange.
pub(super) fn print(
    pieces: &[LinePiece],
    escape: LineEscape,
    told: &Told<'_>,
    moment: Moment<'_>,
    out: &mut Vec<u8>,
) {
    let mut line = TextLine { escape, told, moment, out };
    for piece in pieces {
        match piece {
            LinePiece::Text(text) => line.out.extend_from_slice(text.as_bytes()),
            LinePiece::Variable(variable) => line.print(variable),
        }
    }
}

struct TextLine<'a> {
    escape: LineEscape,
    told: &'a Told<'a>,
    moment: Moment<'a>,
    out: &'a mut Vec<u8>,
}

impl TextLine<'_> {
    fn print(&mut self, variable: &LineVariable) {
        let Told { record, head, came, .. } = *self.told;
        match variable {
            LineVariable::RemoteAddr => print_ip(record.client, self.out),
            LineVariable::PeerAddr => print_ip(came.end.peer(), self.out),
            LineVariable::RemoteUser => self.maybe(self.told.user().map(str::as_bytes)),
            LineVariable::TimeLocal => self.word(self.moment.common),
            LineVariable::TimeIso8601 => {
                self.word(self.moment.iso.trim_end_matches('Z'));
                self.word("+00:00");
            }
            LineVariable::Msec => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                self.seconds(since.unwrap_or_default());
            }
            LineVariable::Status => self.number(record.status.into()),
            LineVariable::BodyBytesSent => self.number(record.body_bytes_out),
            LineVariable::BytesSent => self.number(record.bytes_out),
            LineVariable::RequestTime => self.seconds(self.moment.now.duration_since(record.begun)),
            LineVariable::RequestId => self.maybe(record.request_id.as_deref().map(str::as_bytes)),
            LineVariable::ServerPort => self.number(came.end.port().into()),
            LineVariable::Scheme => self.word(self.told.scheme()),
            LineVariable::Https => self.word(if self.told.scheme() == "https" { "on" } else { "" }),
            LineVariable::SslProtocol => self.maybe_word(came.io.tls_words().map(|tls| tls.protocol)),
            LineVariable::SslCipher => self.maybe_word(came.io.tls_words().map(|tls| tls.cipher)),
            LineVariable::ConnectionRequests => self.number(came.number.into()),
            LineVariable::UpstreamAddr
            | LineVariable::UpstreamStatus
            | LineVariable::UpstreamResponseTime
            | LineVariable::UpstreamConnectTime
            | LineVariable::UpstreamHeaderTime => self.of_node(variable),
            of_head => match head {
                Some(head) => self.of_head(of_head, head),
                None => self.missing(),
            },
        }
    }

    /// What only a request has that is one.
    fn of_head(&mut self, variable: &LineVariable, head: &RequestHead) {
        let cut = self.told.cut;
        match variable {
            LineVariable::Request => {
                self.text(head.method_bytes());
                self.out.push(b' ');
                self.text(&cut.url(head.target_bytes()));
                self.out.push(b' ');
                self.word(protocol(head));
            }
            LineVariable::RequestMethod => self.text(head.method_bytes()),
            LineVariable::RequestUri => self.text(&cut.url(head.target_bytes())),
            LineVariable::Uri => self.text(&path::normal(head.path_bytes())),
            LineVariable::Args => {
                let query = head.query_bytes().filter(|query| !query.is_empty());
                self.maybe(query.map(|query| cut.query(query)).as_deref());
            }
            LineVariable::IsArgs if head.query_bytes().is_some_and(|query| !query.is_empty()) => {
                self.word("?");
            }
            LineVariable::Arg(key) => {
                let key = key.as_bytes();
                self.maybe(head.query_value(key).map(|value| cut.value(key, value)).as_deref());
            }
            LineVariable::Header(name) => {
                self.maybe(head.header(name).map(|value| cut.url(value)).as_deref());
            }
            LineVariable::TraceId => self.maybe(head.trace_id()),
            LineVariable::ServerProtocol => self.word(protocol(head)),
            LineVariable::Host => {
                self.maybe(head.host_name().map(<[u8]>::to_ascii_lowercase).as_deref());
            }
            LineVariable::RequestLength => {
                self.number(head.came_bytes() as u64 + self.told.record.bytes_in);
            }
            _ => {}
        }
    }

    /// What only a request has for which a node was asked.
    fn of_node(&mut self, variable: &LineVariable) {
        let record = self.told.record;
        let Some(node) = &record.node else { return self.missing() };
        match variable {
            LineVariable::UpstreamAddr => {
                let _ = write!(self.out, "{}", node.address());
            }
            LineVariable::UpstreamStatus => self.number(
                match record.fault {
                    Some(Fault::Ours(OurFault::Replaced { status })) => status,
                    _ => record.status,
                }
                .into(),
            ),
            LineVariable::UpstreamConnectTime => self.maybe_seconds(self.told.connect_took()),
            LineVariable::UpstreamHeaderTime => self.maybe_seconds(self.told.first_byte_took()),
            _ => {
                let lasted = self.moment.now.duration_since(record.begun);
                self.seconds(lasted.saturating_sub(record.asked.after()));
            }
        }
    }

    fn word(&mut self, word: &str) {
        self.out.extend_from_slice(word.as_bytes());
    }

    fn number(&mut self, number: u64) {
        push_number(number, self.out);
    }

    /// To the millisecond.
    fn seconds(&mut self, time: Duration) {
        push_number(time.as_secs(), self.out);
        let millis = time.subsec_millis();
        let digit = |divisor: u32| b'0' + (millis / divisor % 10) as u8;
        self.out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
    }

    fn maybe_seconds(&mut self, time: Option<Duration>) {
        match time {
            Some(time) => self.seconds(time),
            None => self.missing(),
        }
    }

    /// A value that somebody else may have chosen.
    fn text(&mut self, value: &[u8]) {
        match self.escape {
            LineEscape::Default => push_escaped(value, self.out),
            LineEscape::Json => push_json_text(value, self.out),
        }
    }

    fn maybe(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => self.text(value),
            None => self.missing(),
        }
    }

    fn maybe_word(&mut self, word: Option<&str>) {
        match word {
            Some(word) => self.word(word),
            None => self.missing(),
        }
    }

    /// Nothing stands in a string of JSON, and nginx's dash elsewhere.
    fn missing(&mut self) {
        if self.escape == LineEscape::Default {
            self.out.push(b'-');
        }
    }
}

/// A client's bytes between quotes: nothing in them can end the quote or the line.
fn push_escaped(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        match byte {
            b'"' | b'\\' | 0..b' ' | 0x7f.. => {
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]);
                out.extend_from_slice(&[b'\\', b'x', high, low]);
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_write_the_log() {
        let evil = b"a\" 200 0\n\x1b[2J\\\xff";
        let mut out = Vec::new();
        push_escaped(evil, &mut out);
        assert_eq!(out, b"a\\x22 200 0\\x0A\\x1B[2J\\x5C\\xFF");
    }
}
