//! What a route takes, and what becomes of it: the words of `[[route]]`, checked.

mod access;
mod auth;
mod compress;
mod limit;
mod matches;
mod methods;
mod mirror;
mod pages;
mod pattern;
mod policy;
mod sample;
mod split;
mod template;

pub use access::Access;
pub use auth::{Ask, Auth, NotUsers, Satisfy, Scheme, StoredPassword, Users};
pub use compress::{Coding, Compress, is_compressible};
pub use limit::{Limit, LimitKey, Limited, Per, Rate};
pub use matches::{Match, Matches};
pub use methods::Methods;
pub use mirror::Mirror;
pub use pages::{AnswerPage, AnsweredBy, ErrorPages, Page, PagePiece, PageStatus, Statuses, TextPage};
pub use pattern::{NotAPattern, Pattern};
pub use policy::{Cors, KeptIds, Origin, Policy, RequestIds};
pub use sample::{LogSample, LogShare};
pub use split::{Share, Split, SplitBy};
pub use template::{Capture, NotATemplate, Piece, Template, Variable};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

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
    /// What else a request has to say, if anything.
    pub matches: Option<Arc<Matches>>,
    /// Which paths it takes, of those that match.
    pub paths: PathRule,
    /// What becomes of a request.
    pub action: Action,
    /// What is changed on the way, if anything is.
    pub edits: Option<Box<Edits>>,
    /// Most bytes of a request's body, where it is not what `[limits]` says. `Some(None)` is no bound.
    pub body_bytes_max: Option<Option<u64>>,
    /// How many of its requests the access log has.
    pub logged: LogShare,
    /// Who is answered, if not everybody is.
    pub access: Option<Arc<Access>>,
    /// How its clients are shared by it and the sides behind it, if it has several upstreams.
    pub split: Option<Arc<Split>>,
    /// One of the sides of the route before it, which alone is looked up.
    pub is_side: bool,
    /// Who gets copies of its requests, if anybody does.
    pub mirror: Option<Arc<Mirror>>,
    /// How clients say who they are, if they have to.
    pub auth: Option<Auth>,
    /// Whether both `access` and `auth` let a request pass, or one of them is enough.
    pub satisfy: Satisfy,
    /// How often something may be asked of it, in the order of the file.
    pub limits: Arc<[Limit]>,
    /// Who is answered though it is in maintenance, if it is.
    pub maintenance: Option<Arc<[IpNet]>>,
    /// Its pages for faults, if they are not the file's own.
    pub error_pages: Option<Arc<ErrorPages>>,
    /// Whether a node is asked without more ado: it has an upstream, and neither guards nor
    /// maintenance nor preflights to answer nor copies to make.
    pub is_straight: bool,
    /// Where it stands among the routes of the file, from 1.
    pub number: usize,
}

/// Which paths a route takes, of those that match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PathRule {
    /// Every path that matches is taken.
    #[default]
    Lenient,
    /// Those whose meaning nodes cannot disagree on. Others are refused with 400.
    Strict,
}

/// Index of an upstream in [`Plan::upstreams`](crate::plan::Plan::upstreams).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct UpstreamId(pub usize);

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

impl HostPattern {
    /// As the file has it: `api.example.com`, `*.example.com`, or nothing for every host. Equal hosts are written the same.
    pub(crate) fn written(&self) -> String {
        match self {
            Self::Exact(name) => name.clone(),
            Self::Wildcard(suffix) => format!("*{suffix}"),
            Self::Any => String::new(),
        }
    }
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

impl PathPattern {
    /// A text that is the same for equal paths, and for no others: `/chat`, `= /chat`, `~ /chat.*`.
    pub(crate) fn written(&self) -> String {
        match self {
            Self::Exact(path) => format!("= {path}"),
            Self::Regex(pattern) => format!("~ {}", pattern.written()),
            Self::Prefix(path) => path.clone(),
        }
    }
}

/// What a route does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A node of this pool answers.
    Upstream(UpstreamId),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// It is answered here: by what stands in the file, or by how tidelock is.
    Respond(Arc<Respond>),
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
    /// Caches keep the file for so long without asking (`max-age`).
    For(Duration),
    /// A year, if there is a hash of its content in its name; everything else is asked for each time.
    Hashed,
}

/// Where a client is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// The URL in the answer's Location: written as a whole, or the request's own with parts of it replaced.
    pub to: Destination,
}

/// The URL of a redirect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The whole URL is written in the file; nothing of the request's but what variables take is in it.
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

/// Where an answer of tidelock's own comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Respond {
    /// It stands in the file.
    Written(Written),
    /// It says how tidelock is.
    Probe(Probe),
}

/// What a balancer in front asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// 200 for as long as requests are answered at all.
    Health,
    /// 200 while clients should be sent here, 503 otherwise.
    Ready,
}

/// An answer that stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// 200 to 599. 444 closes the connection without an answer, as nginx has it.
    pub status: u16,
    /// The body of the answer.
    pub text: Template,
    /// The media type of the body, for Content-Type.
    pub content_type: String,
}

/// How long a request waits for a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeTimeouts {
    /// A TCP connect.
    pub connect: Duration,
    /// No byte moves in a body.
    pub body: Duration,
    /// From the whole request to the head of the answer.
    pub answer: Duration,
    /// No byte moves in a tunnel, or in a stream of events.
    pub tunnel: Duration,
}

/// What is changed of requests and answers on their way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edits {
    /// The path that a node sees.
    pub path: Option<PathEdit>,
    /// What stands before it, because the nodes of its upstream are somewhere below their hosts: empty, or a path without a
    /// slash at its end.
    pub base: String,
    /// The Host that nodes get, in the place of the client's.
    pub host: Option<Template>,
    /// Changes of the header lines that nodes get.
    pub request: HeaderEdits,
    /// Changes of the header lines that clients get, whoever answers.
    pub response: HeaderEdits,
    /// What answers say to browsers beside what the app says.
    pub policy: Policy,
    /// Whether its requests have ids, and whose.
    pub request_ids: Option<RequestIds>,
    /// Which answers are compressed.
    pub compress: Option<Arc<Compress>>,
    /// How long its requests wait, where that is not as its upstream has it.
    pub timeouts: Option<Arc<NodeTimeouts>>,
    /// The pages that come in the place of what nodes answer with these statuses, if any do.
    pub intercepts: Option<Arc<ErrorPages>>,
}

impl Edits {
    /// A value holds `{request_id}`, so that each request has to have one.
    pub fn tell_ids(&self) -> bool {
        let of_lines =
            |edits: &HeaderEdits| edits.set.iter().chain(&edits.add).any(|(_, template)| template.tells_id());
        let of_path = match &self.path {
            Some(PathEdit::Whole(template)) => template.tells_id(),
            Some(PathEdit::Prefix(_)) | None => false,
        };
        of_path
            || self.host.as_ref().is_some_and(Template::tells_id)
            || of_lines(&self.request)
            || of_lines(&self.response)
    }
}

impl Route {
    /// The route's name where it is counted: its host and path as the file has them, cut between two characters
    /// where they are longer than a label of a metric should be.
    pub fn called(&self) -> String {
        let (host, path) = (self.host.written(), self.path.written());
        let mut called = if host.is_empty() { path } else { format!("{host} {path}") };
        called.truncate(called.floor_char_boundary(CALLED_BYTES_MAX));
        called
    }

    /// As [`Edits::tell_ids`], with what the route answers by itself.
    pub fn tells_ids(&self) -> bool {
        let of_action = match &self.action {
            Action::Respond(respond) => {
                matches!(&**respond, Respond::Written(answer) if answer.text.tells_id())
            }
            Action::Redirect(Redirect { to: Destination::Url(url), .. }) => url.tells_id(),
            Action::Redirect(Redirect { to: Destination::Parts { host, path, .. }, .. }) => {
                host.iter().chain(path).any(Template::tells_id)
            }
            Action::Upstream(_) | Action::Files(_) => false,
        };
        of_action || self.edits.as_ref().is_some_and(|edits| edits.tell_ids())
    }
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
    /// True if there is no line to set, to add or to remove.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// Most bytes of what a route is called.
const CALLED_BYTES_MAX: usize = 160;
