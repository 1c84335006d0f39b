//! A location, with all that holds in it.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use config::routing::Pattern;

use super::ours::Left;
use super::parse::Directive;
use super::patterns::whole;
use super::pools::Pools;
use super::scope::Scope;
use super::sites::Site;

/// How a location's path is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Prefix,
    /// `^~`: expressions are not tried.
    Firm,
    Exact,
    Regex {
        is_any_case: bool,
    },
    Named,
}

/// One location, and all that holds in it.
#[derive(Debug, Clone)]
pub(super) struct Location<'f> {
    pub(super) directive: &'f Directive,
    pub(super) scope: Scope<'f>,
    pub(super) kind: Kind,
    pub(super) path: String,
    /// The location around an expression.
    pub(super) within: Option<String>,
    pub(super) server_name: &'f str,
    pub(super) site_is_on_usual_ports: bool,
}

impl Location<'_> {
    /// The name of the line of the answer to an `auth_request` that a variable is set to.
    pub(super) fn answered(&self, value: &str) -> Option<String> {
        let set = self.scope.list("auth_request_set").into_iter().find(|set| set.arg() == value)?;
        let name = set.args.get(1)?.strip_prefix("$upstream_http_")?;
        Some(name.replace('_', "-"))
    }
}

/// What is common to the locations of a server.
pub(super) struct Work<'w, 'f> {
    pub(super) site: &'f Site<'f>,
    pub(super) pools: &'w mut Pools<'f>,
    pub(super) left: &'w mut Vec<Left>,
    pub(super) places: Vec<Location<'f>>,
    pub(super) index: Index,
    /// Whether its listens have TLS.
    pub(super) tls: Vec<(String, bool)>,
}

/// Where the locations of a server are, once they are known: found once for each path, because there may be thousands.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Those of one path, and those with a name.
    alone: OnceCell<HashMap<String, usize>>,
    /// Those that answer a path.
    answering: RefCell<HashMap<String, Option<usize>>>,
}

impl<'f> Work<'_, 'f> {
    /// The location of this path alone (`= /path`), or of this name (`@name`).
    pub(super) fn alone(&self, path: &str) -> Option<&Location<'f>> {
        let index = self.index.alone.get_or_init(|| {
            let places = self.places.iter().enumerate().rev();
            let alone = places.filter(|(_, place)| matches!(place.kind, Kind::Exact | Kind::Named));
            alone.map(|(at, place)| (place.path.clone(), at)).collect()
        });
        index.get(path).map(|at| &self.places[*at])
    }

    /// The location that answers a path, as nginx chooses it.
    pub(super) fn answering(&self, path: &str) -> Option<&Location<'f>> {
        let known = self.index.answering.borrow().get(path).copied();
        let at = known.unwrap_or_else(|| {
            let found = self.chosen(path);
            self.index.answering.borrow_mut().insert(path.to_owned(), found);
            found
        });
        at.map(|at| &self.places[at])
    }

    fn chosen(&self, path: &str) -> Option<usize> {
        let place = |at: &usize| &self.places[*at];
        let all = || 0..self.places.len();
        if let Some(exact) = all().find(|at| place(at).kind == Kind::Exact && place(at).path == path) {
            return Some(exact);
        }
        let is_prefix = |at: &usize| matches!(place(at).kind, Kind::Prefix | Kind::Firm);
        let prefixes = all().filter(|at| is_prefix(at) && path.starts_with(&*place(at).path));
        let longest = prefixes.max_by_key(|at| place(at).path.len());
        if longest.is_some_and(|at| place(&at).kind == Kind::Firm) {
            return longest;
        }
        let takes = |at: &usize| match place(at).kind {
            Kind::Regex { is_any_case } => Pattern::new(&whole(&place(at).path, is_any_case))
                .is_ok_and(|pattern| pattern.matches(path.as_bytes())),
            _ => false,
        };
        all().find(takes).or(longest)
    }
}

/// What becomes no route.
pub(super) fn told(directive: &Directive, why: &str) -> Left {
    let todo = "write a route for it by hand, see docs/routes.md".to_owned();
    Left { at: directive.at.clone(), what: directive.text(), why: why.to_owned(), todo }
}
