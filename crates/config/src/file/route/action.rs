//! What a route does: exactly one thing.

use std::path::Path;

use super::upstreams::{Upstreams, Used, upstream};
use crate::file::fields::Fields;
use crate::file::kinds::route::redirect::RedirectTo;
use crate::file::kinds::route::respond::RespondWith;
use crate::file::sections::route as keys;
use crate::problem::Problem;
use crate::routing::{Action, Cache, Files, Pattern};

/// What a route does. Exactly one thing.
pub(super) fn action(
    fields: &Fields<'_>,
    pattern: Option<&Pattern>,
    base: &Path,
    upstreams: &Upstreams<'_>,
    used: &mut Used,
) -> Option<Action> {
    let ways = [keys::UPSTREAM.name, keys::FILES.name, keys::REDIRECT.name, keys::RESPOND.name];
    let said: Vec<&str> = ways.into_iter().filter(|way| fields.has(way)).collect();
    let way = match said[..] {
        [] => {
            let problem = Problem::error(fields.span.clone(), "this route says nothing of what is answered");
            let hint =
                "write `upstream = \"nodes\"`, `files = \"public\"`, `redirect = { … }` or `respond = 404`";
            fields.push(problem.hint(hint));
            used.is_one_astray = true;
            return None;
        }
        [one] => one,
        // What is no file is the upstream's.
        [upstream, files] if (upstream, files) == (keys::UPSTREAM.name, keys::FILES.name) => files,
        [_, second, ..] => {
            let both = said.iter().map(|way| format!("`{way}`")).collect::<Vec<_>>().join(" and ");
            let problem =
                Problem::error(fields.span_of(second), format!("a route has one answer, not {both}"));
            let hint =
                "keep one of them; another route, with a path or methods of its own, can have the other";
            fields.push(problem.hint(hint));
            used.is_one_astray = true;
            return None;
        }
    };
    if way != keys::FILES.name {
        for key in [keys::INDEX.name, keys::FALLBACK.name, keys::CACHE.name]
            .into_iter()
            .filter(|key| fields.has(key))
        {
            let problem = Problem::error(fields.span_of(key), format!("`{key}` goes with `files`"));
            fields.push(problem.hint("write `files = \"public\"`, or leave it out"));
        }
    }
    let given = fields.given(way)?;
    match way {
        way if way == keys::REDIRECT.name => RedirectTo::read_with(given, pattern).map(Action::Redirect),
        way if way == keys::RESPOND.name => RespondWith::read_with(given, pattern).map(Action::Respond),
        way if way == keys::FILES.name => {
            let folder = fields.optional(&keys::FILES)?;
            let upstream = match fields.has(keys::UPSTREAM.name) {
                true => Some(upstream(fields, upstreams, used)?),
                false => None,
            };
            Some(Action::Files(Files {
                folder: base.join(folder),
                index: fields.or_if_absent(&keys::INDEX, vec!["index.html".to_owned()])?,
                fallback: fields.optional(&keys::FALLBACK),
                cache: fields.or_if_absent(&keys::CACHE, Cache::Unsaid)?,
                upstream,
            }))
        }
        _ => upstream(fields, upstreams, used).map(Action::Upstream),
    }
}
