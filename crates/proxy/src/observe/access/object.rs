//! A line as a JSON object, with the members that the file chooses, in an order of their own.

use config::plan::{LogField as Field, LogFields};
use wire::request::RequestHead;

use crate::observe::access::calendar::Moment;
use crate::observe::access::json::JsonLine;
use crate::observe::access::told::{Told, protocol};
use crate::observe::record::{Record, TunnelRecord};
use crate::upstream::node::Node;

/// Prints what an exchange has of `fields`.
pub(super) fn exchange(fields: LogFields, told: &Told<'_>, moment: Moment<'_>, out: &mut Vec<u8>) {
    let Told { record, head, .. } = *told;
    let mut line = JsonLine::begin(out);
    if fields.has(Field::Time) {
        line.word("time", moment.iso);
    }
    if fields.has(Field::Client) {
        line.ip("client", record.client);
    }
    if let Some(head) = head {
        request(fields, head, told, &mut line);
    }
    if fields.has_some(LogFields::UNUSUAL) {
        unusual(fields, told, &mut line);
    }
    if let Some(id) = record.request_id.as_ref().filter(|_| fields.has(Field::RequestId)) {
        line.text("request_id", id.as_bytes());
    }
    if fields.has(Field::TraceId)
        && let Some(id) = head.and_then(RequestHead::trace_id)
    {
        line.text("trace_id", id);
    }
    answer(fields, record, moment, &mut line);
    if let Some(asked) = &record.node {
        node(fields, asked, &mut line);
        if fields.has(Field::Sticky) {
            line.word("sticky", record.sticky.as_str());
        }
        if fields.has(Field::Attempts) {
            line.number("attempts", record.attempts.into());
        }
    }
    outcome(fields, record, &mut line);
    line.end();
}

/// What only a request has that is one.
fn request(fields: LogFields, head: &RequestHead, told: &Told<'_>, line: &mut JsonLine<'_>) {
    if fields.has(Field::Method) {
        line.text("method", head.method_bytes());
    }
    if fields.has(Field::Host) {
        match head.host_bytes() {
            Some(host) => line.text("host", host),
            None => line.null("host"),
        }
    }
    if fields.has(Field::Target) {
        line.text("target", &told.cut.url(head.target_bytes()));
    }
    if fields.has(Field::Protocol) || (head.is_over_http2() && fields.has(Field::ProtocolIfHttp2)) {
        line.word("protocol", protocol(head));
    }
}

/// What no line has where the file does not say it.
#[inline(never)]
fn unusual(fields: LogFields, told: &Told<'_>, line: &mut JsonLine<'_>) {
    let Told { record, head, came, cut } = *told;
    if fields.has(Field::Peer) {
        line.ip("peer", came.end.peer());
    }
    if fields.has(Field::Scheme) {
        line.word("scheme", told.scheme());
    }
    if let Some(tls) = came.io.tls_words() {
        if fields.has(Field::Tls) {
            line.word("tls", tls.protocol);
        }
        if fields.has(Field::Cipher) {
            line.word("cipher", tls.cipher);
        }
    }
    let header = |name| head.and_then(|head| head.header(name));
    if let Some(agent) = header("user-agent").filter(|_| fields.has(Field::UserAgent)) {
        line.text("user_agent", agent);
    }
    if let Some(referer) = header("referer").filter(|_| fields.has(Field::Referer)) {
        line.text("referer", &cut.url(referer));
    }
    if fields.has(Field::Request) {
        line.number("request", came.number.into());
    }
    if fields.has(Field::BodyBytesOut) {
        line.number("body_bytes_out", record.body_bytes_out);
    }
    if record.node.is_none() {
        return;
    }
    if fields.has(Field::QueueMs) {
        line.milliseconds("queue_ms", record.asked.after());
    }
    if let Some(took) = told.connect_took().filter(|_| fields.has(Field::ConnectMs)) {
        line.milliseconds("connect_ms", took);
    }
    if let Some(took) = told.first_byte_took().filter(|_| fields.has(Field::FirstByteMs)) {
        line.milliseconds("first_byte_ms", took);
    }
}

fn answer(fields: LogFields, record: &Record, moment: Moment<'_>, line: &mut JsonLine<'_>) {
    if fields.has(Field::Status) {
        line.number("status", record.status.into());
    }
    if fields.has(Field::BytesIn) {
        line.number("bytes_in", record.bytes_in);
    }
    if fields.has(Field::BytesOut) {
        line.number("bytes_out", record.bytes_out);
    }
    if fields.has(Field::Ms) {
        line.milliseconds("ms", moment.now.duration_since(record.begun));
    }
    if let Some(answered) = record.answered_after.filter(|_| fields.has(Field::AnsweredMs)) {
        line.milliseconds("answered_ms", answered);
    }
}

/// What guards and faults have made of it.
fn outcome(fields: LogFields, record: &Record, line: &mut JsonLine<'_>) {
    if let Some(guarded) = &record.guarded {
        if let Some(user) = guarded.user.as_ref().filter(|_| fields.has(Field::User)) {
            line.text("user", user.as_bytes());
        }
        if let Some(limit) = guarded.limit.filter(|_| fields.has(Field::Limit)) {
            line.word("limit", limit.as_str());
        }
    }
    if let Some(fault) = record.fault {
        if fields.has(Field::Fault) {
            line.word("fault", fault.reason());
        }
        if let Some(detail) = fault.detail().filter(|_| fields.has(Field::Detail)) {
            line.word("detail", detail);
        }
    }
}

/// Prints what a tunnel has of `fields`.
pub(super) fn tunnel(fields: LogFields, record: &TunnelRecord, moment: Moment<'_>, out: &mut Vec<u8>) {
    let mut line = JsonLine::begin(out);
    if fields.has(Field::Time) {
        line.word("time", moment.iso);
    }
    if fields.has(Field::Client) {
        line.ip("client", record.client);
    }
    if fields.has(Field::Tunnel) {
        line.word("tunnel", record.ended_by.as_str());
    }
    if let Some(id) = record.request_id.as_ref().filter(|_| fields.has(Field::RequestId)) {
        line.text("request_id", id.as_bytes());
    }
    node(fields, &record.node, &mut line);
    for (field, key, number) in [
        (Field::BytesIn, "bytes_in", record.bytes_to_origin),
        (Field::BytesOut, "bytes_out", record.bytes_to_client),
        (Field::FramesIn, "frames_in", record.frames_to_origin),
        (Field::FramesOut, "frames_out", record.frames_to_client),
        (Field::MessagesIn, "messages_in", record.messages_to_origin.into()),
        (Field::MessagesOut, "messages_out", record.messages_to_client.into()),
    ] {
        if fields.has(field) {
            line.number(key, number);
        }
    }
    if let Some(code) = record.close_code.filter(|_| fields.has(Field::Close)) {
        line.number("close", code.into());
    }
    if fields.has(Field::Ms) {
        line.milliseconds("ms", record.lasted);
    }
    line.end();
}

fn node(fields: LogFields, node: &Node, line: &mut JsonLine<'_>) {
    let label = node.label();
    if fields.has_all(LogFields::OF_NODE) {
        return line.members(label.in_log.get_or_init(|| {
            let mut out = Vec::new();
            let mut line = JsonLine::begin(&mut out);
            line.text("upstream", node.upstream.as_bytes());
            line.text("node", label.written.as_bytes());
            line.text("address", node.address().to_string().as_bytes());
            // Without its brace: it becomes a part of other objects.
            out[1..].into()
        }));
    }
    if fields.has(Field::Upstream) {
        line.text("upstream", node.upstream.as_bytes());
    }
    if fields.has(Field::Node) {
        line.text("node", label.written.as_bytes());
    }
    if fields.has(Field::Address) {
        line.text("address", node.address().to_string().as_bytes());
    }
}
