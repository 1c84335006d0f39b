//! The keys of `[[route]]`.

use crate::file::declared::{Key, Optional, Or, Section, Shape, Sub};
use crate::file::hosts::RoutePath;
use crate::file::kinds::route::{
    CacheTime, ExactPath, FileName, FileNames, HeaderChanges, ListenAddresses, MethodNames, PathRegex,
    RedirectTo, RespondWith, RewritePath, RouteHosts,
};
use crate::file::kinds::{FilePath, Flag, Name, OrNone, Size, Word};
use crate::plan::PathRule;

pub(crate) static ROUTE: Sub = Sub {
    name: "route",
    shape: Shape::Many,
    section: &Section {
        doc: "What answers which requests: one of `upstream`, `files`, `redirect` and `respond`, or `files` with an \
              `upstream` for what is no file. An exact host beats the longest \
              wildcard, which beats none. Of a host's routes `exact` beats `regex`, of which the first in the file wins, \
              and `regex` beats `path`, of which the longest wins; then a route with `methods` beats one without. \
              Requests that match no route get 404. `tidelock check --explain URL` says which one it is.",
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
            &ACCESS_LOG,
        ],
        later: &[],
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
          decoded, but for those of slash, backslash, NUL and percent sign, slashes merged and dot segments resolved.",
};
pub(crate) static EXACT: Key<ExactPath, Optional> = Key {
    name: "exact",
    kind: ExactPath,
    absent: Optional("`path` decides"),
    doc: "This path and no other, in the place of `path`. A slash at its end makes a difference.",
};
pub(crate) static REGEX: Key<PathRegex, Optional> = Key {
    name: "regex",
    kind: PathRegex,
    absent: Optional("`path` decides"),
    doc: "Regular expression that the whole path matches, in the place of `path`: '/assets/.*\\.(js|css)'. In the words \
          of the Rust crate `regex`: no back references, no looking around, `(?i)` in front for either case. Its groups \
          are the variables {1} to {9}, or {name} for `(?P<name>…)`.",
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
          escape, a backslash, an escape that is none, dot segments that lead above the root or have a parameter.",
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
    doc: "Sends the client elsewhere: { host = \"example.com\", status = 301 } replaces parts of the URL, and \
          \"https://example.com{uri}\" is the whole of it, with status 302. Values may hold variables.",
};
pub(crate) static RESPOND: Key<RespondWith, Optional> = Key {
    name: "respond",
    kind: RespondWith,
    absent: Optional("`upstream` answers"),
    doc: "Answers by itself: a status, or { status = 200, text = \"ok\" }.",
};
pub(crate) static FILES: Key<FilePath, Optional> = Key {
    name: "files",
    kind: FilePath,
    absent: Optional("`upstream` answers"),
    doc: "Folder whose files are answers. Relative to the folder of this file. Files and folders whose names begin with a \
          dot, `.well-known` aside, and links that lead out of it are not there. Beside `upstream` that one answers what is \
          no file.",
};
pub(crate) static INDEX: Key<FileNames, Optional> = Key {
    name: "index",
    kind: FileNames,
    absent: Optional("\"index.html\""),
    doc: "What is answered for a folder: the first of these names that is there. An empty list is none.",
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
    doc: "How long caches keep a file without asking: \"1h\", \"1y\"; or \"hashed\", for a year and `immutable` where a hash \
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
          hold variables: \"/archive/{1}\". The query stays.",
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
pub(crate) static ACCESS_LOG: Key<Flag, Or<bool>> = Key {
    name: "access_log",
    kind: Flag,
    absent: Or(true),
    doc: "Whether the access log has its requests. Counters have them all the same.",
};
