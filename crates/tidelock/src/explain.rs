//! `tidelock check --explain URL`: which route answers a request, and why no other does.

use config::plan::{Listen, Plan, Scheme};
use config::routing::{
    Action, Auth, HostPattern, LimitKey, Match, Matches, Methods, PathPattern, Probe, Rate, Respond, Route,
    Satisfy,
};
use proxy::{Imagined, Says, Taken};

/// A URL in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    written: String,
    host: String,
    port: u16,
    path: String,
    query: String,
}

impl std::str::FromStr for Url {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let wanted = || "write it whole: https://example.com/path".to_owned();
        let (scheme, rest) = written.split_once("://").ok_or_else(wanted)?;
        let usual = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return Err(format!("\"{scheme}\" is not spoken here; {}", wanted())),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, behind) = rest.split_at(end);
        let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| is_port(port)) {
            Some((host, "")) => (host, usual),
            Some((host, port)) => (host, port.parse().map_err(|_| format!("there is no port {port}"))?),
            None => (authority, usual),
        };
        if host.is_empty() || host.contains('@') {
            return Err(wanted());
        }
        let behind = behind.split('#').next().unwrap_or_default();
        let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
        let path = if path.is_empty() { "/" } else { path };
        let host = host.trim_end_matches('.').to_owned();
        Ok(Self { written: written.to_owned(), host, port, path: path.to_owned(), query: query.to_owned() })
    }
}

/// What becomes of a request for `url`, in lines.
pub(crate) fn explain(plan: &Plan, url: &Url, method: &str, lines: &[String]) -> String {
    let Some(says) = Says::new(&url.query, lines) else {
        return "no request has such header lines: write each as \"Name: value\"\n".to_owned();
    };
    let asked = Imagined { host: &url.host, path: &url.path, method, port: url.port, says };
    let mut told = format!("{method} {}\n", url.written);
    for line in lines {
        told += &format!("  with {line}\n");
    }
    let on_port: Vec<&Listen> =
        plan.listens.iter().filter(|listen| [url.port, 0].contains(&listen.address.port())).collect();
    if on_port.is_empty() {
        let ports = plan.listens.iter().map(|listen| listen.address.port().to_string());
        let ports = ports.collect::<Vec<_>>().join(", ");
        told += &format!("  nothing listens on port {}, there is {ports}; if it did:\n", url.port);
    }
    if !on_port.is_empty()
        && on_port.iter().all(|listen| matches!(listen.scheme, Scheme::RedirectToHttps { .. }))
    {
        return told + "  is answered 308 by its listen, which sends everything to https\n";
    }
    let normal = asked.normal_path();
    if normal != url.path {
        told += &format!("  is decided by the path {normal:?}\n");
    }
    let found = match asked.taken(plan) {
        Taken::By(found) => {
            told += &format!(
                "  is taken by {}: {}\n",
                shown(&plan.routes[found]),
                does(&plan.routes[found], plan)
            );
            told += &guards(&plan.routes[found]);
            found
        }
        Taken::RefusedBy(found) => {
            told += &format!(
                "  is refused with 400 by {}: nodes may disagree on what that path means\n",
                shown(&plan.routes[found])
            );
            found
        }
        Taken::ByNone => {
            told += "  is taken by no route: 404\n";
            let misses = plan.routes.iter().filter_map(|route| Some((route, missed_by(route, &asked)?)));
            for (route, why) in misses {
                told += &format!("  {} would take it, but {why}\n", shown(route));
            }
            return told;
        }
    };
    let winner = &plan.routes[found];
    let others = plan.routes.iter().enumerate().filter(|(at, route)| *at != found && asked.fits(route));
    for (_, other) in others {
        told += &format!("  {} would take it, too, but {}\n", shown(other), why_behind(winner, other));
    }
    told
}

/// A route by its place in the file, and what it takes.
fn shown(route: &Route) -> String {
    let mut parts = Vec::new();
    match &route.host {
        HostPattern::Any => {}
        HostPattern::Exact(host) => parts.push(format!("host = {host:?}")),
        HostPattern::Wildcard(suffix) => parts.push(format!("host = {:?}", format!("*{suffix}"))),
    }
    match &route.path {
        PathPattern::Exact(path) => parts.push(format!("exact = {path:?}")),
        PathPattern::Regex(pattern) => parts.push(format!("regex = '{}'", pattern.written())),
        PathPattern::Prefix(path) => parts.push(format!("path = {path:?}")),
    }
    if let Some(matches) = &route.matches {
        let one = |Match { name, value }: &Match| match value {
            Some(value) => format!("{name} = {value:?}"),
            None => format!("{name} = true"),
        };
        for (key, all) in [("headers", &matches.headers), ("query", &matches.query)] {
            let listed = all.iter().map(one).collect::<Vec<_>>().join(", ");
            parts.extend((!all.is_empty()).then(|| format!("{key} = {{ {listed} }}")));
        }
    }
    format!("route {} ({})", route.number, parts.join(", "))
}

fn does(route: &Route, plan: &Plan) -> String {
    let upstream = |number: config::plan::UpstreamId| {
        plan.upstreams.get(number.0).map_or("", |upstream| &*upstream.name).to_owned()
    };
    let what = match &route.action {
        Action::Upstream(_) if route.split.is_some() => {
            let sides = route.split.iter().flat_map(|split| &split.sides);
            let sides = sides.map(|share| format!("{:?} ({})", share.name, share.weight));
            format!("a node of one of the upstreams {} answers", sides.collect::<Vec<_>>().join(", "))
        }
        Action::Upstream(number) => format!("a node of upstream \"{}\" answers", upstream(*number)),
        Action::Files(files) => {
            let or = files.upstream.map(|number| format!(", or else upstream \"{}\"", upstream(number)));
            format!("a file under {} answers{}", files.folder.display(), or.unwrap_or_default())
        }
        Action::Redirect(redirect) => format!("it is sent elsewhere with {}", redirect.status),
        Action::Respond(respond) => match &**respond {
            Respond::Written(answer) => format!("it is answered {}", answer.status),
            Respond::Probe(Probe::Health) => "it is answered 200".to_owned(),
            Respond::Probe(Probe::Ready) => {
                "it is answered 200, or 503 when tidelock is not ready".to_owned()
            }
        },
    };
    match &route.maintenance {
        None => what,
        Some(_) => format!("{what}, but in maintenance it is 503 for all but `maintenance_allow`"),
    }
}

/// What stands before the answer, a line each.
fn guards(route: &Route) -> String {
    let mut said = Vec::new();
    if let Some(access) = &route.access {
        let list = |networks: &[ipnet::IpNet]| {
            networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        if !access.allow.is_empty() {
            said.push(format!("403 for all clients but {}", list(&access.allow)));
        }
        if !access.deny.is_empty() {
            said.push(format!("403 for {}", list(&access.deny)));
        }
    }
    if let Some(Auth::Users(users)) = &route.auth {
        let or = if route.satisfy == Satisfy::Any { ", or an address that may" } else { "" };
        said.push(format!("401 without the password of one of {} users{or}", users.count()));
    }
    if let Some(Auth::Ask(ask)) = &route.auth {
        let or = if route.satisfy == Satisfy::Any { ", or an address that may" } else { "" };
        said.push(format!("{}{} is asked whether it may pass{or}", ask.origin, ask.path));
    }
    for limit in route.limits.iter() {
        let by = match &limit.by {
            LimitKey::Of(key) => format!("for each {key}"),
            LimitKey::All => "for all clients together".to_owned(),
        };
        let rate = limit.rate.map(|Rate { count, per }| {
            let burst = if limit.burst > 0 { format!(" and {} at once", limit.burst) } else { String::new() };
            format!("more than {count}/{}{burst}", per.unit().0)
        });
        let connections = limit.connections_max.map(|most| format!("more than {most} under way"));
        let what = rate.into_iter().chain(connections).collect::<Vec<_>>().join(" or ");
        let shared = if limit.is_shared { ", counted with other tidelocks in Redis" } else { "" };
        let tried = if limit.is_dry_run { ", which is tried alone" } else { "" };
        said.push(format!("{} for {what}, {by}{shared}{tried}", limit.status));
    }
    said.into_iter().map(|guard| format!("  is guarded: {guard}\n")).collect()
}

/// Why a route that would take it comes behind another, by the order in which routes are looked up.
fn why_behind(winner: &Route, other: &Route) -> &'static str {
    let host_rank = |route: &Route| match &route.host {
        HostPattern::Exact(_) => usize::MAX,
        HostPattern::Wildcard(suffix) => suffix.len(),
        HostPattern::Any => 0,
    };
    let path_rank = |route: &Route| match &route.path {
        PathPattern::Exact(_) => 2,
        PathPattern::Regex(_) => 1,
        PathPattern::Prefix(_) => 0,
    };
    if host_rank(winner) != host_rank(other) {
        return "a host that says more comes first";
    }
    if path_rank(winner) != path_rank(other) {
        return "`exact` comes before `regex`, and that before `path`";
    }
    match (&winner.path, &other.path) {
        (PathPattern::Prefix(one), PathPattern::Prefix(two)) if one.len() != two.len() => {
            "the longer path comes first"
        }
        (PathPattern::Regex(one), PathPattern::Regex(two)) if one != two => {
            "the first `regex` in the file that fits comes first"
        }
        _ if asks_how(winner) != asks_how(other) => "one with `methods` or `listen` comes first",
        _ if matches(winner) != matches(other) => "more `headers` come first, then more of `query`",
        _ => "it stands behind it in the file",
    }
}

fn asks_how(route: &Route) -> (bool, bool) {
    (route.methods == Methods::ALL, route.ports.is_empty())
}

fn matches(route: &Route) -> (usize, usize) {
    let count = |Matches { headers, query }: &Matches| (headers.len(), query.len());
    route.matches.as_deref().map_or((0, 0), count)
}

/// The one thing that keeps a route from taking it, if it is one thing.
fn missed_by(route: &Route, asked: &Imagined<'_>) -> Option<&'static str> {
    let loosened = [
        (Route { host: HostPattern::Any, ..route.clone() }, "for another host"),
        (Route { path: PathPattern::Prefix("/".to_owned()), ..route.clone() }, "for another path"),
        (Route { methods: Methods::ALL, ..route.clone() }, "for other methods"),
        (Route { ports: Vec::new(), ..route.clone() }, "on another listen"),
        (Route { matches: None, ..route.clone() }, "for other `headers` or another `query`"),
    ];
    loosened.into_iter().find(|(route, _)| asked.fits(route)).map(|(_, why)| why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_host_a_port_and_a_path() {
        for (written, host, port, path) in [
            ("https://example.com", "example.com", 443, "/"),
            ("http://example.com:8080/a%20b?c#d", "example.com", 8080, "/a%20b"),
            ("http://[::1]:81/?x", "[::1]", 81, "/"),
            ("http://[::1]", "[::1]", 80, "/"),
            ("https://Example.com.?x", "Example.com", 443, "/"),
        ] {
            let url: Url = written.parse().expect(written);
            assert_eq!((&*url.host, url.port, &*url.path), (host, port, path), "{written}");
        }
        for wrong in ["example.com/x", "ftp://example.com/", "http:///x", "http://a:99999/", "http://u@h/"] {
            assert!(wrong.parse::<Url>().is_err(), "{wrong}");
        }
    }
}
