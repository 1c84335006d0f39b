//! The keys of `[[route]]`.

use super::timeouts::ROUTE_TIMEOUTS;
use crate::file::declared::{Key, Optional, Or, Section, Shape, Sub};
use crate::file::kinds::compress::Compressing;
use crate::file::kinds::hosts::RoutePath;
use crate::file::kinds::pages::Pages;
use crate::file::kinds::paths::FilePath;
use crate::file::kinds::policy::{CorsTable, Hsts, IdsOf, Networks};
use crate::file::kinds::route::folder::{CacheTime, FileName, FileNames};
use crate::file::kinds::route::header_changes::HeaderChanges;
use crate::file::kinds::route::redirect::RedirectTo;
use crate::file::kinds::route::respond::RespondWith;
use crate::file::kinds::route::rewrite::RewritePath;
use crate::file::kinds::route::{ExactPath, ListenAddresses, MethodNames, PathRegex, RouteHosts};
use crate::file::kinds::{Flag, Name, OrNone, Size, Word};
use crate::routing::PathRule;

pub(crate) static ROUTE: Sub = Sub {
    name: "route",
    shape: Shape::Many,
    section: &Section {
        doc: "What answers which requests: one of `upstream`, `files`, `redirect` and `respond`, or `files` with an \
              `upstream` for what is no file. At least one route. An exact host beats the longest \
              wildcard, which beats none. Of a host's routes `exact` beats `regex`, of which the first in the file wins, \
              and `regex` beats `path`, of which the longest wins; then a route with `methods` or `listen` beats one without. \
              Requests that match no route get 404. See docs/routes.md.",
        keys: &[
            &HOST,
            &PATH,
            &EXACT,
            &REGEX,
            &METHODS,
            &LISTEN,
            &PATHS,
            &UPSTREAM,
            &REDIRECT,
            &RESPOND,
            &FILES,
            &INDEX,
            &FALLBACK,
            &CACHE,
            &STRIP,
            &REWRITE,
            &REQUEST_HEADERS,
            &RESPONSE_HEADERS,
            &BODY_BYTES_MAX,
            &COMPRESS,
            &ROUTE_TIMEOUTS,
            &ACCESS_LOG,
            &REQUEST_ID,
            &SECURE_HEADERS,
            &HSTS,
            &CORS,
            &ALLOW,
            &DENY,
            &MAINTENANCE,
            &ERROR_PAGES,
            &INTERCEPT_ERRORS,
        ],
    },
};
pub(crate) static HOST: Key<RouteHosts, Optional> = Key {
    name: "host",
    kind: RouteHosts,
    absent: Optional("every host"),
    doc: "\"api.example.com\", or \"*.example.com\" for every name under it, or a list of such.",
};
pub(crate) static PATH: Key<RoutePath, Optional> = Key {
    name: "path",
    kind: RoutePath,
    absent: Optional("\"/\", every path"),
    doc: "Prefix of the path on segment borders: \"/chat\" takes \"/chat\" and \"/chat/x\", not \"/chatter\". A \
          slash at its end makes no difference. Compared with the path of the request in its normal form: escapes \
          decoded, but for those of slash, backslash, NUL and percent sign, slashes merged and dot segments resolved. The node \
          gets what was sent.",
};
pub(crate) static EXACT: Key<ExactPath, Optional> = Key {
    name: "exact",
    kind: ExactPath,
    absent: Optional("`path` decides"),
    doc: "In the place of `path`: this path and no other. A slash at its end makes a difference.",
};
pub(crate) static REGEX: Key<PathRegex, Optional> = Key {
    name: "regex",
    kind: PathRegex,
    absent: Optional("`path` decides"),
    doc: "In the place of `path`: a regular expression that the whole path matches, '/assets/.*\\.(js|css)'. In the words \
          of the Rust crate `regex`: no back references, no looking around, `(?i)` in front for either case. Its groups \
          are the variables {1} to {9}, or {name} for `(?P<name>…)`. At most 1 MiB when compiled.",
};
pub(crate) static METHODS: Key<MethodNames, Optional> = Key {
    name: "methods",
    kind: MethodNames,
    absent: Optional("every method"),
    doc: "Methods it takes: [\"GET\", \"POST\"]. GET stands for HEAD, too. Others go on to the next route.",
};
pub(crate) static LISTEN: Key<ListenAddresses, Optional> = Key {
    name: "listen",
    kind: ListenAddresses,
    absent: Optional("every listen"),
    doc: "Addresses of the `[[listen]]`s it holds for, as they are written there. Told apart by their ports.",
};
pub(crate) static PATHS: Key<Word<PathRule>, Or<PathRule>> = Key {
    name: "paths",
    kind: Word(&[("lenient", PathRule::Lenient), ("strict", PathRule::Strict)]),
    absent: Or(PathRule::Lenient),
    doc: "\"strict\" answers 400 to paths on whose meaning nodes may disagree: a slash, a backslash or a NUL in an \
          escape, a backslash, an escape that is none, dot segments that lead above the root or have a parameter. Left out, it is \"strict\" \
          where a route of the same host answers 401 or 403 by `respond`, or has `allow` or `deny`.",
};
pub(crate) static UPSTREAM: Key<Name, Optional> = Key {
    name: "upstream",
    kind: Name,
    absent: Optional("`files`, `redirect` or `respond` says what becomes of a request"),
    doc: "The NAME of an `[upstream.NAME]`, a node of which answers.",
};
pub(crate) static REDIRECT: Key<RedirectTo, Optional> = Key {
    name: "redirect",
    kind: RedirectTo,
    absent: Optional("`upstream` answers"),
    doc: "In the place of `upstream`: sends the client elsewhere. { host = \"example.com\", status = 301 } replaces parts of \
          the URL; \"https://example.com{uri}\", or `to`, is the whole of it. The status is 301, 302, unless another is said, \
          303, 307 or 308. Values may hold variables: see docs/routes.md.",
};
pub(crate) static RESPOND: Key<RespondWith, Optional> = Key {
    name: "respond",
    kind: RespondWith,
    absent: Optional("`upstream` answers"),
    doc: "In the place of `upstream`: answers by itself. A status, 200 to 599, or { status = 200, text = \"ok\" }. 444 closes the \
          connection. `file = \"robots.txt\"` in the place of `text` is the body as it is, up to 1 MiB.",
};
pub(crate) static FILES: Key<FilePath, Optional> = Key {
    name: "files",
    kind: FilePath,
    absent: Optional("`upstream` answers"),
    doc: "Folder whose files are answers. Relative to the folder of this file. Files and folders whose names begin with a \
          dot, `.well-known` aside, and links that lead out of it are not there. Files that lie beside themselves as `.br`, \
          `.zst` or `.gz` are sent so to clients that take it. Beside `upstream` that one answers what is no file.",
};
pub(crate) static INDEX: Key<FileNames, Optional> = Key {
    name: "index",
    kind: FileNames,
    absent: Optional("\"index.html\""),
    doc: "What is answered for a folder: the first of these names that is there, or one name. An empty list is none.",
};
pub(crate) static FALLBACK: Key<FileName, Optional> = Key {
    name: "fallback",
    kind: FileName,
    absent: Optional("404 for what is no file"),
    doc: "File of a single-page app that a browser gets when it goes to a page which is no file. A script or an image that \
          is not there is 404.",
};
pub(crate) static CACHE: Key<CacheTime, Optional> = Key {
    name: "cache",
    kind: CacheTime,
    absent: Optional("no Cache-Control"),
    doc: "How long caches keep a file without asking: \"1h\", \"1y\", 0s to 10y; or \"hashed\", for a year and `immutable` where a hash \
          of the content is in its name, as build tools put it there (`app.3f2a9c1b.js`), and else never. The `fallback` is \
          asked for each time.",
};
pub(crate) static STRIP: Key<Flag, Or<bool>> = Key {
    name: "strip",
    kind: Flag,
    absent: Or(false),
    doc: "Whether nodes see the path without the route's `path`: under \"/api\" the request for /api/users is one for \
          /users. The node is told by X-Forwarded-Prefix, and paths in its Location and in the Path of its cookies get \
          the prefix back, unless it is there already.",
};
pub(crate) static REWRITE: Key<RewritePath, Optional> = Key {
    name: "rewrite",
    kind: RewritePath,
    absent: Optional("nodes see the path as it came"),
    doc: "Another path for nodes: { prefix = \"/v2\" } in the place of the route's `path`, or the whole of it, which may \
          hold variables: \"/archive{path}\". The query stays.",
};
pub(crate) static REQUEST_HEADERS: Key<HeaderChanges, Optional> = Key {
    name: "request_headers",
    kind: HeaderChanges { of_requests: true },
    absent: Optional("requests pass as they are"),
    doc: "Header lines that nodes get: { set = { Host = \"app.internal\" }, add = {}, remove = [\"X-Debug\"] }. Values may \
          hold variables; an empty one sends no line.",
};
pub(crate) static RESPONSE_HEADERS: Key<HeaderChanges, Optional> = Key {
    name: "response_headers",
    kind: HeaderChanges { of_requests: false },
    absent: Optional("answers pass as they are"),
    doc: "Header lines that clients get, on every final answer but those to faults: \
          { set = { \"Cache-Control\" = \"no-store\" } }. Values may hold variables; an empty one sends no line.",
};
pub(crate) static BODY_BYTES_MAX: Key<OrNone<Size>, Optional> = Key {
    name: "body_bytes_max",
    kind: OrNone(Size { least: 0, most: 1 << 50 }),
    absent: Optional("what `[limits]` says"),
    doc: "Most content of a request; more is answered 413.",
};
pub(crate) static COMPRESS: Key<Compressing, Optional> = Key {
    name: "compress",
    kind: Compressing,
    absent: Optional("false"),
    doc: "Whether answers are compressed for clients that take it: true, or { codings = [\"br\", \"gzip\"], \
          types = [\"application/json\"], bytes_min = \"1KiB\" }, with codings from the best to the worst. Never those of Engine.IO, nor what is compressed already or \
          says no-transform. Not for pages that show a secret beside what a stranger may choose: see docs/routes.md.",
};
pub(crate) static ACCESS_LOG: Key<Flag, Or<bool>> = Key {
    name: "access_log",
    kind: Flag,
    absent: Or(true),
    doc: "Whether the access log has its requests. Counters have them all the same.",
};
pub(crate) static REQUEST_ID: Key<IdsOf, Optional> = Key {
    name: "request_id",
    kind: IdsOf,
    absent: Optional(
        "none, but where a text of the route has {request_id}, and then as with \"trusted\", sent to nobody",
    ),
    doc: "Whether each request has an id, which the node and the client get as X-Request-Id, and the access log has. true, or \
          \"trusted\": that of a trusted proxy is kept, others are made; \"client\": anybody's is kept, where it is short and \
          plain; \"new\": always made.",
};
pub(crate) static SECURE_HEADERS: Key<Flag, Or<bool>> = Key {
    name: "secure_headers",
    kind: Flag,
    absent: Or(false),
    doc: "Whether answers that do not say so themselves say `X-Content-Type-Options: nosniff`, `X-Frame-Options: SAMEORIGIN` \
          and `Referrer-Policy: strict-origin-when-cross-origin`. X-Powered-By goes no further then.",
};
pub(crate) static HSTS: Key<Hsts, Optional> = Key {
    name: "hsts",
    kind: Hsts,
    absent: Optional("what the node says"),
    doc: "Strict-Transport-Security of answers over HTTPS that do not say it themselves: \"1y\", 0s to 10y, or \
          { max_age = \"1y\", subdomains = true, preload = true }.",
};
pub(crate) static CORS: Key<CorsTable, Optional> = Key {
    name: "cors",
    kind: CorsTable,
    absent: Optional("what the node says"),
    doc: "Which pages of other origins may read the answers. Preflights are answered here, and what nodes say of it goes no \
          further. Origins may have a star for all names under one, \"https://*.example.com\", or be \"*\"; credentials are \
          cookies and the like, and not for \"*\".",
};
pub(crate) static ALLOW: Key<Networks, Optional> = Key {
    name: "allow",
    kind: Networks,
    absent: Optional("everybody"),
    doc: "Addresses and networks of the clients that are answered; all others are told 403. Clients are known after `trusted_proxies` \
          were believed. Where a route of a host has it, `paths` is \"strict\" at every route of the host that does not say.",
};
pub(crate) static DENY: Key<Networks, Optional> = Key {
    name: "deny",
    kind: Networks,
    absent: Optional("nobody"),
    doc: "Addresses and networks of clients that are told 403, though `allow` has them.",
};
pub(crate) static MAINTENANCE: Key<Flag, Optional> = Key {
    name: "maintenance",
    kind: Flag,
    absent: Optional("as the file says"),
    doc: "Whether its requests are answered 503, but for those from the file's `maintenance_allow`.",
};
pub(crate) static INTERCEPT_ERRORS: Key<Flag, Or<bool>> = Key {
    name: "intercept_errors",
    kind: Flag,
    absent: Or(false),
    doc: "Whether answers of nodes with a status that there is a page for get that page, too. Not for clients that ask for JSON, \
          nor those of Engine.IO, nor 401, which has to say what it wants.",
};
pub(crate) static ERROR_PAGES: Key<Pages, Optional> = Key {
    name: "error_pages",
    kind: Pages,
    absent: Optional("those of the file"),
    doc: "Pages as the file has them; these come first.",
};
