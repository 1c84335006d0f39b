//! What is compressed: `gzip`, `brotli` and what goes with them.

use crate::nginx::globals::bytes;
use crate::nginx::ours::{Left, Route, list};
use crate::nginx::place::{Location, told};

/// What is compressed in this place.
pub(super) fn compressed(place: &Location<'_>, left: &mut Vec<Left>, route: &mut Route) {
    let is_on = |name: &str| place.scope.one(name).is_some_and(|one| one.arg() == "on");
    let is_content = ["upstream", "files"].iter().any(|key| route.value(key).is_some());
    if !is_content || !["gzip", "brotli"].into_iter().any(is_on) {
        return;
    }
    let named = ["gzip_types", "brotli_types"].into_iter().find_map(|name| place.scope.one(name));
    let least = ["gzip_min_length", "brotli_min_length"].into_iter().find_map(|name| place.scope.one(name));
    let mut keys = Vec::new();
    if let Some(named) = named {
        let mut types = vec!["text/html".to_owned()];
        types.extend(named.args.iter().filter(|one| *one != "text/html").cloned());
        keys.push(format!("types = {}", list(&types)));
    }
    match least.map(|least| (least, bytes(least.arg()))) {
        Some((_, Some(bytes))) => keys.push(format!("bytes_min = \"{}B\"", bytes.min(1 << 30))),
        Some((least, None)) => left.push(told(least, "it is no number of bytes")),
        None => {}
    }
    if keys.is_empty() {
        route.set("compress", "true");
    } else {
        route.set("compress", format!("{{ {} }}", keys.join(", ")));
    }
}
