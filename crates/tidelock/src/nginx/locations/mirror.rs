//! `mirror`: another upstream that gets copies.

use super::node::proxied;
use crate::nginx::ours::{Left, Route, Takes};
use crate::nginx::place::{Location, Work};
use crate::quote::quoted;

/// Says it of the route of a place whose node is asked.
pub(super) fn say<'f>(place: &Location<'f>, work: &mut Work<'_, 'f>, route: &mut Route) {
    let mirrors: Vec<_> =
        place.scope.list("mirror").into_iter().filter(|mirror| mirror.arg() != "off").collect();
    let Some(mirror) = mirrors.first() else { return };
    let leave = |why: &str| {
        let todo = "say `mirror` of the route by hand, see docs/routes.md".to_owned();
        Left { at: mirror.at.clone(), what: mirror.text(), why: why.to_owned(), todo }
    };
    if mirrors.len() > 1 {
        work.left.push(leave("one upstream gets copies"));
        return;
    }
    let asked = work.answering(mirror.arg()).cloned();
    let pass = asked.as_ref().and_then(|asked| {
        asked.directive.inside().iter().find(|one| one.name == "proxy_pass").map(|pass| (asked, pass))
    });
    let Some((asked, pass)) = pass else {
        work.left.push(leave("no node answers that location"));
        return;
    };
    if !pass.arg().ends_with("$request_uri") {
        work.left.push(leave("a copy has the path of its request, `$request_uri`"));
        return;
    }
    if place.scope.one("mirror_request_body").is_some_and(|one| one.arg() == "off") {
        work.left.push(leave("a copy has the body of its request"));
        return;
    }
    let mut copies = Route::of(asked.directive, Takes::Prefix("/".to_owned()));
    let is_said = proxied(asked, pass, work, &mut copies);
    let Some(name) = copies.upstream().filter(|_| is_said) else { return };
    route.set("mirror", format!("{{ upstream = {}, body_bytes_max = \"1MiB\" }}", quoted(&name)));
    route.asks.push(name);
    route.remarks.push(
        "A request with a body of more than 1 MiB is not copied, nor are those of WebSockets and Socket.IO."
            .to_owned(),
    );
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::rc::Rc;

    use crate::nginx::parse::parse;
    use crate::nginx::{Translated, Whole, translate};

    #[test]
    fn a_mirror_is_the_node_of_its_location() {
        let copied = "mirror = { upstream = \"b-2\", body_bytes_max = \"1MiB\" }\n";
        for (mirror, at_mirror, is_said) in [
            ("mirror /m;", "internal; proxy_pass http://b:2$request_uri;", true),
            ("mirror /m; mirror_request_body on;", "internal; proxy_pass http://b:2$request_uri;", true),
            ("mirror off;", "proxy_pass http://b:2$request_uri;", false),
            ("mirror /m;", "internal; proxy_pass http://b:2;", false),
            ("mirror /m;", "return 200;", false),
            ("mirror /m; mirror /other;", "internal; proxy_pass http://b:2$request_uri;", false),
            ("mirror /m; mirror_request_body off;", "internal; proxy_pass http://b:2$request_uri;", false),
        ] {
            let text = format!(
                "server {{ listen 80; location / {{ {mirror} proxy_pass http://a:1; }} location = /m {{ {at_mirror} }} }}"
            );
            let directives = parse(&text, &Rc::from("f")).expect("it is nginx's");
            let Translated { text, left } =
                translate(Whole { directives, ..Whole::default() }, Path::new("nginx.conf"));
            assert_eq!(text.contains(copied), is_said, "{mirror} {at_mirror}: {text}");
            assert_eq!(left.is_empty(), is_said || mirror == "mirror off;", "{mirror} {at_mirror}: {left:?}");
            config::parse(&text, Path::new("/import.toml")).expect("a good file");
        }
    }
}
