//! What a route changes of a request and its answer: variables are filled in here, once, before a node is asked.

use std::borrow::Cow;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use config::routing::{
    Auth, Capture, Compress, Edits, ErrorPages, HeaderEdits, HostPattern, NodeTimeouts, PathEdit,
    PathPattern, Piece, RequestIds, Route, Template, Variable,
};
use wire::Version;
use wire::forward::{ClientEnd, LineEdits};
use wire::request::RequestHead;
use wire::{cookie, path};

use crate::observe::guarded::Granted;
use crate::observe::record::{Instead, Record};
use crate::request::reason::reason_phrase;
use crate::request::{policy, request_id};
use crate::upstream::Upstream;

/// What variables stand for in one request.
#[derive(Debug, Clone)]
pub(crate) struct Values<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) end: &'a ClientEnd,
    pub(crate) client: IpAddr,
    pub(crate) route: &'a Route,
    /// The request's id, where something asks for one.
    id: Option<Rc<str>>,
    /// Set where the answer comes in the place of a fault.
    pub(crate) instead: Option<Instead>,
    /// The route's upstream, where somebody asks for its sessions.
    pub(crate) upstream: Option<&'a Upstream>,
    /// Who it is, where a guard has found out.
    user: Option<Rc<str>>,
    /// What was said by whoever let it pass.
    granted: Option<Rc<Granted>>,
    /// What that answer says of the guard that has refused the request.
    refusal: Vec<(&'static str, String)>,
}

/// Where a value is put, and so what of it must not be taken for something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Escaping {
    /// The value of a header line: what would end it is left out.
    Line,
    /// A URL: what may not stand there is escaped.
    Url,
    /// A body of text.
    Text,
    /// A body of HTML: a stranger's markup is text.
    Html,
}

/// What a route changes, with its variables filled in.
#[derive(Debug, Default, Clone)]
pub(crate) struct Changed {
    /// Host as the node hears it.
    pub(crate) host: Option<String>,
    pub(crate) request: LineEdits,
    pub(crate) answer: LineEdits,
    /// Which answers are compressed.
    pub(crate) compress: Option<Arc<Compress>>,
    /// How long the request waits, where that is not as its upstream has it.
    pub(crate) timeouts: Option<Arc<NodeTimeouts>>,
    /// The pages that come in the place of what nodes answer with these statuses.
    pub(crate) intercepts: Option<Arc<ErrorPages>>,
}

impl Changed {
    pub(crate) fn names_node(&self) -> bool {
        self.request.names_node() || self.answer.names_node()
    }

    /// The same, for this node.
    pub(crate) fn named(&self, node: &str) -> Self {
        Self { request: self.request.named(node), answer: self.answer.named(node), ..self.clone() }
    }
}

impl<'a> Values<'a> {
    /// Those of a request that a route takes. Its id, if it has one, is told to the record.
    pub(crate) fn new(
        head: &'a RequestHead,
        end: &'a ClientEnd,
        route: &'a Route,
        record: &mut Record,
    ) -> Self {
        let ids = route.edits.as_ref().and_then(|edits| edits.request_ids);
        if let (Some(ids), None) = (ids, &record.request_id) {
            record.request_id = Some(request_id::of(head, end, ids));
        }
        Self {
            head,
            end,
            client: record.client,
            route,
            id: record.request_id.clone(),
            instead: record.instead,
            upstream: None,
            granted: record.guarded.as_ref().and_then(|guarded| guarded.granted.clone()),
            user: record.guarded.as_ref().and_then(|guarded| guarded.user.clone()),
            refusal: match &record.guarded {
                Some(guarded) if record.instead.is_some() => guarded.lines.clone(),
                Some(_) | None => Vec::new(),
            },
        }
    }

    /// The same, for somebody who asks for the sessions of the route's upstream.
    pub(crate) fn with_upstream(self, upstream: Option<&'a Upstream>) -> Self {
        Self { upstream, ..self }
    }

    /// What every final answer of the route says, whoever gives it.
    pub(crate) fn say_policy(&self, lines: &mut LineEdits) {
        let Some(edits) = &self.route.edits else { return };
        policy::say(&edits.policy, self.head, self.end.is_https(self.head), lines);
        if let (Some(RequestIds { is_sent: true, .. }), Some(id)) = (edits.request_ids, &self.id) {
            lines.drop_lines(request_id::LINE);
            lines.say(request_id::LINE, id.as_bytes());
        }
    }

    /// What the answer says of its status, where it stands for another.
    fn say_status(&self, lines: &mut LineEdits) {
        if let Some(status) = self.instead.and_then(|instead| instead.status) {
            lines.say_status(format!("{status} {}", reason_phrase(status)));
        }
        self.refusal.iter().for_each(|(name, value)| lines.say(name, value.as_bytes()));
    }

    /// What the route changes of an answer that no node gives: the status that stands for another, the headers for
    /// browsers, the lines of its `response` edits, and the cookies of whoever let the client in.
    pub(crate) fn answer_lines(&self) -> LineEdits {
        let mut lines = LineEdits::default();
        self.say_status(&mut lines);
        if let Some(edits) = &self.route.edits {
            self.say_policy(&mut lines);
            self.edit(&edits.response, &mut lines);
        }
        for cookie in self.granted.iter().flat_map(|granted| &granted.cookies) {
            lines.say("Set-Cookie", cookie);
        }
        lines
    }

    /// A text with its variables filled in.
    pub(crate) fn fill(&self, template: &Template, escaping: Escaping) -> Vec<u8> {
        self.fill_pieces(template.pieces(), escaping)
    }

    fn fill_pieces(&self, pieces: &[Piece], escaping: Escaping) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Variable(variable) => {
                    let value = self.value(variable);
                    match escaping {
                        Escaping::Text => out.extend_from_slice(&value),
                        Escaping::Line => {
                            out.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
                        }
                        // These are URLs already, and have a question mark of their own.
                        Escaping::Url if matches!(variable, Variable::Uri | Variable::Query) => {
                            escape(&value, b"?", &mut out);
                        }
                        Escaping::Url => escape(&value, b"", &mut out),
                        Escaping::Html => print_html(&value, &mut out),
                    }
                }
            }
        }
        // Of a query that is put in and is not there.
        if escaping == Escaping::Url && out.ends_with(b"?") {
            out.pop();
        }
        out
    }

    fn value(&self, variable: &Variable) -> Cow<'_, [u8]> {
        let Self { head, end, client, .. } = *self;
        let text = |text: String| Cow::Owned(text.into_bytes());
        let found = |value: Option<&'_ [u8]>| {
            value.map_or(Cow::Borrowed(&b""[..]), |value| Cow::Owned(value.to_vec()))
        };
        match variable {
            Variable::ClientIp => text(client.to_string()),
            Variable::PeerIp => text(end.peer().to_string()),
            Variable::Method => Cow::Borrowed(head.method_bytes()),
            Variable::Scheme => Cow::Borrowed(self.scheme().as_bytes()),
            Variable::Host => Cow::Owned(head.host_name().unwrap_or_default().to_ascii_lowercase()),
            Variable::Subdomain => match &self.route.host {
                HostPattern::Wildcard(apex) => {
                    let host = head.host_name().unwrap_or_default().to_ascii_lowercase();
                    Cow::Owned(host.strip_suffix(apex.as_bytes()).unwrap_or_default().to_vec())
                }
                HostPattern::Exact(_) | HostPattern::Any => Cow::Borrowed(b""),
            },
            Variable::Port => match head.host_port() {
                Some(port) => Cow::Borrowed(port),
                None => Cow::Borrowed(default_port(self.scheme())),
            },
            Variable::Protocol => Cow::Borrowed(match head.version() {
                Version::Http10 => b"HTTP/1.0",
                Version::Http11 if head.is_over_http2() => b"HTTP/2.0",
                Version::Http11 => b"HTTP/1.1",
            }),
            Variable::Uri => Cow::Borrowed(head.path_and_query()),
            Variable::Path => path::normal(head.path_bytes()),
            Variable::Query => found(head.query_bytes()),
            Variable::QueryValue(name) => found(head.query_value(name.as_bytes())),
            Variable::Header(name) => found(head.header(name)),
            Variable::Cookie(name) => found(cookie::find(head, name.as_bytes())),
            Variable::RequestId => found(self.id.as_deref().map(str::as_bytes)),
            Variable::User => found(self.user.as_deref().map(str::as_bytes)),
            Variable::Capture(capture) => self.capture(capture),
            // None is asked, or not yet.
            Variable::Node => Cow::Borrowed(b""),
        }
    }

    fn capture(&self, capture: &Capture) -> Cow<'_, [u8]> {
        let PathPattern::Regex(pattern) = &self.route.path else { return Cow::Borrowed(b"") };
        let path = path::normal(self.head.path_bytes());
        let group = pattern.captures(&path).and_then(|groups| {
            let group = match capture {
                Capture::Number(number) => groups.get(*number),
                Capture::Name(name) => groups.name(name),
            };
            group.map(|group| group.as_bytes().to_vec())
        });
        Cow::Owned(group.unwrap_or_default())
    }

    pub(crate) fn scheme(&self) -> &'static str {
        if self.end.is_https(self.head) { "https" } else { "http" }
    }

    /// What `edits` make of the lines of a request and its answer, with the variables of this request put in.
    pub(crate) fn changed(&self, edits: &Edits) -> Changed {
        let mut changed = Changed {
            compress: edits.compress.clone(),
            timeouts: edits.timeouts.clone(),
            // A page that is not there has none in its place.
            intercepts: edits.intercepts.clone().filter(|_| self.instead.is_none()),
            ..Changed::default()
        };
        self.say_status(&mut changed.answer);
        if let Some(host) = &edits.host {
            changed.host = Some(String::from_utf8_lossy(&self.fill(host, Escaping::Line)).into_owned());
        }
        let (mount, instead) = match (&edits.path, &self.route.path) {
            (Some(PathEdit::Prefix(instead)), PathPattern::Prefix(mount)) => {
                (mount.strip_suffix('/').unwrap_or(mount), &**instead)
            }
            _ => ("", ""),
        };
        let for_node = [&edits.base, instead].concat();
        if mount != for_node {
            changed.answer.mount_at(mount.as_bytes(), for_node.as_bytes());
        }
        if let Some(PathEdit::Prefix(_)) = &edits.path {
            // To an app that stands elsewhere for itself it would tell something else.
            if !mount.is_empty() && instead.is_empty() {
                // A proxy in front of us may have taken a part of the path, too.
                let in_front =
                    self.head.header(PREFIX_LINE).filter(|_| self.end.is_trusted()).unwrap_or_default();
                changed.request.drop_lines(PREFIX_LINE);
                changed.request.say(PREFIX_LINE, &[in_front, mount.as_bytes()].concat());
            }
        }
        if let (Some(RequestIds { is_sent: true, .. }), Some(id)) = (edits.request_ids, &self.id) {
            changed.request.drop_lines(request_id::LINE);
            changed.request.say(request_id::LINE, id.as_bytes());
        }
        self.say_granted(&mut changed);
        self.say_policy(&mut changed.answer);
        self.edit_beside_node(&edits.request, &mut changed.request);
        self.edit_beside_node(&edits.response, &mut changed.answer);
        changed
    }

    /// What somebody else has said of the client, in the place of what it says of itself: whatever app reads a name, it gets no
    /// other.
    fn say_granted(&self, changed: &mut Changed) {
        let Some(Auth::Ask(ask)) = &self.route.auth else { return };
        ask.copy.iter().flat_map(|name| twins(name)).for_each(|name| changed.request.drop_lines(&name));
        let Some(granted) = &self.granted else { return };
        granted.copied.iter().for_each(|(name, value)| changed.request.say(name, value));
        granted.cookies.iter().for_each(|cookie| changed.answer.say("Set-Cookie", cookie));
    }

    /// Fills in the lines of one direction, where no node is asked.
    pub(crate) fn edit(&self, edits: &HeaderEdits, lines: &mut LineEdits) {
        self.edit_lines(edits, lines, false);
    }

    /// The same where one will be, which is not known yet.
    fn edit_beside_node(&self, edits: &HeaderEdits, lines: &mut LineEdits) {
        self.edit_lines(edits, lines, true);
    }

    fn edit_lines(&self, edits: &HeaderEdits, lines: &mut LineEdits, has_node: bool) {
        let dropped = edits.remove.iter().chain(edits.set.iter().map(|(name, _)| name));
        dropped.for_each(|name| lines.drop_lines(name));
        for (name, template) in edits.set.iter().chain(&edits.add) {
            if has_node && template.names_node() {
                let is_node = |piece: &Piece| *piece == Piece::Variable(Variable::Node);
                let parts = template.pieces().split(is_node);
                let parts: Vec<_> = parts.map(|part| self.fill_pieces(part, Escaping::Line)).collect();
                lines.say_with_node(name, &parts);
                continue;
            }
            let value = self.fill(template, Escaping::Line);
            if !value.is_empty() {
                lines.say(name, &value);
            }
        }
    }

    /// The path a node is asked for, as it is sent; `None` is the one that came.
    pub(crate) fn path_at_node(&self, edits: &Edits) -> Option<Vec<u8>> {
        let path = self.path(edits.path.as_ref());
        if edits.base.is_empty() {
            return path;
        }
        // What is not asked of a path, as `OPTIONS *` is not, is not below one.
        let path =
            path.or_else(|| Some(self.head.path_bytes().to_vec())).filter(|path| path.starts_with(b"/"))?;
        Some([edits.base.as_bytes(), &path].concat())
    }

    /// The same without what stands before it.
    pub(crate) fn path(&self, edit: Option<&PathEdit>) -> Option<Vec<u8>> {
        let mut sent = match edit? {
            PathEdit::Whole(template) => self.fill(template, Escaping::Url),
            PathEdit::Prefix(instead) => {
                let PathPattern::Prefix(prefix) = &self.route.path else { return None };
                let prefix = path::normal(prefix.as_bytes());
                let prefix = prefix.strip_suffix(b"/").unwrap_or(&prefix);
                // Of the normal form, for nothing else tells where the prefix ends; nor may a node see `..` behind it.
                let path = path::normal(self.head.path_bytes());
                let mut sent = instead.clone().into_bytes();
                escape(path.strip_prefix(prefix).unwrap_or(&path), b"", &mut sent);
                sent
            }
        };
        if !sent.starts_with(b"/") {
            sent.insert(0, b'/');
        }
        Some(sent)
    }
}

/// A name, and those that apps which fold underscores take for it.
fn twins(name: &str) -> Vec<String> {
    let mut twins = vec![String::new()];
    for letter in name.chars() {
        if letter == '-' && twins.len() < TWINS_MAX {
            twins = twins.into_iter().flat_map(|twin| [format!("{twin}-"), format!("{twin}_")]).collect();
        } else {
            twins.iter_mut().for_each(|twin| twin.push(letter));
        }
    }
    twins
}

pub(crate) fn default_port(scheme: &str) -> &'static [u8] {
    if scheme == "https" { b"443" } else { b"80" }
}

/// A path in its normal form as URLs have it.
pub(crate) fn escaped_path(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 1);
    escape(path, b"", &mut out);
    out
}

/// Escapes what may not stand in a URL, or in its path if `more` has no question mark (RFC 3986 section 3.3). Escapes that
/// are there stay.
fn escape(value: &[u8], more: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(byte),
            _ if b"-._~!$&'()*+,;=:@/%".contains(&byte) || more.contains(&byte) => out.push(byte),
            _ => {
                let digit = |half: u8| b"0123456789ABCDEF"[usize::from(half)];
                out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
}

fn print_html(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'&' => out.extend_from_slice(b"&amp;"),
            b'<' => out.extend_from_slice(b"&lt;"),
            b'>' => out.extend_from_slice(b"&gt;"),
            b'"' => out.extend_from_slice(b"&quot;"),
            b'\'' => out.extend_from_slice(b"&#39;"),
            byte => out.push(*byte),
        }
    }
}

const TWINS_MAX: usize = 64;
/// What Spring, Traefik and others call it.
const PREFIX_LINE: &str = "X-Forwarded-Prefix";
