//! What a route does: exactly one thing.

use super::said_or;
use super::upstreams::{Upstreams, Used, upstream};
use crate::file::fields::Fields;
use crate::file::sections::route::{self as keys, RouteTable};
use crate::problem::Problem;
use crate::routing::{Action, Cache, Files};

/// What a route does. Exactly one thing.
pub(super) fn action(
    fields: &Fields<'_>,
    table: &RouteTable,
    upstreams: &Upstreams<'_>,
    used: &mut Used,
) -> Option<Action> {
    let way = way(fields, used)?;
    if way != keys::FILES.name {
        let of_files = [keys::INDEX.name, keys::FALLBACK.name, keys::CACHE.name];
        for key in of_files.into_iter().filter(|key| fields.has(key)) {
            let problem = Problem::error(fields.span_of(key), format!("`{key}` goes with `files`"));
            fields.push(problem.hint("write `files = \"public\"`, or leave it out"));
        }
    }
    match way {
        way if way == keys::REDIRECT.name => table.redirect.clone().map(Action::Redirect),
        way if way == keys::RESPOND.name => table.respond.clone().map(Action::Respond),
        way if way == keys::FILES.name => files(fields, table, upstreams, used).map(Action::Files),
        _ => upstream(fields, table, upstreams, used).map(Action::Upstream),
    }
}

/// The key that says what a route does.
fn way(fields: &Fields<'_>, used: &mut Used) -> Option<&'static str> {
    let ways = [keys::UPSTREAM.name, keys::FILES.name, keys::REDIRECT.name, keys::RESPOND.name];
    let said: Vec<&str> = ways.into_iter().filter(|way| fields.has(way)).collect();
    let problem = match said[..] {
        [one] => return Some(one),
        // What is no file is the upstream's.
        [upstream, files] if (upstream, files) == (keys::UPSTREAM.name, keys::FILES.name) => {
            return Some(files);
        }
        [] => Problem::error(fields.span.clone(), "this route says nothing of what is answered").hint(
            "write `upstream = \"nodes\"`, `files = \"public\"`, `redirect = { … }` or `respond = 404`",
        ),
        [_, second, ..] => {
            let both = said.iter().map(|way| format!("`{way}`")).collect::<Vec<_>>().join(" and ");
            Problem::error(fields.span_of(second), format!("a route has one answer, not {both}")).hint(
                "keep one of them; another route, with a path or methods of its own, can have the other",
            )
        }
    };
    fields.push(problem);
    used.is_one_astray = true;
    None
}

fn files(
    fields: &Fields<'_>,
    table: &RouteTable,
    upstreams: &Upstreams<'_>,
    used: &mut Used,
) -> Option<Files> {
    let folder = fields.reading.folder().join(table.files.as_ref()?);
    let upstream = match fields.has(keys::UPSTREAM.name) {
        true => Some(upstream(fields, table, upstreams, used)?),
        false => None,
    };
    let index = said_or(fields, keys::INDEX.name, table.index.clone(), vec!["index.html".to_owned()])?;
    let cache = said_or(fields, keys::CACHE.name, table.cache, Cache::Unsaid)?;
    Some(Files { folder, index, fallback: table.fallback.clone(), cache, upstream })
}
