//! The upstreams that routes name: which there are, and which of them are used.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::file::fields::Fields;
use crate::file::sections::route::{self as keys, RouteTable};
use crate::plan::{Upstream, UpstreamId};
use crate::problem::Problem;
use crate::routing::{Ask, ErrorPages, Mirror, Split};

/// The upstreams a route may name.
pub(crate) struct Upstreams<'f> {
    /// Those that are in the file, readable or not: a route to one with a mistake in it is no second mistake.
    named: &'f [Fields<'f>],
    /// Those that could be read.
    pub(super) read: &'f [Upstream],
    /// Their names, and which they are if they could be read. There may be as many as there are routes.
    by_name: HashMap<&'f str, Option<UpstreamId>>,
}

/// Which upstreams the routes read so far send something to.
#[derive(Default)]
pub(super) struct Used {
    names: HashSet<String>,
    /// Whether a route misses its upstream.
    pub(super) is_one_astray: bool,
}

/// The upstream that a route names.
pub(super) fn upstream(
    fields: &Fields<'_>,
    table: &RouteTable,
    upstreams: &Upstreams<'_>,
    used: &mut Used,
) -> Option<UpstreamId> {
    let Some(shares) = &table.upstream else {
        used.note(None, upstreams);
        return None;
    };
    let mut found = Vec::new();
    for share in shares {
        found.push(find(fields, keys::UPSTREAM.name, &share.name, upstreams));
        used.note(Some(share.name.clone()), upstreams);
    }
    found.into_iter().collect::<Option<Vec<_>>>()?.first().copied()
}

/// The sides of a route that has several upstreams, and what the file calls them.
pub(super) fn split(
    fields: &Fields<'_>,
    table: &RouteTable,
    upstreams: &Upstreams<'_>,
) -> Option<(Arc<Split>, Vec<UpstreamId>)> {
    let problem = |key: &str, message: &str, hint: &str| {
        fields.push(Problem::error(fields.span_of(key), message).hint(hint));
        None
    };
    let Some(shares) = table.upstream.as_deref().filter(|shares| shares.len() > 1) else {
        return match fields.has(keys::SPLIT.name)
            && fields.has(keys::UPSTREAM.name) == table.upstream.is_some()
        {
            true => problem(keys::SPLIT.name, "`split` goes with several upstreams", "leave it out"),
            false => None,
        };
    };
    if fields.has(keys::FILES.name) {
        return problem(keys::UPSTREAM.name, "beside `files` there is one upstream", "name one of them");
    }
    let ids = shares.iter().map(|share| *upstreams.by_name.get(&*share.name)?).collect::<Option<Vec<_>>>()?;
    let split = Split { sides: shares.to_vec(), by: table.split.clone().unwrap_or_default() };
    Some((Arc::new(split), ids))
}

/// Looks up the upstream that gets copies of what another is asked.
pub(super) fn of_mirror(
    fields: &Fields<'_>,
    table: &RouteTable,
    upstreams: &Upstreams<'_>,
    used: &mut Used,
) -> Option<Mirror> {
    let mirror = table.mirror.clone()?;
    let _ = find(fields, keys::MIRROR.name, &mirror.upstream, upstreams);
    used.note(Some(mirror.upstream.clone()), upstreams);
    if !fields.has(keys::UPSTREAM.name) {
        let problem = Problem::error(fields.span_of(keys::MIRROR.name), "`mirror` goes with `upstream`");
        fields.push(problem.hint("only what a node is asked is copied"));
    }
    Some(mirror)
}

/// Looks up the upstream that is asked whether requests may pass, where it is one of the file.
pub(super) fn of_ask(fields: &Fields<'_>, ask: &Ask, upstreams: &Upstreams<'_>, used: &mut Used) {
    let is_named = upstreams.by_name.contains_key(&*ask.authority);
    if is_named || ask.node.is_none() {
        let _ = find(fields, keys::AUTH.name, &ask.authority, upstreams);
        used.note(Some(ask.authority.clone()), upstreams);
    }
}

/// Looks up the upstreams that answer in the place of faults, in the pages that stand in `fields`.
pub(super) fn of_pages(fields: &Fields<'_>, pages: &ErrorPages, upstreams: &Upstreams<'_>, used: &mut Used) {
    for name in pages.upstreams() {
        let _ = find(fields, keys::ERROR_PAGES.name, name, upstreams);
        used.note(Some(name.to_owned()), upstreams);
    }
}

impl<'f> Upstreams<'f> {
    pub(crate) fn new(read: &'f [Upstream], named: &'f [Fields<'f>]) -> Self {
        let mut by_name: HashMap<_, _> = named.iter().map(|upstream| (upstream.name, None)).collect();
        by_name.extend((0..).zip(read).map(|(at, upstream)| (&*upstream.name, Some(UpstreamId(at)))));
        Self { named, read, by_name }
    }
}

impl Used {
    fn note(&mut self, name: Option<String>, upstreams: &Upstreams<'_>) {
        match name.filter(|name| upstreams.by_name.contains_key(&**name)) {
            Some(name) => {
                self.names.insert(name);
            }
            None => self.is_one_astray = true,
        }
    }

    pub(super) fn warn_of_others(&self, upstreams: &Upstreams<'_>) {
        // A route that misses its upstream may well mean the one that seems unused.
        if self.is_one_astray {
            return;
        }
        for upstream in upstreams.named.iter().filter(|upstream| !self.names.contains(upstream.name)) {
            let message = format!("no route uses the upstream `{}`", upstream.name);
            upstream.push(
                Problem::warning(upstream.span.clone(), message).hint(format!(
                    "send something there: `upstream = \"{}\"` in a `[[route]]`",
                    upstream.name
                )),
            );
        }
    }
}

/// The upstream of a name, which stands at `key`.
fn find(fields: &Fields<'_>, key: &str, name: &str, upstreams: &Upstreams<'_>) -> Option<UpstreamId> {
    if let Some(upstream) = upstreams.by_name.get(name) {
        return *upstream;
    }
    let names: Vec<&str> = upstreams.named.iter().map(|upstream| upstream.name).collect();
    let hint = fields.reading.instead(name, &names).unwrap_or_else(|| {
        format!("write one: `[upstream.{name}]`, and `nodes = [\"127.0.0.1:3000\"]` under it")
    });
    fields.push(Problem::error(fields.span_of(key), format!("there is no upstream \"{name}\"")).hint(hint));
    None
}
