//! `split_clients`: the upstreams that share the clients of a location, where its variable is what `proxy_pass` names.

use super::parse::Directive;
use super::scope::variable;
use super::tables::{put_in, refers};

/// What a variable of `split_clients` may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shares {
    /// Each value and its weight, of which none is twice and one at least is not 0.
    pub(super) values: Vec<(String, u32)>,
    /// `by` of `split`; `None` for the client's address, which is what we do unsaid.
    pub(super) by: Option<String>,
}

/// What `text` may be by the one of `blocks` whose variable stands in it, with the values put in; `None` where
/// there is none.
pub(super) fn of(text: &str, blocks: &[&Directive]) -> Option<Result<Shares, &'static str>> {
    let block = blocks.iter().find(|block| name(block).is_some_and(|name| refers(text, name)))?;
    let name = name(block)?;
    Some(read(block).map(|shares| Shares {
        values: shares.values.iter().map(|(value, weight)| (put_in(text, name, value), *weight)).collect(),
        ..shares
    }))
}

fn name(block: &Directive) -> Option<&str> {
    block.args.get(1)?.strip_prefix('$')
}

fn read(block: &Directive) -> Result<Shares, &'static str> {
    let by = by(block.arg()).ok_or("clients are not told apart by that")?;
    let mut values: Vec<(String, u32)> = Vec::new();
    let mut rest = ALL;
    for row in block.inside() {
        let value = row.arg().to_owned();
        let share = match row.name.as_str() {
            "*" => rest,
            percent => hundredths(percent).filter(|share| *share <= rest).ok_or("a share cannot be read")?,
        };
        rest -= share;
        match values.iter_mut().find(|(known, _)| *known == value) {
            Some((_, sum)) => *sum += share,
            None => values.push((value, share)),
        }
    }
    // Who is in no share has an empty value, and so no node.
    if rest > 0 || values.len() > VALUES_MAX {
        return Err("not every client has a node by it");
    }
    let divisor = values.iter().fold(0, |divisor, (_, share)| common(divisor, *share));
    for (_, share) in &mut values {
        *share /= divisor.max(1);
    }
    Ok(Shares { values, by })
}

/// What clients are told apart by. A text around the variable mixes the hash alone.
fn by(text: &str) -> Option<Option<String>> {
    let mut variables = text.split('$').skip(1).map(|behind| variable(behind).0);
    let (one, None) = (variables.next()?, variables.next()) else { return None };
    let (kind, of) = one.split_once('_').unwrap_or((one, ""));
    match (kind, of) {
        ("remote", "addr") | ("binary", "remote_addr") => Some(None),
        ("request", "id") => Some(Some("random".to_owned())),
        (_, "") => None,
        ("cookie", of) => Some(Some(format!("cookie:{of}"))),
        ("http", of) => Some(Some(format!("header:{}", of.replace('_', "-")))),
        ("arg", of) => Some(Some(format!("query:{of}"))),
        _ => None,
    }
}

/// "0.5%" is 50.
fn hundredths(text: &str) -> Option<u32> {
    let number = text.strip_suffix('%')?;
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain(part) || !is_plain(whole) || part.len() > 2 || whole.len() > 3 {
        return None;
    }
    let whole: u32 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    format!("{part:0<2}").parse::<u32>().ok().map(|part| whole * 100 + part)
}

fn common(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { common(b, a % b) }
}

/// All clients, in hundredths of a percent, which is as fine as nginx reads shares.
const ALL: u32 = 10_000;
/// As many as a route of ours may have.
const VALUES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::rc::Rc;

    use super::super::parse::parse;
    use super::super::{Translated, Whole, translate};
    use super::*;

    /// Values with their weights, and by what.
    type Want<'w> = (&'w [(&'w str, u32)], Option<&'w str>);

    fn check(block: &str, want: Result<Want<'_>, &'static str>) {
        let read = parse(block, &Rc::from("f")).expect("it is nginx's");
        let shares = of("http://$v", &read.iter().collect::<Vec<_>>()).expect("its variable is there");
        let want = want.map(|(values, by)| Shares {
            values: values.iter().map(|(value, weight)| (format!("http://{value}"), *weight)).collect(),
            by: by.map(str::to_owned),
        });
        assert_eq!(shares, want, "{block}");
    }

    #[test]
    fn shares_become_weights() {
        let (a, b) = ("a", "b");
        check("split_clients $remote_addr $v { 5% a; * b; }", Ok((&[(a, 1), (b, 19)], None)));
        check(
            "split_clients \"${remote_addr}salt\" $v { 0.5% a; .25% b; * c; }",
            Ok((&[(a, 2), (b, 1), ("c", 397)], None)),
        );
        check("split_clients $cookie_id $v { 50% a; 50% b; }", Ok((&[(a, 1), (b, 1)], Some("cookie:id"))));
        check(
            "split_clients $http_x_user $v { 10% a; 10% b; * a; }",
            Ok((&[(a, 9), (b, 1)], Some("header:x-user"))),
        );
        check("split_clients $request_id $v { 100% a; }", Ok((&[(a, 1)], Some("random"))));
        check("split_clients $arg_u $v { 0% a; * b; }", Ok((&[(a, 0), (b, 1)], Some("query:u"))));
        check(
            "split_clients $remote_addr$http_user_agent $v { * a; }",
            Err("clients are not told apart by that"),
        );
        check("split_clients $cookie_ $v { * a; }", Err("clients are not told apart by that"));
        check("split_clients $remote_addr $v { 5% a; }", Err("not every client has a node by it"));
        check("split_clients $remote_addr $v { 60% a; 60% b; }", Err("a share cannot be read"));
        check("split_clients $remote_addr $v { x a; * b; }", Err("a share cannot be read"));
    }

    #[test]
    fn the_route_shares_its_clients_as_the_variable_does() {
        let of = |used: &str| {
            let text = format!(
                "split_clients $cookie_v $side {{ 5% b:1; * a:1; }} server {{ listen 80; location / {{ {used} }} }}"
            );
            let directives = parse(&text, &Rc::from("f")).expect("it is nginx's");
            translate(Whole { directives, ..Whole::default() }, Path::new("f"))
        };
        let Translated { text, left, .. } = of("proxy_pass http://$side;");
        assert!(left.is_empty(), "{left:?}");
        let shared = "\nupstream = [{ name = \"b-1\", weight = 1 }, { name = \"a-1\", weight = 19 }]\nsplit = { by = \"cookie:v\" }\n";
        assert!(text.contains(shared) && config::parse(&text, Path::new("/f")).is_ok(), "{text}");
        for used in [
            "proxy_pass http://$side/x;",
            "root /www/$side;",
            "proxy_pass http://a:1; add_header X-Side $side;",
        ] {
            assert_eq!(of(used).left.len(), 1, "{used}");
        }
    }

    #[test]
    fn a_text_without_its_variable_is_not_shared() {
        let read = parse("split_clients $remote_addr $v { * a; }", &Rc::from("f")).expect("it is nginx's");
        assert_eq!(of("http://$value", &read.iter().collect::<Vec<_>>()), None);
    }
}
