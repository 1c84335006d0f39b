//! Lines that a route changes on their way, and where an app thinks that it stands.

use crate::cookie;
use crate::lines::{Line, Name};

use super::print::{copy_line, print_line};

/// Lines that a route changes on their way.
#[derive(Debug, Default, Clone)]
pub struct LineEdits {
    /// Names of lines that go no further, in lower case.
    drops: Vec<String>,
    /// Lines that are said in their place, or beside others.
    pub(super) lines: Vec<u8>,
    /// Where in them the node is to be named.
    node_at: Vec<usize>,
    /// Lines that are said where no line of their name is, by that name.
    defaults: Vec<(&'static str, Vec<u8>)>,
    /// What was taken from the front of the path, and what came in its place.
    mount: Option<Mount>,
    /// The content is coded on its way: what tells of its bytes is told anew.
    pub(super) is_coding: bool,
    /// Code and reason that are said in the place of the answer's own.
    status: Option<String>,
}

/// Where an app stands for its clients, and where it thinks that it stands; both without a slash at their end.
#[derive(Debug, Clone)]
struct Mount {
    for_client: Vec<u8>,
    for_node: Vec<u8>,
}

impl LineEdits {
    /// Lines of this name go no further.
    pub fn drop_lines(&mut self, name: &str) {
        self.drops.push(name.to_ascii_lowercase());
    }

    /// One more line, without what would end it.
    pub fn say(&mut self, name: &str, value: &[u8]) {
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        self.lines.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
        self.lines.extend_from_slice(b"\r\n");
    }

    /// One more line, with the name of the node between the parts of its value.
    pub fn say_with_node(&mut self, name: &str, parts: &[Vec<u8>]) {
        self.lines.extend_from_slice(name.as_bytes());
        self.lines.extend_from_slice(b": ");
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                self.node_at.push(self.lines.len());
            }
            self.lines.extend(part.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
        }
        self.lines.extend_from_slice(b"\r\n");
    }

    /// A line has a gap for the name of the node, and cannot be sent before one is chosen.
    pub fn names_node(&self) -> bool {
        !self.node_at.is_empty()
    }

    /// The same lines, in which the node has this name.
    #[must_use]
    pub fn named(&self, node: &str) -> Self {
        let mut named = self.clone();
        // From the end on, so that no place moves before its turn.
        for at in std::mem::take(&mut named.node_at).into_iter().rev() {
            named.lines.splice(at..at, node.bytes());
        }
        named
    }

    /// A line that is said unless there is one of this name.
    pub fn say_by_default(&mut self, name: &'static str, value: &[u8]) {
        self.defaults.push((name, value.to_vec()));
    }

    /// Prints those lines of an answer that `has` no line of their name.
    pub fn print_defaults(&self, has: impl Fn(&str) -> bool, out: &mut Vec<u8>) {
        for (name, value) in &self.defaults {
            let is_said = self.lines.split(|&byte| byte == b'\n').any(|line| {
                line.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name.as_bytes()))
                    && line.get(name.len()) == Some(&b':')
            });
            // One that the route takes out is not wanted.
            if !is_said && !self.drops(name.as_bytes()) && !has(name) {
                print_line(out, name, value);
            }
        }
    }

    /// Paths in Location and in the Path of cookies that are under `for_node` come under `for_client`. Where the node stands
    /// at the top, all are but those that are under `for_client` already.
    pub fn mount_at(&mut self, for_client: &[u8], for_node: &[u8]) {
        self.mount = Some(Mount { for_client: for_client.to_vec(), for_node: for_node.to_vec() });
    }

    /// The content is coded on its way (RFC 9110 section 8.4): what was said of its bytes goes no further, and its ETag is one
    /// of what they mean (section 8.8.3).
    pub fn code_content(&mut self, coding: &str) {
        self.is_coding = true;
        self.say("Content-Encoding", coding.as_bytes());
    }

    /// The answer says this status, `404 Not Found`, in the place of its own.
    pub fn say_status(&mut self, code_and_reason: String) {
        self.status = Some(code_and_reason);
    }

    /// The status that is said in the place of `own`, unless that says how the answer is framed, or sends the client elsewhere.
    pub fn status_instead(&self, own: u16) -> Option<&str> {
        self.status.as_deref().filter(|_| !matches!(own, 100..=199 | 204 | 300..=399))
    }

    /// The lines that are said.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// Whether lines of this name go no further, nor with an underscore for a dash: an app that folds them would
    /// take a stranger's line for ours.
    pub fn drops(&self, name: &[u8]) -> bool {
        let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
        self.drops.iter().any(|drops| drops.bytes().map(|byte| folded(&byte)).eq(name.iter().map(folded)))
    }

    /// Paths in Location and in cookies are put under the mount that [`LineEdits::mount_at`] was given.
    pub fn is_mounting(&self) -> bool {
        self.mount.is_some()
    }

    pub(super) fn copy_line(&self, bytes: &[u8], line: &Line, out: &mut Vec<u8>) {
        let (name, value) = (line.name.of_bytes(bytes), line.value.of_bytes(bytes));
        if self.drops(name) || (self.is_coding && tells_of_bytes(name)) {
            return;
        }
        if self.is_coding && name.eq_ignore_ascii_case(b"etag") && !value.starts_with(b"W/") {
            print_line(out, "ETag", &[b"W/", value].concat());
            return;
        }
        let is_cookie = line.known == Name::SetCookie;
        match self.mounts_at(name, value, is_cookie) {
            None => copy_line(bytes, line, out),
            Some((mount, at)) => mount.print(Header { name, value }, at, is_cookie, out),
        }
    }

    /// The same for a cookie whose value is another one.
    pub(super) fn print_cookie(&self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if self.drops(name) {
            return;
        }
        match self.mounts_at(name, value, true) {
            None => {
                for part in [name, b": ", value, b"\r\n"] {
                    out.extend_from_slice(part);
                }
            }
            Some((mount, at)) => mount.print(Header { name, value }, at, true, out),
        }
    }

    /// Where the value has a path that is another one for clients.
    fn mounts_at(&self, name: &[u8], value: &[u8], is_cookie: bool) -> Option<(&Mount, usize)> {
        let mount = self.mount.as_ref()?;
        let path_at = match is_cookie {
            true => cookie::path_at(value),
            false => name.eq_ignore_ascii_case(b"location").then_some(0),
        };
        path_at.filter(|&at| mount.moves(&value[at..])).map(|at| (mount, at))
    }
}

/// Whether a line of an answer tells of the bytes of its content, so that it is wrong once they are coded.
fn tells_of_bytes(name: &[u8]) -> bool {
    let names = [&b"content-length"[..], b"content-encoding", b"accept-ranges"];
    names.iter().any(|known| name.eq_ignore_ascii_case(known))
}

impl Mount {
    /// Whether this begins with a path that is another one for clients. `//` begins a host.
    fn moves(&self, value: &[u8]) -> bool {
        let is_under = |prefix: &[u8]| {
            let rest = value.strip_prefix(prefix);
            rest.is_some_and(|rest| matches!(rest, [] | [b'/' | b'?' | b'#' | b';', ..]))
        };
        let is_path = value.starts_with(b"/") && !value.starts_with(b"//");
        is_path
            && if self.for_node.is_empty() { !is_under(&self.for_client) } else { is_under(&self.for_node) }
    }

    fn print(&self, header: Header<'_>, at: usize, is_cookie: bool, out: &mut Vec<u8>) {
        let Header { name, value } = header;
        out.extend_from_slice(name);
        out.extend_from_slice(b": ");
        out.extend_from_slice(&value[..at]);
        out.extend_from_slice(&self.for_client);
        let rest = &value[at + self.for_node.len()..];
        // The path of a cookie that ends in a slash would not take the mount itself.
        let is_root = is_cookie && matches!(rest, [b'/'] | [b'/', b';' | b' ', ..]);
        let rest = &rest[usize::from(is_root)..];
        // At the top of a host that slash is all there is of a path: without it a cookie is the request's folder's.
        if self.for_client.is_empty() && !rest.starts_with(b"/") {
            out.push(b'/');
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(b"\r\n");
    }
}

/// A header line that is printed with another value.
struct Header<'a> {
    name: &'a [u8],
    value: &'a [u8],
}
