//! What answers in a location from a node: `proxy_pass`, and what goes with it.

use super::node_tls;
use crate::nginx::headers::{Host, host, of_requests};
use crate::nginx::ours::{Left, Route};
use crate::nginx::parse::Directive;
use crate::nginx::place::{Location, Work, told};
use crate::nginx::pools::Wanted;
use crate::nginx::splits::{self, Shares};
use crate::quote::quoted;

pub(super) fn proxied<'f>(
    place: &Location<'f>,
    pass: &'f Directive,
    work: &mut Work<'_, 'f>,
    main: &mut Route,
) -> bool {
    let to = place.scope.filled_in(pass.arg());
    if to.is_empty() {
        // What nginx says where a `map` has no node for a host.
        main.set("respond", "500");
        return true;
    }
    let named = match splits::of(&to, &work.pools.splits) {
        Some(shares) => shared(place, pass, shares, work, main),
        None => named(place, pass, &to, work).inspect(|named| main.set("upstream", quoted(&named.upstream))),
    };
    let Some(Named { host, uri, .. }) = named else { return false };
    if !uri.is_empty() {
        main.replaced_by = Some(uri);
    }
    of_requests(place, &host, main, work.left);
    unkept(place, work.left);
    let bytes =
        place.scope.one("client_max_body_size").and_then(|one| crate::nginx::globals::bytes(one.arg()));
    main.set("body_bytes_max", body_bytes_max(bytes.unwrap_or(1 << 20)));
    true
}

/// A node, or several in an upstream, as `proxy_pass` names them.
struct Named {
    upstream: String,
    host: Host,
    /// What is asked of it in the place of the location's own path; empty for that path.
    uri: String,
}

fn named<'f>(place: &Location<'f>, pass: &'f Directive, to: &str, work: &mut Work<'_, 'f>) -> Option<Named> {
    let Some((scheme, rest)) = to.split_once("://") else {
        work.left.push(told(pass, "which node it is, is decided by a variable"));
        return None;
    };
    if !["http", "https"].contains(&scheme) {
        work.left.push(told(pass, "nodes are asked by `http://` or `https://`"));
        return None;
    }
    let (authority, uri) =
        match rest.strip_prefix("unix:").map(|rest| rest.split_once(':').unwrap_or((rest, ""))) {
            Some((path, uri)) => (format!("unix:{path}"), uri),
            None => {
                let at = rest.find('/').or_else(|| rest.find("$request_uri")).unwrap_or(rest.len());
                (rest[..at].to_owned(), &rest[at..])
            }
        };
    let uri = if uri == "$request_uri" { "" } else { uri };
    if uri.contains('$') {
        work.left.push(told(pass, "the path for the node is made of variables"));
        return None;
    }
    if scheme == "https" && authority.starts_with("unix:") {
        let mut left = told(pass, "TLS is not spoken on Unix sockets");
        left.todo = "let the node speak HTTP there: nobody is on the way".to_owned();
        work.left.push(left);
        return None;
    }
    let tls = (scheme == "https").then(|| node_tls::lines(place, &authority, work.left));
    let host = host(place, &authority, scheme);
    let fixed = match &host {
        Host::Fixed(name) => Some(name.clone()),
        Host::Passed | Host::Made(_) => None,
    };
    let wanted = Wanted { directive: pass, authority: &authority, host: fixed, tls, scope: &place.scope };
    let upstream = work.pools.name(&wanted, work.left)?;
    Some(Named { upstream, host, uri: uri.to_owned() })
}

/// The upstreams that share the clients; the route has the first one's Host, since each of them has its own.
fn shared<'f>(
    place: &Location<'f>,
    pass: &'f Directive,
    shares: Result<Shares, &'static str>,
    work: &mut Work<'_, 'f>,
    main: &mut Route,
) -> Option<Named> {
    let Shares { values, by } = shares.map_err(|why| work.left.push(told(pass, why))).ok()?;
    let mut sides: Vec<(String, u32)> = Vec::new();
    let mut first = None;
    for (to, weight) in values {
        let side = named(place, pass, &to, work)?;
        if !side.uri.is_empty() {
            work.left.push(told(pass, "the path for the node is made of variables"));
            return None;
        }
        match sides.iter_mut().find(|(name, _)| *name == side.upstream) {
            Some((_, sum)) => *sum += weight,
            None => sides.push((side.upstream.clone(), weight)),
        }
        first.get_or_insert(side);
    }
    if let [_] = &sides[..] {
        main.set("upstream", quoted(&sides[0].0));
        return first;
    }
    let list = sides.iter().map(|(name, weight)| format!("{{ name = {}, weight = {weight} }}", quoted(name)));
    main.set("upstream", format!("[{}]", list.collect::<Vec<_>>().join(", ")));
    main.asks.extend(sides.into_iter().map(|(name, _)| name));
    main.remarks.push(
        "The shares are nginx's. Which clients fall into them may differ: the hash is another one."
            .to_owned(),
    );
    if let Some(by) = by {
        main.set("split", format!("{{ by = {} }}", quoted(&by)));
    }
    first
}

/// What is done with a node's answers that has no word of ours.
fn unkept(place: &Location<'_>, left: &mut Vec<Left>) {
    for line in place.scope.list("proxy_redirect").into_iter().filter(|line| line.args.len() > 1) {
        let mut told = told(line, "whole URLs in Location pass as the node says them");
        told.todo = "let the app say the public address, or a path alone; paths that `strip` and `rewrite` change come back by themselves".to_owned();
        left.push(told);
    }
    if let Some(line) = place.scope.one("proxy_next_upstream") {
        let unusual: Vec<&str> =
            line.args.iter().map(String::as_str).filter(|when| !RETRIED.contains(when)).collect();
        if !unusual.is_empty() {
            let mut told = told(line, &format!("{} is no reason to ask another node", unusual.join(", ")));
            told.todo = "leave it out: a request that may have been heard is not sent twice".to_owned();
            left.push(told);
        }
    }
}

/// A bound of a body, as we write it.
pub(in crate::nginx) fn body_bytes_max(bytes: u64) -> String {
    // What `[limits]` takes, too.
    let bytes = if bytes == 0 { 0 } else { bytes.clamp(1 << 10, 1 << 40) };
    match bytes {
        0 => "\"none\"".to_owned(),
        bytes if bytes % (1 << 30) == 0 => format!("\"{}GiB\"", bytes >> 30),
        bytes if bytes % (1 << 20) == 0 => format!("\"{}MiB\"", bytes >> 20),
        bytes if bytes % (1 << 10) == 0 => format!("\"{}KiB\"", bytes >> 10),
        bytes => format!("\"{bytes}B\""),
    }
}

/// What is tried again by itself, and `off`, which says less.
const RETRIED: [&str; 4] = ["error", "timeout", "invalid_header", "off"];
