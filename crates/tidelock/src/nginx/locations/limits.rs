//! `limit_req` and `limit_conn`: how often, and how many at once.

use std::fmt::Write as _;

use crate::nginx::ours::{Left, Route};
use crate::nginx::parse::Directive;
use crate::nginx::place::Location;
use crate::quote::quoted;

/// Says the limits of a place. One that cannot be said is told, and left out.
pub(super) fn say(place: &Location<'_>, route: &mut Route, left: &mut Vec<Left>) {
    let mut limits = Vec::new();
    for (word, zones, read) in [
        ("limit_req", "limit_req_zone", rate as fn(&Directive, &Directive) -> Result<String, &'static str>),
        ("limit_conn", "limit_conn_zone", connections),
    ] {
        // Both are 503 where nothing is said.
        let status = place.scope.one(&format!("{word}_status")).map_or("503", Directive::arg);
        let is_tried = place.scope.one(&format!("{word}_dry_run")).is_some_and(|one| one.arg() == "on");
        for directive in place.scope.list(word) {
            let said = zone_of(directive, zones, place)
                .and_then(|(name, zone)| Ok((read(directive, zone)?, by(zone.arg())?, name)));
            match said {
                Ok((amount, by, name)) => {
                    let mut limit = format!("{{ {amount}, by = {}, name = {}", quoted(&by), quoted(&name));
                    if status != "429" {
                        let _ = write!(limit, ", status = {status}");
                    }
                    limit += if is_tried { ", dry_run = true }" } else { " }" };
                    limits.push(limit);
                    if by.contains(':') {
                        route
                            .remarks
                            .push(format!("Who sends no {by} counts by the address; nginx let them pass."));
                    }
                }
                Err(why) => left.push(Left {
                    at: directive.at.clone(),
                    what: directive.text(),
                    why: why.to_owned(),
                    todo: "write `limit` at its route by hand, see docs/routes.md".to_owned(),
                }),
            }
        }
    }
    match &limits[..] {
        [] => {}
        [limit] => route.set("limit", limit.clone()),
        limits => route.set("limit", format!("[{}]", limits.join(", "))),
    }
}

/// The zone that a limit counts in, and its name.
fn zone_of<'f>(
    limit: &Directive,
    zones: &str,
    place: &Location<'f>,
) -> Result<(String, &'f Directive), &'static str> {
    let name = value(limit, "zone").unwrap_or(limit.arg());
    let named =
        |zone: &&'f Directive| value(zone, "zone").is_some_and(|said| said.split(':').next() == Some(name));
    let zone = place.scope.all(zones).into_iter().find(named).ok_or("no such zone is in the file")?;
    let name = match zone.arg().trim_matches(['$', '{', '}']) {
        "server_name" => format!("{name} of {}", place.server_name),
        _ => name.to_owned(),
    };
    Ok((name, zone))
}

fn rate(limit: &Directive, zone: &Directive) -> Result<String, &'static str> {
    let rate = value(zone, "rate").and_then(|rate| rate.split_once("r/")).ok_or("its rate cannot be read")?;
    let (count, per) = rate;
    if count.parse::<u32>().is_err() || !["s", "m"].contains(&per) {
        return Err("its rate cannot be read");
    }
    let number = |text: Option<&str>| text.map_or(Ok(0), str::parse::<u32>).map_err(|_| "it has no number");
    let burst = number(value(limit, "burst"))?;
    let mut said = format!("rate = \"{count}/{per}\"");
    if burst > 0 {
        let _ = write!(said, ", burst = {burst}");
        let delay = number(value(limit, "delay"))?;
        if !limit.args.iter().any(|arg| arg == "nodelay") && delay < burst {
            let _ = write!(said, ", delay = {delay}");
        }
    }
    Ok(said)
}

fn connections(limit: &Directive, _: &Directive) -> Result<String, &'static str> {
    let count = limit.args.get(1).and_then(|count| count.parse::<u32>().ok()).filter(|count| *count > 0);
    Ok(format!("connections = {}", count.ok_or("it has no number")?))
}

/// Who counts as one, by the key of the zone.
fn by(key: &str) -> Result<String, &'static str> {
    let Some(variable) = key.strip_prefix('$') else { return Ok("all".to_owned()) };
    let variable = variable.trim_matches(['{', '}']);
    let named = [("http_", "header"), ("cookie_", "cookie"), ("arg_", "query")];
    let named = named.into_iter().find_map(|(prefix, kind)| Some((kind, variable.strip_prefix(prefix)?)));
    match (variable, named) {
        ("binary_remote_addr" | "remote_addr", _) => Ok("ip".to_owned()),
        // Each server has a count of its own, see `zone_of`.
        ("server_name", _) => Ok("all".to_owned()),
        ("host", _) => Ok("header:host".to_owned()),
        (_, Some(("header", name))) => Ok(format!("header:{}", name.replace('_', "-"))),
        (_, Some((kind, name))) if !name.contains('$') => Ok(format!("{kind}:{name}")),
        _ => Err("clients are told apart by address, header, cookie and query, not by this"),
    }
}

fn value<'d>(directive: &'d Directive, name: &str) -> Option<&'d str> {
    directive.args.iter().find_map(|arg| arg.strip_prefix(name)?.strip_prefix('='))
}
