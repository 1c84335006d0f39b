//! A location, with all that holds in it.

use super::ours::Left;
use super::parse::Directive;
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
pub(super) struct Place<'f> {
    pub(super) directive: &'f Directive,
    pub(super) scope: Scope<'f>,
    pub(super) kind: Kind,
    pub(super) path: String,
    /// The location around an expression.
    pub(super) within: Option<String>,
    pub(super) server_name: &'f str,
    pub(super) site_is_on_usual_ports: bool,
}

/// What is common to the locations of a server.
pub(super) struct Work<'w, 'f> {
    pub(super) site: &'f Site<'f>,
    pub(super) pools: &'w mut Pools<'f>,
    pub(super) left: &'w mut Vec<Left>,
    pub(super) places: Vec<Place<'f>>,
    /// Whether its listens have TLS.
    pub(super) tls: Vec<(String, bool)>,
}

/// What becomes no route.
pub(super) fn told(directive: &Directive, why: &str) -> Left {
    let todo = "write a route for it by hand, see docs/routes.md".to_owned();
    Left { at: directive.at.clone(), what: directive.text(), why: why.to_owned(), todo }
}
