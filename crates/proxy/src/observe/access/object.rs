//! A line as a JSON object.

use crate::observe::access::calendar::Moment;
use crate::observe::access::json::JsonLine;
use crate::observe::access::told::Told;
use crate::observe::record::{TunnelRecord, target_for_log};
use crate::upstream::node::Node;

/// What every line of an exchange has, and what it was, if it became one.
pub(super) fn exchange(told: &Told<'_>, moment: Moment<'_>, out: &mut Vec<u8>) {
    let Told { record, head, .. } = *told;
    let mut line = JsonLine::begin(out);
    line.word("time", moment.iso);
    line.ip("client", record.client);
    if let Some(head) = head {
        line.text("method", head.method_bytes());
        match head.host_bytes() {
            Some(host) => line.text("host", host),
            None => line.null("host"),
        }
        line.text("target", &target_for_log(head));
        if head.is_over_http2() {
            line.word("protocol", "HTTP/2.0");
        }
    }
    if let Some(id) = &record.request_id {
        line.text("request_id", id.as_bytes());
    }
    line.number("status", record.status.into());
    line.number("bytes_in", record.bytes_in);
    line.number("bytes_out", record.bytes_out);
    line.milliseconds("ms", moment.now.duration_since(record.begun));
    if let Some(answered) = record.answered_after {
        line.milliseconds("answered_ms", answered);
    }
    if let Some(asked) = &record.node {
        node(asked, &mut line);
        line.word("sticky", record.sticky.as_str());
        line.number("attempts", record.attempts.into());
    }
    if let Some(guarded) = &record.guarded {
        if let Some(user) = &guarded.user {
            line.text("user", user.as_bytes());
        }
        if let Some(limit) = guarded.limit {
            line.word("limit", limit.as_str());
        }
    }
    if let Some(fault) = record.fault {
        line.word("fault", fault.reason());
        if let Some(detail) = fault.detail() {
            line.word("detail", detail);
        }
    }
    line.end();
}

pub(super) fn tunnel(record: &TunnelRecord, moment: Moment<'_>, out: &mut Vec<u8>) {
    let mut line = JsonLine::begin(out);
    line.word("time", moment.iso);
    line.ip("client", record.client);
    line.word("tunnel", record.ended_by.as_str());
    node(&record.node, &mut line);
    line.number("bytes_in", record.bytes_to_origin);
    line.number("bytes_out", record.bytes_to_client);
    line.number("frames_in", record.frames_to_origin);
    line.number("frames_out", record.frames_to_client);
    if let Some(code) = record.close_code {
        line.number("close", code.into());
    }
    line.milliseconds("ms", record.lasted);
    line.end();
}

fn node(node: &Node, line: &mut JsonLine<'_>) {
    let label = node.label();
    line.members(label.in_log.get_or_init(|| {
        let mut out = Vec::new();
        let mut line = JsonLine::begin(&mut out);
        line.text("upstream", node.upstream.as_bytes());
        line.text("node", label.written.as_bytes());
        line.text("address", node.address().to_string().as_bytes());
        // Without its brace: it becomes a part of other objects.
        out[1..].into()
    }));
}
