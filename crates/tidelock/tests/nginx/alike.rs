//! Whether two answers are alike: what is compared of them, and where ours is another on purpose.

use std::collections::BTreeMap;

use testkit::message::Message;

use crate::asks::Ask;
use crate::disk::PAGE;

/// Both answers as far as they are to be alike.
pub(crate) fn told(
    ask: &Ask,
    theirs: Result<Message, String>,
    ours: Result<Message, String>,
) -> (String, String) {
    let (theirs, ours) = match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => (theirs, ours),
        // Nothing was compared, but where theirs is to say nothing.
        (Err(_), Err(_)) if ask.may_be_closed => return (String::new(), String::new()),
        (Err(theirs), Err(ours)) => {
            return (format!("no answer: {theirs}"), format!("no answer either: {ours}"));
        }
        (theirs, ours) => return (format!("{theirs:?}"), format!("{ours:?}")),
    };
    // We pass every WebSocket, where nginx has to be told.
    if ours.status() == 101 && theirs.status() == 200 {
        return (String::new(), String::new());
    }
    // Where there is nothing, we say so whatever is asked.
    if ours.status() == 404 && [405, 413].contains(&theirs.status()) {
        return (String::new(), String::new());
    }
    if is_meant_otherwise(ask, &theirs, &ours) {
        return (String::new(), String::new());
    }
    let (mut their_node, mut our_node) = (seen(&theirs), seen(&ours));
    for name in SAID_BY_US {
        // It is said always; what matters is that nothing is missing or another.
        if !their_node.contains_key(name) {
            our_node.remove(name);
        }
    }
    // Ours is Host as the client said it, with a port that is not the scheme's own.
    if let (Some(theirs), Some(ours)) =
        (their_node.get("x-forwarded-host"), our_node.get_mut("x-forwarded-host"))
    {
        let bare = ours.rsplit_once(':').map_or(ours.clone(), |(host, _)| host.to_owned());
        *ours = if *theirs == bare { bare } else { ours.clone() };
    }
    their_node.retain(|name, _| !OF_THE_CONNECTION.contains(&&**name));
    our_node.retain(|name, _| !OF_THE_CONNECTION.contains(&&**name));
    let is_page = theirs.text().contains("<center>");
    // nginx gives the text of a `return` the type that the ending of the path has, ours has one type for all paths.
    let is_typed_by_path = ours.header("etag").is_none() && last_segment(ask).contains('.');
    let is_from_disk = ours.header("etag").is_some() && theirs.header("etag").is_some();
    let of = |message: &Message, node: &BTreeMap<String, String>| {
        let mut headers: Vec<String> = message
            .headers
            .iter()
            .map(|(name, value)| (name.to_ascii_lowercase(), value))
            .filter(|(name, _)| !UNTOLD.contains(&&**name))
            // nginx's own pages are not ours, nor are their headers without `always`.
            .filter(|(name, _)| message.status() < 400 || name == "location")
            .filter(|(name, _)| name != "content-type" || !(is_page || message.body.is_empty()))
            .filter(|(name, _)| name != "content-type" || !is_typed_by_path)
            .map(|(name, value)| match name.as_str() {
                // Each has a form of its own.
                "etag" => name,
                // Beside a node `cache` is what `expires` is, and says `public`, which a file is anyway.
                "cache-control" if is_from_disk => {
                    format!("{name}: {}", value.trim_start_matches("public, "))
                }
                // nginx says scheme, host and port where it is the same place, we need not.
                "location" => format!("{name}: {}", value.strip_prefix(&here(ask, value)).unwrap_or(value)),
                _ => format!("{name}: {}", of_old_names(value)),
            })
            .collect();
        headers.sort();
        let body = if is_page || !node.is_empty() { String::new() } else { message.text() };
        format!("{} {headers:?} {body:?} {node:?}", message.status())
    };
    (of(&theirs, &their_node), of(&ours, &our_node))
}

/// What ours does otherwise with files on purpose; docs/from-nginx.md says so.
fn is_meant_otherwise(ask: &Ask, theirs: &Message, ours: &Message) -> bool {
    let (path, last) = (path_of(ask), last_segment(ask));
    let is_page_for_all = theirs.status() == 200 && theirs.text().starts_with(PAGE);
    let has_hidden = path.split('/').any(|part| part.starts_with('.') && part.len() > 2);
    match (theirs.status(), ours.status()) {
        // The page of an app answers navigations, and no script that is missing.
        (200, 404) => is_page_for_all && last.contains('.') || has_hidden,
        // What begins with a dot is no file, but the node's to answer.
        (200, 200) => has_hidden && theirs.header("etag").is_some() && ours.header("etag").is_none(),
        // Files take no body, whatever its size.
        (413, 405) => true,
        // A folder without a page is not there.
        (403, 404) => path.ends_with('/'),
        _ => false,
    }
}

/// Scheme, host and port of what was asked, as `location` has them.
fn here(ask: &Ask, location: &str) -> String {
    let authority =
        location.split_once("://").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    let is_here = authority.rsplit_once(':').map_or(authority, |(host, _)| host) == ask.host;
    let end = location.find("://").map_or(0, |at| at + 3 + authority.len());
    if is_here && authority.contains(':') { location[..end].to_owned() } else { String::new() }
}

fn path_of(ask: &Ask) -> &str {
    ask.start.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default()
}

fn last_segment(ask: &Ask) -> &str {
    path_of(ask).rsplit('/').next().unwrap_or_default()
}

/// A value without what newer names of media types say otherwise (RFC 9239 section 6).
fn of_old_names(value: &str) -> String {
    value.replace("; charset=utf-8", "").replace("text/javascript", "application/javascript")
}

/// What the node saw, where one answered.
fn seen(message: &Message) -> BTreeMap<String, String> {
    let text = message.text();
    let mut lines = text.lines();
    if lines.next() != Some("seen") {
        return BTreeMap::new();
    }
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Said of a client on every request, while nginx has to be told.
const SAID_BY_US: [&str; 6] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-real-ip",
    "x-forwarded-prefix",
];
const OF_THE_CONNECTION: [&str; 4] = ["connection", "upgrade", "content-length", "transfer-encoding"];
/// Not for an importer to say. Expires says what Cache-Control says.
const UNTOLD: [&str; 8] = [
    "server",
    "date",
    "connection",
    "content-length",
    "transfer-encoding",
    "keep-alive",
    "expires",
    "sec-websocket-accept",
];
