//! `proxy_ssl_*`: how nodes at `https://` are spoken with, as lines of `[upstream.NAME.tls]`.

use crate::nginx::ours::Left;
use crate::nginx::place::{Location, told};
use crate::quote::quoted;

/// The lines for the nodes of `authority`. nginx verifies nothing unless it is told to, and asks for no name.
pub(super) fn lines(place: &Location<'_>, authority: &str, left: &mut Vec<Left>) -> Vec<String> {
    let is_on = |name: &str| place.scope.one(name).is_some_and(|one| one.arg() == "on");
    let mut lines = Vec::new();
    let verifies = is_on("proxy_ssl_verify");
    match place.scope.one("proxy_ssl_trusted_certificate").filter(|_| verifies) {
        Some(file) => lines.push(format!("ca = {}", quoted(file.arg()))),
        None if verifies => {}
        None => {
            lines.push(UNVERIFIED.to_owned());
            lines.push("verify = false".to_owned());
        }
    }
    if verifies || is_on("proxy_ssl_server_name") {
        lines.extend(name(place, authority, left).map(|name| format!("server_name = {}", quoted(&name))));
    }
    let files = ["proxy_ssl_certificate", "proxy_ssl_certificate_key"].map(|name| place.scope.one(name));
    if let [Some(certificate), Some(key)] = files {
        lines.push(format!("certificate = {}", quoted(certificate.arg())));
        lines.push(format!("key = {}", quoted(key.arg())));
    }
    lines
}

/// The name that is asked for: of a block of servers that of the block, which is no host of any of them.
fn name(place: &Location<'_>, authority: &str, left: &mut Vec<Left>) -> Option<String> {
    let own = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let Some(named) = place.scope.one("proxy_ssl_name") else { return Some(own.to_owned()) };
    match place.scope.filled_in(named.arg()).as_str() {
        "$proxy_host" => Some(own.to_owned()),
        name if !name.contains('$') => Some(name.to_owned()),
        _ => {
            let mut told = told(named, "the name in the certificate is decided by a variable");
            told.todo = "write the name as `server_name` of `[upstream.NAME.tls]`".to_owned();
            left.push(told);
            None
        }
    }
}

const UNVERIFIED: &str = "# nginx does not look whose certificate it is without `proxy_ssl_verify on`. Better name it, or its authority, with `ca`.";
