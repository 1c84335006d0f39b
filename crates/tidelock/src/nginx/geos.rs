//! `geo`: who may by address, where an `if` on its variable returns 403.

use std::net::IpAddr;

use ipnet::IpNet;

use super::parse::Directive;
use super::scope::Scope;

/// The networks that such an `if` lets by, where it lets by only some, and those that it does not, whatever lets them by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Let {
    pub(super) allow: Vec<IpNet>,
    pub(super) deny: Vec<IpNet>,
}

/// Whom an `if` lets by, or why that cannot be said; `None` where it is not about the variable of a `geo`, or does
/// something else than refuse.
pub(super) fn refused(condition: &Directive, scope: &Scope<'_>) -> Option<Result<Let, &'static str>> {
    let text = condition.args.join(" ");
    let text = text.trim().strip_prefix('(')?.strip_suffix(')')?.trim();
    let (variable, rest) = text.split_once(' ').unwrap_or((text, ""));
    let (operator, value) = rest.trim().split_once(' ').unwrap_or((rest, ""));
    let value = value.trim().trim_matches(['"', '\'']);
    let is_said = |said: &str| match operator {
        "" => Some(!matches!(said, "" | "0")),
        "=" => Some(said == value),
        "!=" => Some(said != value),
        _ => None,
    };
    let geos = scope.all("geo");
    let geo = geos.iter().find(|geo| geo.args.last().is_some_and(|name| name == variable))?;
    let [returned] = condition.inside() else { return None };
    let is_refusal = returned.name == "return" && returned.args.first().is_some_and(|status| status == "403");
    is_said("").filter(|_| is_refusal)?;
    Some(read(geo, &|said| is_said(said).unwrap_or_default()))
}

/// Of several networks that an address is in, the smallest decides.
fn read(geo: &Directive, is_refused: &dyn Fn(&str) -> bool) -> Result<Let, &'static str> {
    if geo.args.len() > 1 && geo.arg() != "$remote_addr" {
        return Err("clients are told apart by their own address alone");
    }
    let mut refuses_others = is_refused("");
    let mut rows = Vec::new();
    for row in geo.inside() {
        match row.name.as_str() {
            "default" => refuses_others = is_refused(row.arg()),
            "ranges" | "include" | "delete" | "proxy" | "proxy_recursive" => {
                return Err("its networks do not stand in it one by one");
            }
            text => rows.push((network(text).ok_or("a network cannot be read")?, is_refused(row.arg()))),
        }
    }
    // What says the same as what is around it says nothing.
    let around = |network: &IpNet| {
        let larger = rows.iter().filter(|(other, _)| other != network && other.contains(network));
        larger.max_by_key(|(other, _)| other.prefix_len()).map_or(refuses_others, |(_, refuses)| *refuses)
    };
    let telling: Vec<_> = rows.iter().filter(|(network, refuses)| around(network) != *refuses).collect();
    let of =
        |refuses: bool| telling.iter().filter(move |(_, one)| *one == refuses).map(|(network, _)| *network);
    let is_in = |inner: &IpNet, outer: &IpNet| inner != outer && outer.contains(inner);
    if of(false).any(|good| of(true).any(|bad| is_in(&good, &bad))) {
        return Err("who is denied here is so whatever else allows it");
    }
    if refuses_others && of(false).next().is_none() {
        return Err("it lets nobody by");
    }
    Ok(Let { allow: if refuses_others { of(false).collect() } else { Vec::new() }, deny: of(true).collect() })
}

pub(super) fn network(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    Some(address.or_else(|_| text.parse::<IpNet>()).ok()?.trunc())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::rc::Rc;

    use super::super::parse::parse;
    use super::super::{Translated, Whole, translate};
    use super::*;

    /// The networks that are allowed and those that are denied.
    type Want<'w> = (&'w [&'w str], &'w [&'w str]);

    fn check(geo: &str, condition: &str, want: Option<Result<Want<'_>, &'static str>>) {
        let text = format!("geo {geo} if ({condition}) {{ return 403; }}");
        let read = parse(&text, &Rc::from("f")).expect("it is nginx's");
        let scope = Scope::default().inner(&read);
        let networks = |texts: &[&str]| texts.iter().map(|text| network(text).expect("it is one")).collect();
        let want =
            want.map(|want| want.map(|(allow, deny)| Let { allow: networks(allow), deny: networks(deny) }));
        assert_eq!(refused(&read[1], &scope), want, "{text}");
    }

    #[test]
    fn who_is_refused_by_a_geo() {
        let bad = "$bad { default 0; 10.0.0.0/8 1; 192.0.2.7 1; 198.51.100.0/24 0; }";
        check(bad, "$bad", Some(Ok((&[], &["10.0.0.0/8", "192.0.2.7/32"]))));
        check(bad, "$bad = 1", Some(Ok((&[], &["10.0.0.0/8", "192.0.2.7/32"]))));
        check(bad, "$bad = 2", Some(Ok((&[], &[]))));
        check(bad, "$bad = 0", Some(Ok((&["10.0.0.0/8", "192.0.2.7/32"], &[]))));
        let good = "$remote_addr $good { 10.0.0.0/8 yes; 10.1.0.0/16 no; 10.1.2.0/24 no; ::1 yes; }";
        check(good, "$good != yes", Some(Ok((&["10.0.0.0/8", "::1/128"], &["10.1.0.0/16"]))));
        check(
            "$v { 10.0.0.0/8 1; 10.1.0.0/16 0; }",
            "$v",
            Some(Err("who is denied here is so whatever else allows it")),
        );
        check(
            "$v { ranges; default 0; 1.1.1.1-1.1.1.9 1; }",
            "$v",
            Some(Err("its networks do not stand in it one by one")),
        );
        check(
            "$http_x $v { 10.0.0.0/8 1; }",
            "$v",
            Some(Err("clients are told apart by their own address alone")),
        );
        check("$v { default 1; }", "$v", Some(Err("it lets nobody by")));
        check(bad, "$other", None);
        check(bad, "$bad ~ 1", None);
    }
    #[test]
    fn an_if_on_a_geo_is_who_may() {
        let geo = "geo $bad { default 0; 10.0.0.0/8 1; } geo $good { default 0; 192.0.2.0/24 1; }";
        for (conditions, said, is_told) in [
            ("if ($bad) { return 403; }", "deny = [\"10.0.0.0/8\"]\n", false),
            ("if ($good = 0) { return 403; }", "allow = [\"192.0.2.0/24\"]\n", false),
            (
                "deny 10.1.0.0/16; if ($bad) { return 403; }",
                "deny = [\"10.1.0.0/16\", \"10.0.0.0/8\"]\n",
                false,
            ),
            ("if ($bad) { return 444; }", "", true),
            ("allow 127.0.0.1; deny all; if ($good = 0) { return 403; }", "respond = 403\n", true),
        ] {
            for (before, inside) in [(conditions, ""), ("", conditions)] {
                let text = format!(
                    "{geo} server {{ listen 80; {before} location /x {{ {inside} proxy_pass http://a:1; }} }}"
                );
                let directives = parse(&text, &Rc::from("f")).expect("it is nginx's");
                let Translated { text, left } =
                    translate(Whole { directives, ..Whole::default() }, Path::new("nginx.conf"));
                let route =
                    text.split("[[route]]").find(|route| route.contains("path = \"/x\"")).expect(&text);
                assert!(route.contains(said), "{conditions}: {text}");
                assert_eq!(!left.is_empty(), is_told, "{conditions}: {left:?}");
                config::parse(&text, Path::new("/import.toml")).expect("a good file");
            }
        }
    }
}
