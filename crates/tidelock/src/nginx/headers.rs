//! Header lines that are set on the way to nodes and to clients.

use super::ours::{Left, Route, has_landed};
use super::parse::Directive;
use super::place::Location;
use super::pools::seconds;
use super::vars::{Known, template};
use crate::quote::{key, quoted};

/// What nodes hear as Host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    /// As the client said it.
    Passed,
    /// A name, on every request of the upstream.
    Fixed(String),
    /// In our words.
    Made(String),
}

/// The Host that a location sends to `authority`.
pub(super) fn host(place: &Location<'_>, authority: &str, scheme: &str) -> Host {
    let lines = place.scope.list("proxy_set_header");
    // $proxy_host, whose port is left out if it is the scheme's.
    let name = authority.strip_suffix(if scheme == "https" { ":443" } else { ":80" }).unwrap_or(authority);
    let Some(line) = lines.iter().rev().find(|line| line.arg().eq_ignore_ascii_case("host")) else {
        return Host::Fixed(if name.starts_with("unix:") { "localhost".to_owned() } else { name.to_owned() });
    };
    let value = place.scope.filled_in(line.args.get(1).map_or("", String::as_str));
    match value.as_str() {
        "$http_host" => Host::Passed,
        // The same, but for a port that is not the scheme's own.
        "$host" if place.site_is_on_usual_ports => Host::Passed,
        "$host" => Host::Made("{host}".to_owned()),
        "$proxy_host" => Host::Fixed(name.to_owned()),
        "$host:$server_port" | "$host:$proxy_port" => Host::Made("{host}:{port}".to_owned()),
        value if !value.contains('$') => Host::Fixed(value.to_owned()),
        _ => match template(&value, known(place)) {
            Ok(value) => Host::Made(value),
            Err(_) => Host::Passed,
        },
    }
}

fn known<'k>(place: &'k Location<'_>) -> Known<'k> {
    Known { scope: &place.scope, server_name: place.server_name, has_groups: false }
}

/// Lines that nodes get.
pub(super) fn of_requests(place: &Location<'_>, host: &Host, route: &mut Route, left: &mut Vec<Left>) {
    let (mut set, mut removed) = (Vec::new(), Vec::new());
    if let Host::Made(value) = host {
        match has_landed("request_headers") {
            true => set.push(("Host".to_owned(), value.clone())),
            false => route.remarks.push("Nodes see Host as the client sent it, with its port.".to_owned()),
        }
    }
    for line in place.scope.list("proxy_set_header") {
        let (name, value) = (line.arg(), line.args.get(1).map_or("", String::as_str));
        let lower = name.to_ascii_lowercase();
        if lower == "host" || OF_THE_CONNECTION.contains(&&*lower) {
            continue;
        }
        // `copy` of the route's `auth` says it.
        if place.answered(value).is_some() {
            continue;
        }
        let value = place.scope.filled_in(value);
        if SAID_BY_US.iter().any(|(said, values)| *said == lower && values.contains(&&*value)) {
            continue;
        }
        if SAID_BY_US.iter().any(|(said, _)| *said == lower) {
            left.push(of(
                line,
                "tidelock says it itself, and truly",
                "if a proxy in front says it, name that in `trusted_proxies`",
            ));
            continue;
        }
        if value.is_empty() {
            removed.push(name.to_owned());
            continue;
        }
        match template(&value, known(place)) {
            Ok(value) => set.push((name.to_owned(), value)),
            Err(variable) => left.push(of(
                line,
                &format!("there is no variable for {variable}"),
                "see docs/from-nginx.md for those there are",
            )),
        }
    }
    let table = changes(&set, &[], &removed);
    if let Some(table) = table {
        route.set("request_headers", table);
    }
}

/// Lines that clients get. `block` is the one that holds, that of an `if` or of the location.
pub(super) fn of_answers(place: &Location<'_>, route: &mut Route, left: &mut Vec<Left>) {
    let (mut set, mut added, mut removed) = (Vec::new(), Vec::new(), Vec::new());
    let mut is_always = true;
    for line in place.scope.list("add_header") {
        let (name, value) = (line.arg(), line.args.get(1).map_or("", String::as_str));
        if value.is_empty() {
            continue;
        }
        if name.eq_ignore_ascii_case("content-type") && route.value("respond").is_some() {
            continue;
        }
        // What whoever is asked sets is passed on.
        if name.eq_ignore_ascii_case("set-cookie") && place.answered(value).as_deref() == Some("set-cookie") {
            continue;
        }
        is_always &= line.args.get(2).is_some_and(|word| word == "always");
        // Where no node is asked theirs is empty, and an empty value is no line.
        let is_of_no_node = route.value("upstream").is_none();
        let nodeless = value.replace("${upstream_addr}", "").replace("$upstream_addr", "");
        let value = if is_of_no_node { &nodeless } else { value };
        match template(value, known(place)) {
            Ok(value) if value.is_empty() => {}
            Ok(value) => added.push((name.to_owned(), value)),
            Err(variable) => left.push(of(
                line,
                &format!("there is no variable for {variable}"),
                "see docs/from-nginx.md for those there are",
            )),
        }
    }
    if let Some(expires) = place.scope.one("expires") {
        match cache_control(expires) {
            Some(Some(value)) => set.push(("Cache-Control".to_owned(), value)),
            Some(None) => {}
            None => left.push(of(
                expires,
                "a time of the day, or a variable",
                "say how long, `Cache-Control = \"max-age=3600\"`",
            )),
        }
    }
    for line in place.scope.list("more_set_headers") {
        let named = line.args.iter().filter_map(|arg| arg.split_once(':'));
        set.extend(named.map(|(name, value)| (name.trim().to_owned(), value.trim().replace('{', "{{"))));
    }
    removed.extend(place.scope.list("more_clear_headers").into_iter().flat_map(|line| line.args.clone()));
    if route.value("upstream").is_some() {
        removed.extend(place.scope.list("proxy_hide_header").into_iter().map(|line| line.arg().to_owned()));
    }
    if !is_always && !added.is_empty() {
        route
            .remarks
            .push("nginx leaves these headers out of answers of 400 and more, but for `always`.".to_owned());
    }
    if let Some(table) = changes(&set, &added, &removed) {
        route.set("response_headers", table);
    }
}

/// What `expires` says of Cache-Control; the inner nothing is that it says nothing.
fn cache_control(expires: &Directive) -> Option<Option<String>> {
    let of = if expires.arg() == "modified" { return None } else { expires.arg() };
    match of {
        "off" => Some(None),
        "epoch" => Some(Some("no-cache".to_owned())),
        "max" => Some(Some("max-age=315360000".to_owned())),
        of if of.starts_with('-') => Some(Some("no-cache".to_owned())),
        of => seconds(of.trim_start_matches('+')).map(|seconds| Some(format!("max-age={seconds}"))),
    }
}

type Lines = [(String, String)];

fn changes(set: &Lines, added: &Lines, removed: &[String]) -> Option<String> {
    let table = |lines: &Lines| {
        // A key stands once in a table; the last of them holds, as in nginx's own variables.
        let mut kept: Vec<&(String, String)> = Vec::new();
        for line in lines {
            kept.retain(|known| !known.0.eq_ignore_ascii_case(&line.0));
            kept.push(line);
        }
        let lines = kept.into_iter().map(|(name, value)| format!("{} = {}", key(name), quoted(value)));
        format!("{{ {} }}", lines.collect::<Vec<_>>().join(", "))
    };
    let mut parts = Vec::new();
    if !set.is_empty() {
        parts.push(format!("set = {}", table(set)));
    }
    if !added.is_empty() {
        parts.push(format!("add = {}", table(added)));
    }
    if !removed.is_empty() {
        parts.push(format!("remove = {}", super::ours::list(removed)));
    }
    (!parts.is_empty()).then(|| format!("{{ {} }}", parts.join(", ")))
}

fn of(directive: &Directive, why: &str, todo: &str) -> Left {
    Left { at: directive.at.clone(), what: directive.text(), why: why.to_owned(), todo: todo.to_owned() }
}

/// Mean nothing to us: a WebSocket's are sent where there is one, and others never pass.
const OF_THE_CONNECTION: [&str; 6] =
    ["upgrade", "connection", "te", "keep-alive", "proxy-connection", "transfer-encoding"];
/// What nodes are told on every request, and how people write it.
const SAID_BY_US: [(&str, &[&str]); 8] = [
    ("x-forwarded-for", &["$proxy_add_x_forwarded_for", "$remote_addr", "$http_x_forwarded_for"]),
    ("x-real-ip", &["$remote_addr", "$http_x_real_ip"]),
    ("x-forwarded-proto", &["$scheme", "$http_x_forwarded_proto"]),
    ("x-forwarded-host", &["$host", "$http_host", "$host:$server_port"]),
    ("x-forwarded-port", &["$server_port"]),
    ("x-ssl-client-verify", &["$ssl_client_verify"]),
    ("x-ssl-client-subject", &["$ssl_client_s_dn"]),
    ("x-ssl-client-cert", &["$ssl_client_escaped_cert"]),
];
