//! Which upstream answers a request. Pure, and read from an index that is made once for each plan. What a request costs
//! does not grow with the number of routes.

use std::collections::HashMap;

use config::plan::{HostPattern, PathRule, Route, UpstreamId};
use wire::path;

/// The routes of a plan, by host.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    exact: HashMap<Box<[u8]>, Paths>,
    /// By what follows the star, which begins with a dot.
    wildcards: ByLength<Paths>,
    any: Paths,
    /// Whether any route has a path: otherwise nobody looks at that of a request.
    has_prefixes: bool,
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) upstream: UpstreamId,
    pub(crate) paths: PathRule,
}

/// The routes of one host, by the normal form of their path without the slash at its end.
#[derive(Debug, Default)]
struct Paths {
    prefixes: ByLength<Found>,
    /// What takes every path. Most hosts have nothing else, and it needs no looking up.
    root: Option<Found>,
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
        for route in routes {
            let paths = match &route.host {
                HostPattern::Any => &mut index.any,
                HostPattern::Exact(host) => index.exact.entry(host.as_bytes().into()).or_default(),
                HostPattern::Wildcard(suffix) => index.wildcards.entry(suffix.as_bytes(), Paths::default),
            };
            let found = Found { upstream: route.upstream, paths: route.paths };
            // As a request's is.
            let path = path::normal(route.path.as_bytes());
            match path.strip_suffix(b"/").unwrap_or(&path) {
                [] => _ = paths.root.get_or_insert(found),
                prefix => {
                    paths.prefixes.entry(prefix, || found);
                    index.has_prefixes = true;
                }
            }
        }
        index
    }

    /// An exact host beats the longest wildcard, which beats none; then the longest path wins.
    pub(crate) fn find(&self, host: Option<&[u8]>, path: &[u8]) -> Option<Found> {
        let normal;
        let path = match !self.has_prefixes || path::is_plain(path) {
            true => path,
            false => {
                normal = path::normal(path);
                &*normal
            }
        };
        let mut lower = [0; HOST_BYTES_MAX];
        let host = host.and_then(|host| {
            let lower = lower.get_mut(..host.len())?;
            lower.copy_from_slice(host);
            lower.make_ascii_lowercase();
            Some(&*lower)
        });
        let by_host = host.and_then(|host| {
            self.exact.get(host).and_then(|paths| paths.find(path)).or_else(|| self.by_wildcard(host, path))
        });
        by_host.or_else(|| self.any.find(path))
    }

    fn by_wildcard(&self, host: &[u8], path: &[u8]) -> Option<Found> {
        self.wildcards.find(|entries, length| {
            // The star stands for a name, which is not empty.
            let at = host.len().checked_sub(length).filter(|&at| at > 0 && host[at] == b'.')?;
            entries.get(&host[at..])?.find(path)
        })
    }
}

impl Paths {
    fn find(&self, path: &[u8]) -> Option<Found> {
        let by_prefix = self.prefixes.find(|entries, length| {
            let prefix = path.get(..length).filter(|_| matches!(path[length..], [] | [b'/', ..]))?;
            entries.get(prefix).copied()
        });
        by_prefix.or(self.root)
    }
}

impl<T> ByLength<T> {
    /// What is known by `key`, which is what was there first.
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

    use super::*;

    fn route(host: HostPattern, path: &str, upstream: usize) -> Route {
        Route { host, path: path.into(), paths: PathRule::Lenient, upstream: UpstreamId(upstream) }
    }

    fn check(host: &str, path: &str, want: Option<usize>) {
        let routes = Routes::new(&[
            route(HostPattern::Exact("a.example.com".into()), "/chat", 0),
            route(HostPattern::Exact("a.example.com".into()), "/", 1),
            route(HostPattern::Exact("b.example.com".into()), "/only/", 2),
            route(HostPattern::Wildcard(".deep.example.com".into()), "/", 3),
            route(HostPattern::Wildcard(".example.com".into()), "/", 4),
            route(HostPattern::Any, "/any", 5),
        ]);
        let got = routes.find(Some(host.as_bytes()), path.as_bytes()).map(|found| found.upstream.0);
        assert_eq!(got, want, "{host}{path}");
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
        let routes = Routes::new(&[
            route(HostPattern::Any, "/%7euser", 0),
            route(HostPattern::Any, "/caf%c3%a9", 1),
            route(HostPattern::Any, "/a%2fb", 2),
            route(HostPattern::Any, "//a//c", 3),
        ]);
        for (path, want) in
            [("/~user/x", 0), ("/%7Euser", 0), ("/caf%C3%A9", 1), ("/a%2Fb", 2), ("/a/c/d", 3)]
        {
            let got = routes.find(None, path.as_bytes()).map(|found| found.upstream.0);
            assert_eq!(got, Some(want), "{path}");
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
        let first = routes.iter().find(|route| takes_host(&route.host) && takes_path(&route.path));
        first.map(|route| route.upstream.0)
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
                (rank, Reverse(bytes), Reverse(route.path.len()))
            });
            let index = Routes::new(&routes);
            for _ in 0..20 {
                let (host, path) = (name(&mut dice), sent(&mut dice));
                let got = index.find(Some(host.as_bytes()), path.as_bytes()).map(|found| found.upstream.0);
                assert_eq!(got, first_that_takes(&routes, &host, &path), "{host}{path} of {routes:#?}");
            }
        }
    }
}
