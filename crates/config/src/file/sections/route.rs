//! `[[route]]` as the file has it, a field for each key. `file/route` makes [`Route`](crate::routing::Route)s of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::IpNet;

use super::timeouts::{OwnTimeouts, ROUTE_TIMEOUTS};
use crate::file::declare::declare;
use crate::file::kinds::auth::AuthTable;
use crate::file::kinds::compress::Compressing;
use crate::file::kinds::hosts::RoutePath;
use crate::file::kinds::limit::Limits;
use crate::file::kinds::mirror::MirrorTable;
use crate::file::kinds::pages::Pages;
use crate::file::kinds::paths::FilePath;
use crate::file::kinds::policy::{CorsTable, Hsts, IdsOf, Networks};
use crate::file::kinds::route::folder::{CacheTime, FileName, FileNames};
use crate::file::kinds::route::header_changes::HeaderChanges;
use crate::file::kinds::route::matches::Matching;
use crate::file::kinds::route::redirect::RedirectTo;
use crate::file::kinds::route::respond::RespondWith;
use crate::file::kinds::route::rewrite::RewritePath;
use crate::file::kinds::route::{ExactPath, ListenAddresses, MethodNames, PathRegex, RouteHosts};
use crate::file::kinds::sample::Logged;
use crate::file::kinds::split::{Shares, SplitTable};
use crate::file::kinds::{Flag, OrNone, Size, Word};
use crate::routing::{
    Auth, Cache, Compress, Cors, ErrorPages, HeaderEdits, HostPattern, Limit, LogShare, Match, Methods,
    Mirror, PathEdit, PathRule, Pattern, Redirect, RequestIds, Respond, Satisfy, Share, SplitBy,
};

declare! {
    /// One `[[route]]` as the file has it: what is left out of it is `None` here, or its default.
    #[derive(Debug, Clone, PartialEq)]
    pub struct RouteTable in ROUTE = "route", Many:
        "What answers which requests: one of `upstream`, `files`, `redirect` and `respond`, or `files` with an `upstream` for what is no file. At least one route. An exact host beats the longest wildcard, which beats none. Of a host's routes `exact` beats `regex`, of which the first in the file wins, and `regex` beats `path`, of which the longest wins; then a route with `methods` or `listen` beats one without, and more `headers` or `query` beat fewer. Requests that match no route get 404. See docs/routes.md.";
    given RouteParts {}
    // Read before the others, whose texts may name its groups.
    handed {
        /// In the place of `path`: a regular expression that the whole path matches, '/assets/.*\.(js|css)'. In the words of
        /// the Rust crate `regex`: no back references, no looking around, `(?i)` in front for either case. Its groups are the
        /// variables {1} to {9}, or {name} for `(?P<name>…)`. At most 1 MiB when compiled.
        REGEX regex: Option<Pattern> => "`path` decides", PathRegex;
    }
    keys {
        /// "api.example.com", or "*.example.com" for every name under it, or a list of such.
        HOST host: Option<Vec<HostPattern>> => "every host", RouteHosts;
        /// Prefix of the path on segment borders: "/chat" takes "/chat" and "/chat/x", not "/chatter". A slash at its end
        /// makes no difference. Compared with the path of the request in its normal form: escapes decoded, but for those of
        /// slash, backslash, NUL and percent sign, slashes merged and dot segments resolved. The node gets what was sent.
        PATH path: Option<String> => "\"/\", every path", RoutePath;
        /// In the place of `path`: this path and no other. A slash at its end makes a difference.
        EXACT exact: Option<String> => "`path` decides", ExactPath;
        /// Methods it takes: ["GET", "POST"]. GET stands for HEAD, too. Others go on to the next route.
        METHODS methods: Option<Methods> => "every method", MethodNames;
        /// Addresses of the `[[listen]]`s it holds for, as they are written there. Told apart by their ports.
        LISTEN listen: Option<Vec<SocketAddr>> => "every listen", ListenAddresses;
        /// What its header lines have to say: { X-Version = "2", X-Debug = true }, all of it; `true` takes any value. Names
        /// have no case, values do. Of several lines of a name one is enough. Up to 16. Others go on to the next route.
        HEADERS headers: Option<Vec<Match>> => "any header lines", Matching { of_query: false };
        /// The same of the query, escapes decoded: { version = "2" } takes /x?version=2.
        QUERY query: Option<Vec<Match>> => "any query", Matching { of_query: true };
        /// "strict" answers 400 to paths on whose meaning nodes may disagree: a slash, a backslash or a NUL in an escape, a
        /// backslash, an escape that is none, dot segments that lead above the root or have a parameter. Left out, it is
        /// "strict" where a route of the same host answers 401 or 403 by `respond`, or has `allow`, `deny` or `auth`, or one
        /// below "/" has `limit`.
        PATHS paths: PathRule = PathRule::Lenient,
            Word<PathRule>(&[("lenient", PathRule::Lenient), ("strict", PathRule::Strict)]);
        /// The NAME of an `[upstream.NAME]`, a node of which answers. Or several, up to 16, each of which has a share of the
        /// clients: [{ name = "nodes", weight = 95 }, { name = "canary", weight = 5 }]. Sessions keep their side.
        UPSTREAM upstream: Option<Vec<Share>> => "`files`, `redirect` or `respond` says what becomes of a request", Shares;
        /// How a route with several upstreams tells clients apart: { by = "ip", cookie = "side", header = "X-Side" }. A cookie or a
        /// header line that names one of them sends its client there.
        SPLIT split: Option<SplitBy> => "by the address", SplitTable;
        /// In the place of `upstream`: sends the client elsewhere. { host = "example.com", status = 301 } replaces parts of
        /// the URL; "https://example.com{uri}", or `to`, is the whole of it. The status is 301, 302, unless another is said,
        /// 303, 307 or 308. Values may hold variables: see docs/routes.md.
        REDIRECT redirect: Option<Redirect> => "`upstream` answers", RedirectTo;
        /// In the place of `upstream`: answers by itself. A status, 200 to 599, or { status = 200, text = "ok" }. 444 closes
        /// the connection. `file = "robots.txt"` in the place of `text` is the body as it is, up to 1 MiB. "health" is 200 for as long
        /// as tidelock answers; "ready" is 200 while some node is up and tidelock is not told to end, and otherwise 503.
        RESPOND respond: Option<Arc<Respond>> => "`upstream` answers", RespondWith;
        /// Folder whose files are answers. Relative to the folder of this file. Files and folders whose names begin with a
        /// dot, `.well-known` aside, and links that lead out of it are not there. Files that lie beside themselves as `.br`,
        /// `.zst` or `.gz` are sent so to clients that take it. Beside `upstream` that one answers what is no file.
        FILES files: Option<PathBuf> => "`upstream` answers", FilePath;
        /// What is answered for a folder: the first of these names that is there, or one name. An empty list is none.
        INDEX index: Option<Vec<String>> => "\"index.html\"", FileNames;
        /// File of a single-page app that a browser gets when it goes to a page which is no file. A script or an image that
        /// is not there is 404.
        FALLBACK fallback: Option<String> => "404 for what is no file", FileName;
        /// How long caches keep a file without asking: "1h", "1y", 0s to 10y; or "hashed", for a year and `immutable` where a
        /// hash of the content is in its name, as build tools put it there (`app.3f2a9c1b.js`), and else never. The
        /// `fallback` is asked for each time.
        CACHE cache: Option<Cache> => "no Cache-Control", CacheTime;
        /// Whether nodes see the path without the route's `path`: under "/api" the request for /api/users is one for /users.
        /// The node is told by X-Forwarded-Prefix, and paths in its Location and in the Path of its cookies get the prefix
        /// back, unless it is there already.
        STRIP strip: bool = false, Flag;
        /// Another path for nodes: { prefix = "/v2" } in the place of the route's `path`, or the whole of it, which may hold
        /// variables: "/archive{path}". The query stays.
        REWRITE rewrite: Option<PathEdit> => "nodes see the path as it came", RewritePath;
        /// Header lines that nodes get: { set = { Host = "app.internal" }, add = {}, remove = ["X-Debug"] }. Values may hold
        /// variables; an empty one sends no line.
        REQUEST_HEADERS request_headers: Option<HeaderEdits> => "requests pass as they are", HeaderChanges { of_requests: true };
        /// Header lines that clients get, on every final answer but those to faults: { set = { "Cache-Control" = "no-store" }
        /// }. Values may hold variables; an empty one sends no line.
        RESPONSE_HEADERS response_headers: Option<HeaderEdits> => "answers pass as they are", HeaderChanges { of_requests: false };
        /// Most content of a request; more is answered 413.
        BODY_BYTES_MAX body_bytes_max: Option<Option<u64>> => "what `[limits]` says", OrNone<Size>(Size { least: 0, most: 1 << 50 });
        /// Whether answers are compressed for clients that take it: true, or { codings = ["br", "gzip"], types =
        /// ["application/json"], bytes_min = "1KiB" }, with codings from the best to the worst. Never those of Engine.IO, nor
        /// what is compressed already or says no-transform. Not for pages that show a secret beside what a stranger may
        /// choose: see docs/routes.md.
        COMPRESS compress: Option<Compress> => "false", Compressing;
        /// Whether the access log has its requests; "5%" for a share of them, and all that went wrong: a status from 400 on, or
        /// no whole answer. Counters have them all the same.
        ACCESS_LOG access_log: LogShare = LogShare::ALL, Logged;
        /// Whether each request has an id, which the node and the client get as X-Request-Id, and the access log has. true,
        /// or "trusted": that of a trusted proxy is kept, others are made; "client": anybody's is kept, where it is short and
        /// plain; "new": always made.
        REQUEST_ID request_id: Option<RequestIds> => "none, but where a text of the route has {request_id}, and then as with \"trusted\", sent to nobody", IdsOf;
        /// Whether answers that do not say so themselves say `X-Content-Type-Options: nosniff`, `X-Frame-Options: SAMEORIGIN`
        /// and `Referrer-Policy: strict-origin-when-cross-origin`. X-Powered-By goes no further then.
        SECURE_HEADERS secure_headers: bool = false, Flag;
        /// Strict-Transport-Security of answers over HTTPS that do not say it themselves: "1y", 0s to 10y, or { max_age =
        /// "1y", subdomains = true, preload = true }.
        HSTS hsts: Option<String> => "what the node says", Hsts;
        /// Which pages of other origins may read the answers. Preflights are answered here, and what nodes say of it goes no
        /// further. Origins may have a star for all names under one, "https://*.example.com", or be "*"; credentials are
        /// cookies and the like, and not for "*".
        CORS cors: Option<Cors> => "what the node says", CorsTable;
        /// Addresses and networks of the clients that are answered; all others are told 403. Clients are known after
        /// `trusted_proxies` were believed. Where a route of a host has it, `paths` is "strict" at every route of the host that
        /// does not say.
        ALLOW allow: Option<Vec<IpNet>> => "everybody", Networks;
        /// Addresses and networks of clients that are told 403, though `allow` has them.
        DENY deny: Option<Vec<IpNet>> => "nobody", Networks;
        /// Who may. By a name and a password, of a file as htpasswd makes it: { users = "/etc/tidelock/users", realm = "Staging" };
        /// others are told 401. The node gets Authorization as it came, unless `request_headers` removes it; {user} is the name.
        /// Or by somebody else's word: { ask = "http://auth:4180/verify", copy = ["X-User"] }, whose answer others get, a redirect
        /// to a login for one. See docs/routes.md.
        AUTH auth: Option<Auth> => "everybody", AuthTable;
        /// "any" lets those pass whose address `allow` and `deny` let by, and others if they have a password.
        SATISFY satisfy: Satisfy = Satisfy::All, Word<Satisfy>(&[("all", Satisfy::All), ("any", Satisfy::Any)]);
        /// Another upstream that gets a copy of what a node is asked, and whose answers nobody gets: "shadow", or { upstream =
        /// "shadow", percent = 10, body_bytes_max = "64KiB" }. Not of WebSockets and Engine.IO, whose sessions it does not have.
        /// Nobody waits for a copy: those that find no room are left out and counted.
        MIRROR mirror: Option<Mirror> => "nobody", MirrorTable;
        /// How often something may be asked of it, and by whom: { rate = "10/s", burst = 20, by = "ip" }, or a list of such, all
        /// of which hold. Who asks for more is told 429, and when to come again. Sessions that have begun go on.
        LIMIT limit: Option<Vec<Limit>> => "as often as one likes", Limits;
        /// Whether its requests are answered 503, but for those from the file's `maintenance_allow`.
        MAINTENANCE maintenance: Option<bool> => "as the file says", Flag;
        /// Whether answers of nodes with a status that there is a page for get that page, too. Not for clients that ask for
        /// JSON, nor those of Engine.IO, nor 401, which has to say what it wants.
        INTERCEPT_ERRORS intercept_errors: bool = false, Flag;
        /// Pages as the file has them; these come first.
        ERROR_PAGES error_pages: Option<ErrorPages> => "those of the file", Pages;
    }
    order {
        HOST,
        PATH,
        EXACT,
        REGEX,
        METHODS,
        LISTEN,
        HEADERS,
        QUERY,
        PATHS,
        UPSTREAM,
        SPLIT,
        MIRROR,
        REDIRECT,
        RESPOND,
        FILES,
        INDEX,
        FALLBACK,
        CACHE,
        STRIP,
        REWRITE,
        REQUEST_HEADERS,
        RESPONSE_HEADERS,
        BODY_BYTES_MAX,
        COMPRESS,
        ROUTE_TIMEOUTS,
        ACCESS_LOG,
        REQUEST_ID,
        SECURE_HEADERS,
        HSTS,
        CORS,
        ALLOW,
        DENY,
        AUTH,
        SATISFY,
        LIMIT,
        MAINTENANCE,
        ERROR_PAGES,
        INTERCEPT_ERRORS,
    }
    tables {
        /// What is waited otherwise than at its upstream.
        ROUTE_TIMEOUTS timeouts: OwnTimeouts;
    }
}
