//! What a route takes, and what becomes of it: the words of `[[route]]`, checked.

mod methods;
mod pattern;
mod template;

pub use methods::Methods;
pub use pattern::{NotAPattern, Pattern};
pub use template::{Capture, NotATemplate, Piece, Template, Variable};

use std::path::PathBuf;
use std::time::Duration;

use crate::plan::{PathRule, UpstreamId};

/// Which requests are answered by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Compared with the request's host, without its port, in lower case.
    pub host: HostPattern,
    /// Compared with the path's normal form.
    pub path: PathPattern,
    /// Those that it takes; GET stands for HEAD too.
    pub methods: Methods,
    /// The ports of the listens it holds for; empty for all.
    pub ports: Vec<u16>,
    /// Which paths it takes, of those that match.
    pub paths: PathRule,
    /// What becomes of a request.
    pub action: Action,
    /// What is changed on the way, if anything is.
    pub edits: Option<Box<Edits>>,
    /// Most bytes of a request's body, where it is not what `[limits]` says. `Some(None)` is no bound.
    pub body_bytes_max: Option<Option<u64>>,
    /// Whether the access log has its requests.
    pub is_logged: bool,
    /// Where it stands among the routes of the file, from 1.
    pub number: usize,
}

/// The host part of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// `api.example.com`, in lower case.
    Exact(String),
    /// `*.example.com`, kept as `.example.com`: one or more labels stand before it.
    Wildcard(String),
    /// A route without `host`.
    Any,
}

/// The path part of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathPattern {
    /// This path and no other.
    Exact(String),
    /// What matches it as a whole.
    Regex(Pattern),
    /// On segment borders: `/chat` takes `/chat` and `/chat/x`, not `/chatter`. `/` takes everything.
    Prefix(String),
}

/// What a route does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A node of this pool answers.
    Upstream(UpstreamId),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// The answer stands in the file.
    Respond(Respond),
    /// A file of a folder is the answer.
    Files(Files),
}

impl Action {
    /// The pool that answers, if one does; for a folder the one that answers what is no file.
    pub fn upstream(&self) -> Option<UpstreamId> {
        match self {
            Self::Upstream(upstream) => Some(*upstream),
            Self::Files(files) => files.upstream,
            Self::Redirect(_) | Self::Respond(_) => None,
        }
    }
}

/// A folder whose files are answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The folder, joined to that of the plan's own file.
    pub folder: PathBuf,
    /// What is answered for a folder in it: the first of these that is there.
    pub index: Vec<String>,
    /// What is answered to a browser that goes to a page which is no file.
    pub fallback: Option<String>,
    /// How long caches may keep an answer.
    pub cache: Cache,
    /// Who answers what is no file.
    pub upstream: Option<UpstreamId>,
}

/// How long caches may keep a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// Nothing is said: caches ask whether it has changed, now and then.
    Unsaid,
    /// For so long.
    For(Duration),
    /// A year, if there is a hash of its content in its name; everything else is asked for each time.
    Hashed,
}

/// Where a client is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The URL.
    pub to: Destination,
}

/// The URL of a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// As it is written.
    Url(Template),
    /// The URL of the request with these parts of it replaced.
    Parts {
        /// `http` or `https`.
        scheme: Option<&'static str>,
        /// The host, without a port.
        host: Option<Template>,
        /// The port; left out where it is the scheme's own.
        port: Option<u16>,
        /// The path, and the query if it has one.
        path: Option<Template>,
    },
}

/// An answer that stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respond {
    /// 200 to 599. 444 closes the connection without an answer, as nginx has it.
    pub status: u16,
    /// The body.
    pub text: Template,
    /// Its media type.
    pub content_type: String,
}

/// What is changed of requests and answers on their way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// The path that a node sees.
    pub path: Option<PathEdit>,
    /// Host as a node sees it.
    pub host: Option<Template>,
    /// Lines of requests.
    pub request: HeaderEdits,
    /// Lines of answers, of whoever they are.
    pub response: HeaderEdits,
}

/// How the path is changed for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathEdit {
    /// The route's prefix goes, and this comes in its place: nothing, or a path without a slash at its end.
    Prefix(String),
    /// The whole of it.
    Whole(Template),
}

/// Header lines that are set, added and removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// In the place of lines of the same name.
    pub set: Vec<(String, Template)>,
    /// Beside lines of the same name.
    pub add: Vec<(String, Template)>,
    /// Names in lower case.
    pub remove: Vec<String>,
}

impl HeaderEdits {
    /// Whether nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}
