//! Which route takes a request. Pure, and read from an index that is made once for each plan. What a request costs does not
//! grow with the number of routes, but for those with a regular expression, and those of one path that tell requests apart by their
//! header lines or query, which are asked one after the other.

use std::collections::HashMap;
use std::sync::Arc;

use config::routing::{HostPattern, Matches, Methods, PathPattern, Pattern, Route};
use wire::path;
use wire::request::RequestHead;

/// The routes of a plan, by host.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    exact: HashMap<Box<[u8]>, Paths>,
    /// By what follows the star, which begins with a dot.
    wildcards: ByLength<Paths>,
    any: Paths,
    /// Whether any route has a path: otherwise nobody looks at that of a request.
    has_paths: bool,
}

/// What routes look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asks<'a> {
    /// Without its port.
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) path: &'a [u8],
    pub(crate) method: &'a [u8],
    /// Of the listen.
    pub(crate) port: u16,
    /// What else it says; routes that look at it take nothing without it.
    pub(crate) head: Option<&'a RequestHead>,
}

/// The routes of one host, by the normal form of their path, prefixes without the slash at their end.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<[u8]>, Choices>,
    /// In the order of the file.
    patterns: Vec<(Pattern, Choices)>,
    prefixes: ByLength<Choices>,
    /// What takes every path. Most hosts have nothing else, and it needs no looking up.
    root: Choices,
}

/// The routes of one path: those first that take some requests alone.
#[derive(Debug, Default)]
struct Choices(Vec<Choice>);

#[derive(Debug)]
struct Choice {
    methods: Methods,
    ports: Box<[u16]>,
    matches: Option<Arc<Matches>>,
    /// Where the route stands in the plan.
    route: usize,
}

/// What is known by the begin or the end of something longer. A plan has few lengths, however many routes it has; one
/// where the longer thing has no border is passed over for the price of a look at one byte.
#[derive(Debug)]
struct ByLength<T> {
    entries: HashMap<Box<[u8]>, T>,
    /// Those that exist, the longest first.
    lengths: Vec<usize>,
}

impl Routes {
    /// Indexes routes that stand in the plan's order, the most specific first.
    pub(crate) fn new(routes: &[Route]) -> Self {
        let mut index = Self::default();
        for (number, route) in routes.iter().enumerate().filter(|(_, route)| !route.is_side) {
            let paths = match &route.host {
                HostPattern::Any => &mut index.any,
                HostPattern::Exact(host) => index.exact.entry(host.as_bytes().into()).or_default(),
                HostPattern::Wildcard(suffix) => index.wildcards.entry(suffix.as_bytes(), Paths::default),
            };
            // As a request's is.
            let choices = match &route.path {
                PathPattern::Exact(exact) => {
                    let exact = path::normal(exact.as_bytes()).into_owned();
                    paths.exact.entry(exact.into()).or_default()
                }
                PathPattern::Regex(pattern) => paths.by_pattern(pattern),
                PathPattern::Prefix(prefix) => {
                    let prefix = path::normal(prefix.as_bytes());
                    match prefix.strip_suffix(b"/").unwrap_or(&prefix) {
                        [] => &mut paths.root,
                        prefix => paths.prefixes.entry(prefix, Choices::default),
                    }
                }
            };
            let ports = route.ports.clone().into();
            let matches = route.matches.clone();
            choices.0.push(Choice { methods: route.methods, ports, matches, route: number });
        }
        let paths = index.exact.values().chain(index.wildcards.entries.values()).chain([&index.any]);
        index.has_paths = paths.into_iter().any(Paths::has_any);
        index
    }

    /// The place in the plan of the route that takes a request. An exact host beats the longest wildcard, which beats none;
    /// then an exact path beats a pattern, and that the longest prefix; then methods and listens beat none.
    pub(crate) fn find(&self, asks: Asks<'_>) -> Option<usize> {
        let normal;
        let path = match !self.has_paths || path::is_plain(asks.path) {
            true => asks.path,
            false => {
                normal = path::normal(asks.path);
                &*normal
            }
        };
        let asks = Asks { path, ..asks };
        // Nearly every file of one app is like this.
        if self.exact.is_empty() && self.wildcards.lengths.is_empty() {
            return self.any.find(asks);
        }
        let mut lower = [0; HOST_BYTES_MAX];
        let host = asks.host.and_then(|host| {
            let lower = lower.get_mut(..host.len())?;
            lower.copy_from_slice(host);
            lower.make_ascii_lowercase();
            Some(&*lower)
        });
        let by_host = host.and_then(|host| {
            self.exact.get(host).and_then(|paths| paths.find(asks)).or_else(|| self.by_wildcard(host, asks))
        });
        by_host.or_else(|| self.any.find(asks))
    }

    fn by_wildcard(&self, host: &[u8], asks: Asks<'_>) -> Option<usize> {
        self.wildcards.find(|entries, length| {
            // The star stands for a name, which is not empty.
            let at = host.len().checked_sub(length).filter(|&at| at > 0 && host[at] == b'.')?;
            entries.get(&host[at..])?.find(asks)
        })
    }
}

impl Paths {
    fn find(&self, asks: Asks<'_>) -> Option<usize> {
        let path = asks.path;
        if !self.has_any() {
            return self.root.find(asks);
        }
        if let Some(found) = self.exact.get(path).and_then(|choices| choices.find(asks)) {
            return Some(found);
        }
        for (pattern, choices) in &self.patterns {
            if let Some(found) = choices.find(asks).filter(|_| pattern.matches(path)) {
                return Some(found);
            }
        }
        let by_prefix = self.prefixes.find(|entries, length| {
            let prefix = path.get(..length).filter(|_| matches!(path[length..], [] | [b'/', ..]))?;
            entries.get(prefix)?.find(asks)
        });
        by_prefix.or_else(|| self.root.find(asks))
    }

    fn by_pattern(&mut self, pattern: &Pattern) -> &mut Choices {
        let at = self.patterns.iter().position(|(known, _)| known == pattern).unwrap_or_else(|| {
            self.patterns.push((pattern.clone(), Choices::default()));
            self.patterns.len() - 1
        });
        &mut self.patterns[at].1
    }

    fn has_any(&self) -> bool {
        !self.exact.is_empty() || !self.patterns.is_empty() || !self.prefixes.entries.is_empty()
    }
}

impl Choices {
    fn find(&self, asks: Asks<'_>) -> Option<usize> {
        let takes = |choice: &&Choice| {
            (choice.ports.is_empty() || choice.ports.contains(&asks.port))
                && choice.methods.contains(asks.method)
                && choice.matches.as_deref().is_none_or(|matches| says(asks.head, matches))
        };
        self.0.iter().find(takes).map(|choice| choice.route)
    }
}

#[cold]
fn says(head: Option<&RequestHead>, Matches { headers, query }: &Matches) -> bool {
    head.is_some_and(|head| {
        headers.iter().all(|line| head.says_header(&line.name, line.value.as_deref()))
            && query.iter().all(|pair| head.says_query(&pair.name, pair.value.as_deref()))
    })
}

impl<T> ByLength<T> {
    /// What is known by `key`; what `new` gives, where nothing was.
    fn entry(&mut self, key: &[u8], new: impl FnOnce() -> T) -> &mut T {
        if let Err(at) = self.lengths.binary_search_by(|length| key.len().cmp(length)) {
            self.lengths.insert(at, key.len());
        }
        self.entries.entry(key.into()).or_insert_with(new)
    }

    /// The first that `look` finds, given each length, the longest first.
    fn find<R>(&self, look: impl Fn(&HashMap<Box<[u8]>, T>, usize) -> Option<R>) -> Option<R> {
        self.lengths.iter().find_map(|&length| look(&self.entries, length))
    }
}

impl<T> Default for ByLength<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), lengths: Vec::new() }
    }
}

/// Longest name of the DNS.
const HOST_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use config::plan::{PathRule, UpstreamId};
    use config::routing::Action;

    use super::*;

    fn route(host: HostPattern, path: &str, upstream: usize) -> Route {
        Route {
            host,
            path: PathPattern::Prefix(path.into()),
            methods: Methods::ALL,
            ports: Vec::new(),
            matches: None,
            paths: PathRule::Lenient,
            action: Action::Upstream(UpstreamId(upstream)),
            edits: None,
            body_bytes_max: None,
            logged: config::routing::LogShare::ALL,
            access: None,
            split: None,
            is_side: false,
            mirror: None,
            auth: None,
            satisfy: config::routing::Satisfy::All,
            limits: std::sync::Arc::default(),
            maintenance: None,
            error_pages: None,
            is_straight: true,
            number: upstream + 1,
        }
    }

    /// The upstream of the route that takes a GET.
    fn find(routes: &[Route], host: Option<&str>, path: &str) -> Option<usize> {
        find_by(routes, host, path, "GET", 80)
    }

    fn find_by(routes: &[Route], host: Option<&str>, path: &str, method: &str, port: u16) -> Option<usize> {
        let index = Routes::new(routes);
        let (host, path, method) = (host.map(str::as_bytes), path.as_bytes(), method.as_bytes());
        let found = index.find(Asks { host, path, method, port, head: None })?;
        routes[found].action.upstream().map(|id| id.0)
    }

    fn check(host: &str, path: &str, want: Option<usize>) {
        let routes = [
            route(HostPattern::Exact("a.example.com".into()), "/chat", 0),
            route(HostPattern::Exact("a.example.com".into()), "/", 1),
            route(HostPattern::Exact("b.example.com".into()), "/only/", 2),
            route(HostPattern::Wildcard(".deep.example.com".into()), "/", 3),
            route(HostPattern::Wildcard(".example.com".into()), "/", 4),
            route(HostPattern::Any, "/any", 5),
        ];
        assert_eq!(find(&routes, Some(host), path), want, "{host}{path}");
    }

    #[test]
    fn every_spelling_of_a_path_takes_its_route() {
        for path in [
            "/%63hat",
            "//chat",
            "/x/../chat",
            "/x/%2e%2e/%63hat/x",
            "/chat/.",
            "/./chat",
            "/../chat",
            "//only/..//chat",
        ] {
            check("a.example.com", path, Some(0));
        }
        // What nodes disagree on is what it says.
        for path in
            ["/x/..%2fchat", "/chat%2fx", "/%2fchat", "/chat%00", "/%2563hat", "/chat/..", "/chat/../x"]
        {
            check("a.example.com", path, Some(1));
        }
        // As the file may have written it.
        let routes = [
            route(HostPattern::Any, "/%7euser", 0),
            route(HostPattern::Any, "/caf%c3%a9", 1),
            route(HostPattern::Any, "/a%2fb", 2),
            route(HostPattern::Any, "//a//c", 3),
        ];
        for (path, want) in
            [("/~user/x", 0), ("/%7Euser", 0), ("/caf%C3%A9", 1), ("/a%2Fb", 2), ("/a/c/d", 3)]
        {
            assert_eq!(find(&routes, None, path), Some(want), "{path}");
        }
    }

    #[test]
    fn the_most_specific_wins() {
        check("a.example.com", "/chat", Some(0));
        check("A.Example.COM", "/chat/x", Some(0));
        check("a.example.com", "/chatter", Some(1));
        check("a.example.com", "/", Some(1));
        check("b.example.com", "/only", Some(2));
        check("b.example.com", "/only/x", Some(2));
        check("b.example.com", "/else", Some(4));
        check("x.deep.example.com", "/", Some(3));
        check("x.y.example.com", "/", Some(4));
        check("example.com", "/", None);
        check("example.com", "/any/x", Some(5));
        check("other", "/any", Some(5));
        check("other", "/anyone", None);
    }

    fn written(route: &Route) -> &str {
        match &route.path {
            PathPattern::Prefix(path) => path,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_exact_path_beats_a_pattern_and_that_a_prefix() {
        let mut dice = [route(HostPattern::Any, "/a", 0), route(HostPattern::Any, "/", 1)].to_vec();
        let pattern = |regex: &str, upstream| Route {
            path: PathPattern::Regex(Pattern::new(regex).unwrap()),
            ..route(HostPattern::Any, "/", upstream)
        };
        dice.splice(
            0..0,
            [
                Route { path: PathPattern::Exact("/a/x.js".into()), ..route(HostPattern::Any, "/", 2) },
                Route { methods: Methods::of(["POST"]).unwrap(), ..pattern(r".*\.js", 3) },
                pattern(r".*\.js", 4),
                pattern("/a/.*", 5),
                Route { ports: vec![443], ..route(HostPattern::Any, "/", 6) },
            ],
        );
        for (path, method, port, want) in [
            ("/a/x.js", "POST", 80, 2),
            ("/a/%78.js", "GET", 80, 2),
            ("/a/x.js/", "GET", 80, 5),
            ("/b/y.js", "POST", 80, 3),
            ("/b/y.js", "GET", 80, 4),
            ("/a/y.css", "GET", 80, 5),
            ("/a", "GET", 443, 0),
            ("/", "GET", 443, 6),
            ("/", "GET", 80, 1),
        ] {
            assert_eq!(find_by(&dice, None, path, method, port), Some(want), "{method} {path} {port}");
        }
    }

    /// The definition: of routes in the plan's order, the first that takes the request.
    fn first_that_takes(routes: &[Route], host: &str, path: &str) -> Option<usize> {
        let takes_host = |pattern: &HostPattern| match pattern {
            HostPattern::Any => true,
            HostPattern::Exact(name) => name == host,
            HostPattern::Wildcard(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        };
        let path = path::normal(path.as_bytes());
        let takes_path = |written: &str| {
            let prefix = written.trim_end_matches('/');
            let rest = path.strip_prefix(prefix.as_bytes());
            rest.is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with(b"/"))
        };
        let first = routes.iter().find(|route| takes_host(&route.host) && takes_path(written(route)));
        first.and_then(|route| route.action.upstream()).map(|id| id.0)
    }

    #[test]
    fn the_index_finds_what_a_walk_along_all_routes_finds() {
        let mut dice = fastrand::Rng::with_seed(1);
        for _ in 0..2_000 {
            // Few words, so that hosts and paths often share parts.
            let name = |dice: &mut fastrand::Rng| {
                let labels: Vec<_> =
                    (0..dice.usize(1..5)).map(|_| ["a", "bb", "c"][dice.usize(..3)]).collect();
                labels.join(".")
            };
            let sent = |dice: &mut fastrand::Rng| {
                let segments = (0..dice.usize(..4)).map(|_| ["/x", "/yy", "/x-", "/"][dice.usize(..4)]);
                segments.collect::<String>()
            };
            let mut routes: Vec<_> = (0..dice.usize(..30))
                .map(|number| {
                    let host = match dice.usize(..3) {
                        0 => HostPattern::Any,
                        1 => HostPattern::Exact(name(&mut dice)),
                        _ => HostPattern::Wildcard(format!(".{}", name(&mut dice))),
                    };
                    // As the file's paths are read, and compared.
                    let path = sent(&mut dice);
                    let path = String::from_utf8_lossy(&path::normal(path.as_bytes())).into_owned();
                    let trimmed = path.trim_end_matches('/');
                    route(host, if trimmed.is_empty() { "/" } else { trimmed }, number)
                })
                .collect();
            routes.sort_by_key(|route| {
                let (rank, bytes) = match &route.host {
                    HostPattern::Exact(_) => (0, 0),
                    HostPattern::Wildcard(suffix) => (1, suffix.len()),
                    HostPattern::Any => (2, 0),
                };
                (rank, Reverse(bytes), Reverse(written(route).len()))
            });
            for _ in 0..20 {
                let (host, path) = (name(&mut dice), sent(&mut dice));
                assert_eq!(
                    find(&routes, Some(&host), &path),
                    first_that_takes(&routes, &host, &path),
                    "{host}{path} of {routes:#?}"
                );
            }
        }
    }
}
