//! Which upstream answers a request. Pure, and read from an index that is made once for each plan.

use std::collections::HashMap;

use config::plan::{HostPattern, Route, UpstreamId};

/// The routes of a plan, by host.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    exact: HashMap<Box<[u8]>, Vec<Path>>,
    /// Longest first; each begins with a dot.
    wildcards: Vec<(Box<[u8]>, Vec<Path>)>,
    any: Vec<Path>,
}

/// Longest first.
#[derive(Debug)]
struct Path {
    prefix: Box<[u8]>,
    upstream: UpstreamId,
}

impl Routes {
    /// Indexes routes that stand in the plan's order, the most specific first.
    pub(crate) fn new(routes: &[Route]) -> Self {
        let mut index = Self::default();
        for route in routes {
            let prefix = route.path.trim_end_matches('/').as_bytes().into();
            let path = Path { prefix, upstream: route.upstream };
            match &route.host {
                HostPattern::Any => index.any.push(path),
                HostPattern::Exact(host) => index.exact.entry(host.as_bytes().into()).or_default().push(path),
                HostPattern::Wildcard(suffix) => {
                    match index.wildcards.iter_mut().find(|(known, _)| **known == *suffix.as_bytes()) {
                        Some((_, paths)) => paths.push(path),
                        None => index.wildcards.push((suffix.as_bytes().into(), vec![path])),
                    }
                }
            }
        }
        index
    }

    /// An exact host beats the longest wildcard, which beats none; then the longest path wins.
    pub(crate) fn find(&self, host: Option<&[u8]>, path: &[u8]) -> Option<UpstreamId> {
        let mut lower = [0; HOST_BYTES_MAX];
        let host = host.and_then(|host| {
            let lower = lower.get_mut(..host.len())?;
            lower.copy_from_slice(host);
            lower.make_ascii_lowercase();
            Some(&*lower)
        });
        let find = |paths: &[Path]| paths.iter().find(|route| route.takes(path)).map(|route| route.upstream);
        let by_host = host.and_then(|host| {
            self.exact.get(host).and_then(|paths| find(paths)).or_else(|| {
                let mut suffixes = self.wildcards.iter();
                suffixes.find_map(|(suffix, paths)| {
                    if host.len() > suffix.len() && host.ends_with(suffix) { find(paths) } else { None }
                })
            })
        });
        by_host.or_else(|| find(&self.any))
    }
}

impl Path {
    fn takes(&self, path: &[u8]) -> bool {
        path.strip_prefix(&*self.prefix)
            .is_some_and(|rest| self.prefix.is_empty() || matches!(rest, [] | [b'/', ..]))
    }
}

/// Longest name of the DNS.
const HOST_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn route(host: HostPattern, path: &str, upstream: usize) -> Route {
        Route { host, path: path.into(), upstream: UpstreamId(upstream) }
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
        let got = routes.find(Some(host.as_bytes()), path.as_bytes()).map(|upstream| upstream.0);
        assert_eq!(got, want, "{host}{path}");
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
}
