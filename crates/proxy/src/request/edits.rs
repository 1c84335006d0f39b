//! What a route changes of a request and its answer: variables are filled in here, once, before a node is asked.

use std::borrow::Cow;
use std::net::IpAddr;

use config::routing::{Capture, Edits, HeaderEdits, PathEdit, PathPattern, Piece, Route, Template, Variable};
use wire::Version;
use wire::forward::{ClientEnd, LineEdits};
use wire::request::RequestHead;
use wire::{cookie, path};

/// What variables stand for in one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) end: &'a ClientEnd,
    pub(crate) client: IpAddr,
    pub(crate) route: &'a Route,
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
#[derive(Debug, Default)]
pub(crate) struct Changed {
    /// Host as the node hears it.
    pub(crate) host: Option<String>,
    pub(crate) request: LineEdits,
    pub(crate) answer: LineEdits,
}

impl Values<'_> {
    /// A text with its variables filled in.
    pub(crate) fn fill(&self, template: &Template, escaping: Escaping) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in template.pieces() {
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
            Variable::Port => match head.host_port() {
                Some(port) => Cow::Borrowed(port),
                None => Cow::Borrowed(default_port(self.scheme())),
            },
            Variable::Protocol => Cow::Borrowed(match head.version() {
                Version::Http10 => b"HTTP/1.0",
                Version::Http11 => b"HTTP/1.1",
            }),
            Variable::Uri => Cow::Borrowed(head.path_and_query()),
            Variable::Path => path::normal(head.path_bytes()),
            Variable::Query => found(head.query_bytes()),
            Variable::QueryValue(name) => found(head.query_value(name.as_bytes())),
            Variable::Header(name) => found(head.header(name)),
            Variable::Cookie(name) => found(cookie::find(head, name.as_bytes())),
            Variable::Capture(capture) => self.capture(capture),
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

    /// How the client speaks.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.end.is_https(self.head) { "https" } else { "http" }
    }

    /// What `edits` make of the lines of a request and its answer.
    pub(crate) fn changed(&self, edits: &Edits) -> Changed {
        let mut changed = Changed::default();
        if let Some(host) = &edits.host {
            changed.host = Some(String::from_utf8_lossy(&self.fill(host, Escaping::Line)).into_owned());
        }
        if let (Some(PathEdit::Prefix(instead)), PathPattern::Prefix(mount)) = (&edits.path, &self.route.path)
        {
            let mount = mount.strip_suffix('/').unwrap_or(mount);
            if mount != instead {
                changed.answer.mount_at(mount.as_bytes(), instead.as_bytes());
            }
            // To an app that stands elsewhere for itself it would tell something else.
            if !mount.is_empty() && instead.is_empty() {
                // A proxy in front of us may have taken a part of the path, too.
                let in_front =
                    self.head.header(PREFIX_LINE).filter(|_| self.end.is_trusted()).unwrap_or_default();
                changed.request.drop_lines(PREFIX_LINE);
                changed.request.say(PREFIX_LINE, &[in_front, mount.as_bytes()].concat());
            }
        }
        self.edit(&edits.request, &mut changed.request);
        self.edit(&edits.response, &mut changed.answer);
        changed
    }

    /// Fills in the lines of one direction.
    pub(crate) fn edit(&self, edits: &HeaderEdits, lines: &mut LineEdits) {
        let dropped = edits.remove.iter().chain(edits.set.iter().map(|(name, _)| name));
        dropped.for_each(|name| lines.drop_lines(name));
        for (name, template) in edits.set.iter().chain(&edits.add) {
            let value = self.fill(template, Escaping::Line);
            if !value.is_empty() {
                lines.say(name, &value);
            }
        }
    }

    /// The path a node is asked for, as it is sent; `None` is the one that came.
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

/// What a scheme means by itself.
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

/// What Spring, Traefik and others call it.
const PREFIX_LINE: &str = "X-Forwarded-Prefix";
