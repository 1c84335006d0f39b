//! `return`, `rewrite` and `if`: what is done with a request before anybody is asked.

use super::ours::{Left, Route, Takes};
use super::parse::Directive;
use super::patterns::whole;
use super::place::{Location, told};
use super::vars::{Known, template};
use crate::quote::quoted;

/// Gives a route the answer of a `return`.
pub(super) fn give(
    route: &mut Route,
    directive: &Directive,
    place: &Location<'_>,
    has_groups: bool,
) -> Result<(), String> {
    let known = Known { scope: &place.scope, server_name: place.server_name, has_groups };
    let (code, rest) = match directive.arg().parse::<u16>() {
        Ok(code) => (code, directive.args.get(1)),
        // A URL alone.
        Err(_) => (302, directive.args.first()),
    };
    match (code, rest) {
        (301 | 302 | 303 | 307 | 308, Some(url)) => {
            let url =
                template(url, known).map_err(|variable| format!("there is no variable for {variable}"))?;
            route.set("redirect", redirect(code, &url));
        }
        (200..=599, text) => {
            let text = match text {
                Some(text) => template(text, known)
                    .map_err(|variable| format!("there is no variable for {variable}"))?,
                None => String::new(),
            };
            if text.is_empty() {
                route.set("respond", code.to_string());
                return Ok(());
            }
            let added = place.scope.list("add_header");
            let added = added.iter().find(|line| line.arg().eq_ignore_ascii_case("content-type"));
            let kind = match (added, place.scope.one("default_type")) {
                (Some(line), _) => line.args.get(1).cloned(),
                (None, Some(kind)) => Some(kind.arg().to_owned()),
                (None, None) => None,
            };
            let kind = kind.filter(|kind| kind != "text/plain");
            let kind = kind.map_or_else(String::new, |kind| format!(", content_type = {}", quoted(&kind)));
            route.set("respond", format!("{{ status = {code}, text = {}{kind} }}", quoted(&text)));
        }
        _ => return Err("no such status".to_owned()),
    }
    Ok(())
}

/// A redirect to a URL in our words.
pub(super) fn redirect(status: u16, url: &str) -> String {
    let parts = url.strip_prefix("https://").and_then(|rest| rest.strip_suffix("{uri}"));
    match parts {
        Some("{host}") => format!("{{ scheme = \"https\", status = {status} }}"),
        Some(host) if !host.contains(['/', ':', '{']) => {
            format!("{{ scheme = \"https\", host = {}, status = {status} }}", quoted(host))
        }
        _ if url.starts_with('/') => format!("{{ path = {}, status = {status} }}", quoted(url)),
        _ => format!("{{ to = {}, status = {status} }}", quoted(url)),
    }
}

/// What is told of a `rewrite` that becomes no route.
pub(super) fn unrewritten(directive: &Directive, why: &str) -> Left {
    let todo = "write a route that takes the old path by `regex`, has the new one in `rewrite`, and the `upstream` of where that leads";
    Left { todo: todo.to_owned(), ..told(directive, why) }
}

/// What a `rewrite` comes to.
pub(super) enum Rewritten {
    /// A route that comes before the others.
    Before(Route),
    /// The path of the location is replaced, letter by letter.
    Replaced(String),
    /// Every request gets this.
    All(Route),
}

/// Translates a `rewrite` of a server (then `place` has no path) or of a location.
pub(super) fn rewrite(directive: &Directive, place: &Location<'_>) -> Result<Rewritten, String> {
    let [pattern, to, flags @ ..] = &directive.args[..] else {
        return Err("it has no replacement".to_owned());
    };
    let flag = flags.first().map_or("", String::as_str);
    let known = Known { scope: &place.scope, server_name: place.server_name, has_groups: true };
    let is_url = ["http://", "https://", "$scheme://"].iter().any(|scheme| to.starts_with(scheme));
    let matches_all = ["^", "^(.*)$", "(.*)", ".*", "^.*$", "^(.*)", "^/(.*)$", "^/(.*)", "/(.*)", "^/"]
        .contains(&pattern.as_str());
    let status = if flag == "permanent" { 301 } else { 302 };
    if is_url || flag == "permanent" || flag == "redirect" {
        let unsaid = |variable: String| format!("there is no variable for {variable}");
        if matches_all {
            // The group is the path, and the query follows it.
            let rest = if pattern.contains('/') { "/$1" } else { "$1" };
            let to = to.replace("$request_uri?", "$request_uri").replace(rest, "$request_uri");
            let mut route = Route::of(directive, Takes::Prefix("/".to_owned()));
            route.set(
                "redirect",
                redirect(status, &template(to.trim_end_matches('?'), known).map_err(unsaid)?),
            );
            return Ok(Rewritten::All(route));
        }
        let mut route = Route::of(directive, Takes::Regex(whole(pattern, false)));
        // The query goes on, unless a question mark says that it does not.
        let query = if to.contains('?') { "" } else { "?{query}" };
        let url = template(to.trim_end_matches('?'), known).map_err(unsaid)? + query;
        route.set("redirect", redirect(status, &url));
        return Ok(Rewritten::Before(route));
    }
    if flag == "break" && to.starts_with('/') && !place.path.is_empty() {
        let base = place.path.trim_end_matches('/');
        let stripped = [
            format!("^{base}/(.*)$"),
            format!("^{base}/(.*)"),
            format!("{base}/(.*)"),
            format!("{base}/(.*)$"),
        ];
        let stripped = stripped.contains(pattern) || stripped.contains(&pattern.replace("?(.*)", "(.*)"));
        if let Some(before) = to.strip_suffix("$1").filter(|before| stripped && !before.contains('$')) {
            return Ok(Rewritten::Replaced(before.to_owned()));
        }
    }
    Err("locations are chosen once, by the path that came".to_owned())
}

/// The requests that an `if` is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    Host(String),
    /// `www.` in front of a name of the server: the names without it are the first group.
    AnyWww,
    Plain,
    Methods(Vec<String>),
    AllMethodsBut(Vec<String>),
}

/// What the condition of an `if` asks for, if it is something that routes are told apart by.
pub(super) fn asked(directive: &Directive) -> Option<Condition> {
    let text = directive.args.join(" ");
    let text = text.trim().strip_prefix('(')?.strip_suffix(')')?.trim();
    let (variable, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (operator, value) = rest.trim().split_once(' ').unwrap_or((rest, ""));
    let value = value.trim().trim_matches(['"', '\'']);
    match (variable, operator, value) {
        ("$scheme", "=", "http") | ("$scheme", "!=", "https") => Some(Condition::Plain),
        ("$server_port", "=", "80") | ("$https", "!=", "on") | ("$https" | "$ssl_protocol", "=", "") => {
            Some(Condition::Plain)
        }
        ("$host" | "$http_host", "=", name) if !name.is_empty() => {
            Some(Condition::Host(name.to_ascii_lowercase()))
        }
        (
            "$host" | "$http_host",
            "~" | "~*",
            "^www\\.(.*)$" | "^www\\.(.+)$" | "^www\\.(.*)" | "^www\\.(.+)",
        ) => Some(Condition::AnyWww),
        ("$request_method", "=", method) => methods(method).map(Condition::Methods),
        ("$request_method", "~" | "~*", these) => methods(these).map(Condition::Methods),
        ("$request_method", "!=" | "!~" | "!~*", these) => methods(these).map(Condition::AllMethodsBut),
        _ => None,
    }
}

/// "POST", "^(GET|HEAD)$".
fn methods(text: &str) -> Option<Vec<String>> {
    let text = text.trim_start_matches(['^', '(']).trim_end_matches([')', '$']);
    let names: Vec<String> = text.split('|').map(str::to_owned).collect();
    names.iter().all(|name| METHODS.contains(&name.as_str())).then_some(names)
}

/// What is told of an `if` that was not translated.
pub(super) fn unasked(directive: &Directive) -> Left {
    Left {
        at: directive.at.clone(),
        what: directive.text(),
        why: "routes are told apart by host, path, method and listen, not by this".to_owned(),
        todo: "decide it in the app, or write a route for each case".to_owned(),
    }
}

/// The methods that routes tell apart.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_that_routes_know() {
        let asked = |text: &str| {
            let read = super::super::parse::parse(&format!("if {text} {{}}"), &std::rc::Rc::from("f"));
            asked(&read.expect("it is nginx's")[0])
        };
        assert_eq!(asked("($host = www.a.example)"), Some(Condition::Host("www.a.example".to_owned())));
        assert_eq!(asked("($host ~* ^www\\.(.*)$)"), Some(Condition::AnyWww));
        assert_eq!(asked("($scheme != \"https\")"), Some(Condition::Plain));
        assert_eq!(
            asked("($request_method = 'OPTIONS')"),
            Some(Condition::Methods(vec!["OPTIONS".to_owned()]))
        );
        let two = vec!["GET".to_owned(), "HEAD".to_owned()];
        assert_eq!(asked("($request_method !~ ^(GET|HEAD)$)"), Some(Condition::AllMethodsBut(two)));
        assert_eq!(asked("(-f $request_filename)"), None);
        assert_eq!(asked("($http_user_agent ~* bot)"), None);
    }
}
