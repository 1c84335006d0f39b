//! Texts with nginx's variables to texts with ours.

use super::scope::{Scope, variable};

/// What a text may refer to beside the request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'k> {
    pub(super) scope: &'k Scope<'k>,
    /// The first name of the server.
    pub(super) server_name: &'k str,
    /// Whether $1 to $9 are groups of the route.
    pub(super) has_groups: bool,
}

/// Translates a text. The error is the variable that we do not have.
pub(super) fn template(text: &str, known: Known<'_>) -> Result<String, String> {
    let text = known.scope.filled_in(text);
    // The same with and without a query.
    let text = text.replace("$is_args$args", "?$args").replace("$is_args$query_string", "?$args");
    let text = text.replace("$uri?$args", "$request_uri").replace("$document_uri?$args", "$request_uri");
    let mut ours = String::new();
    let mut rest = text.as_str();
    while let Some((before, behind)) = rest.split_once('$') {
        ours.push_str(&escaped(before));
        let (name, after) = variable(behind);
        if name.is_empty() {
            ours.push('$');
        } else {
            ours.push_str(&value(name, known).ok_or_else(|| format!("${name}"))?);
        }
        rest = after;
    }
    Ok(ours + &escaped(rest))
}

/// Braces are ours.
fn escaped(text: &str) -> String {
    text.replace('{', "{{").replace('}', "}}")
}

fn value(name: &str, known: Known<'_>) -> Option<String> {
    if let Some((_, ours)) = PLAIN.iter().find(|(theirs, _)| *theirs == name) {
        return Some(format!("{{{ours}}}"));
    }
    if name == "server_name" {
        return Some(escaped(known.server_name));
    }
    // The group of a name such as `~^(?<sub>.+)\\.example\\.com$`, which is a wildcard of ours.
    let group = known.server_name.strip_prefix("~^(?").map(|rest| rest.trim_start_matches('P'));
    if group.and_then(|rest| rest.strip_prefix('<')?.split_once('>')).is_some_and(|(group, _)| group == name)
    {
        return Some("{subdomain}".to_owned());
    }
    if name.len() == 1 && name.starts_with(|c: char| ('1'..='9').contains(&c)) {
        return known.has_groups.then(|| format!("{{{name}}}"));
    }
    let (kind, of) = name.split_once('_')?;
    match kind {
        "http" => Some(format!("{{header:{}}}", of.replace('_', "-"))),
        "arg" => Some(format!("{{query:{of}}}")),
        "cookie" => Some(format!("{{cookie:{of}}}")),
        _ => None,
    }
}

const PLAIN: [(&str, &str); 19] = [
    ("remote_addr", "client_ip"),
    ("realip_remote_addr", "peer_ip"),
    ("request_method", "method"),
    ("scheme", "scheme"),
    ("host", "host"),
    ("server_port", "port"),
    ("server_protocol", "protocol"),
    ("request_uri", "uri"),
    ("uri", "path"),
    ("document_uri", "path"),
    ("args", "query"),
    ("query_string", "query"),
    ("request_id", "request_id"),
    ("upstream_addr", "node"),
    ("remote_port", "client_port"),
    ("time_iso8601", "time"),
    ("msec", "time_unix"),
    ("remote_user", "user"),
    ("ssl_protocol", "tls_version"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_said_in_our_words() {
        let scope = Scope::default();
        let known = Known { scope: &scope, server_name: "a.example", has_groups: true };
        for (theirs, ours) in [
            ("https://$host$request_uri", Ok("https://{host}{uri}")),
            ("https://$server_name/x$1", Ok("https://a.example/x{1}")),
            ("${scheme}s", Ok("{scheme}s")),
            ("$uri$is_args$args", Ok("{uri}")),
            ("{\"a\":\"$http_x_forwarded_for\"}", Ok("{{\"a\":\"{header:x-forwarded-for}\"}}")),
            ("$arg_id $cookie_s", Ok("{query:id} {cookie:s}")),
            ("$upstream_cache_status", Err("$upstream_cache_status")),
            ("5$", Ok("5$")),
            ("$sub", Err("$sub")),
        ] {
            assert_eq!(template(theirs, known), ours.map(str::to_owned).map_err(str::to_owned), "{theirs}");
        }
        let known = Known { server_name: r"~^(?<sub>.+)\.example\.com$", ..known };
        assert_eq!(template("a $sub", known).as_deref(), Ok("a {subdomain}"));
    }
}
