//! From the text of the file to a [`Plan`], or to everything that is wrong with it. Knows the file as a whole; its
//! sections are read next door. Only this, `disk`, the lists of proxies and the files of secrets touch the disk: it opens
//! that one file, and looks whether those it names are there. Only this reads the environment.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::de::DeTable;

use crate::plan::{
    Acme, ERROR_PAGES, FILE, GROUP, MAINTENANCE, MAINTENANCE_ALLOW, PROXY_LISTS, Plan, PlanParts, RouteTable,
    STICKY_SECRET, Secrets, TRUSTED_PROXIES, Timeouts, USER,
};
use crate::problem::{Problem, Problems, Report, Severity};
use crate::regular::read_regular;
use crate::routing::Auth;

pub(crate) mod declare;
pub(crate) mod declared;
mod disk;
mod expand;
pub(crate) mod fields;
mod foreign;
mod given;
mod hide;
pub(crate) mod kinds;
mod places;
mod proxies;
mod reading;
mod route;
pub(crate) mod sections;
mod syntax;
mod units;

use disk::Disk;
use expand::Variables;
pub use expand::literal;
use fields::Fields;
use places::Places;
use reading::Reading;
use sections::acme::ACME;
use sections::admin::{ADMIN, demand_token};
use sections::app::APP;
use sections::redis::REDIS;
use sections::route::ROUTE;
use sections::timeouts::TIMEOUTS;
use sections::upstream::UPSTREAM;
use sections::{app, listen, upstream};

/// A file that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The plan that the file describes.
    pub plan: Plan,
    /// What is worth knowing about it; holds no error, and is often empty.
    pub warnings: Report,
}

/// A file, good or not, for whoever looks for more that is wrong with it than it says by itself.
#[derive(Debug)]
pub struct Inspected {
    /// What it says. Where the report has errors, what could not be read is left out of it, or is as if it were not said;
    /// nothing if the file cannot be read at all.
    pub plan: Option<Plan>,
    /// What is wrong with it so far.
    pub report: Report,
    folder: PathBuf,
    places: Places,
}

impl Inspected {
    /// No error has been told so far, so that the plan holds together.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.report.problems().iter().all(|problem| problem.severity != Severity::Error)
    }

    /// Takes the plan out, if it can be used; it can be taken once.
    #[must_use]
    pub fn good_plan(&mut self) -> Option<Plan> {
        if self.is_good() { self.plan.take() } else { None }
    }

    /// The plan and its warnings.
    ///
    /// # Errors
    /// All that has been told, if it cannot be used.
    pub fn into_loaded(mut self) -> Result<Loaded, Report> {
        match self.good_plan() {
            Some(plan) => Ok(Loaded { plan, warnings: self.report }),
            None => Err(self.report),
        }
    }

    /// Whether no error lies within the key at `path`, such as `app.chat`. Warnings are none, and a key that is not
    /// in the file is good.
    #[must_use]
    pub fn is_good_at(&self, path: &str) -> bool {
        let Some(here) = self.places.all_of(path) else { return true };
        let is_here =
            |problem: &Problem| problem.span.as_ref().is_some_and(|span| here.contains(&span.start));
        !self.report.problems().iter().any(|problem| problem.severity == Severity::Error && is_here(problem))
    }

    /// Tells one more thing, at the key at `path`, such as `app.chat.cwd`, or what of the way there is in the file.
    pub fn tell(&mut self, path: &str, severity: Severity, message: String, hint: Option<String>) {
        self.tell_here(self.places.find(path), severity, message, hint);
    }

    /// The same where under `path` the file at `file` is named.
    pub fn tell_of(&mut self, path: &str, file: &Path, message: String) {
        self.tell_here(self.places.find_file(path, file, &self.folder), Severity::Error, message, None);
    }

    /// The same for what is to be known and stops nothing.
    pub fn warn_of(&mut self, path: &str, file: &Path, message: String) {
        self.tell_here(self.places.find_file(path, file, &self.folder), Severity::Warning, message, None);
    }

    fn tell_here(
        &mut self,
        span: Option<Range<usize>>,
        severity: Severity,
        message: String,
        hint: Option<String>,
    ) {
        let problem = Problem { severity, message, span, related: Vec::new(), hint };
        self.report.push(problem);
    }
}

/// Reads the file at `path`. Beyond what [`parse`] finds, certificates and keys that do not exist are errors.
///
/// # Errors
/// Everything that is wrong with it, warnings among it; also that it cannot be read at all.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    inspect(path).into_loaded()
}

/// Reads the file at `path` as [`load`] does, and goes on with what can be read of it.
pub fn inspect(path: &Path) -> Inspected {
    match text_of(path) {
        Ok(text) => read(&text, path, Disk::Read, &|name| std::env::var_os(name)),
        Err(report) => Inspected::nothing(report),
    }
}

fn text_of(path: &Path) -> Result<String, Report> {
    let bytes = read_regular(path).map_err(|error| {
        Report::new(path, "", vec![Problem::error(None, format!("the file cannot be read: {error}"))])
    })?;
    String::from_utf8(bytes).map_err(|error| {
        // Up to here nothing is replaced, so that the first replacement stands where the wrong bytes stood.
        let start = error.utf8_error().valid_up_to();
        let span = start..start + char::REPLACEMENT_CHARACTER.len_utf8();
        let shown = String::from_utf8_lossy(error.as_bytes());
        Report::new(path, &shown, vec![Problem::error(span, "the file is not UTF-8 here")])
    })
}

/// A duration as the file writes it, such as `30s`.
pub fn duration(text: &str) -> Option<Duration> {
    units::DURATIONS.read(text).ok().map(Duration::from_millis)
}

/// Reads the text of a file; `origin` is where it comes from, for messages, and paths in it are relative to the
/// folder of `origin`. Opens no file.
///
/// # Errors
/// Everything that is wrong with it, warnings among it.
pub fn parse(text: &str, origin: &Path) -> Result<Loaded, Report> {
    read(text, origin, Disk::Untouched, &|name| std::env::var_os(name)).into_loaded()
}

impl Inspected {
    fn nothing(report: Report) -> Self {
        Self { plan: None, report, folder: PathBuf::new(), places: Places::default() }
    }
}

fn read(text: &str, origin: &Path, disk: Disk, variables: Variables<'_>) -> Inspected {
    let (mut table, syntax) = DeTable::parse_recoverable(text);
    let shown = hide::without_secrets(text, table.get_ref());
    if !syntax.is_empty() {
        // What stands around a syntax error is not what was meant, so nothing else is said about it.
        return Inspected::nothing(Report::new(origin, &shown, syntax::explain(text, &syntax)));
    }
    let problems = Problems::default();
    let expanded = expand::expand(table.get_mut(), text, variables, &problems);
    let folder = origin.parent().unwrap_or(Path::new(""));
    let reading = Reading::new(problems, expanded, folder, disk).of_keys(FILE.section.names());
    let root = Fields::root(FILE.section, table.get_ref(), &reading);
    let plan = plan(&root);
    drop(root);
    let problems = reading.into_problems();
    Inspected {
        plan: Some(plan),
        report: Report::new(origin, &shown, problems),
        folder: folder.to_owned(),
        places: Places::of(table.get_ref()),
    }
}

/// The plan that the file describes. Some of it is made up where the file is wrong, so that it holds together only
/// if no error has been told.
fn plan(root: &Fields<'_>) -> Plan {
    let timeouts = Timeouts::read(&root.one(&TIMEOUTS));
    let tables = root.many(&UPSTREAM);
    let mut upstreams: Vec<_> = tables.iter().filter_map(|table| upstream::read(table, &timeouts)).collect();
    let apps = app::read(root, &tables);
    let (mut listens, automatic) = listen::read(root, !root.is_without(TRUSTED_PROXIES.name));
    let error_pages = Arc::new(root.optional(&ERROR_PAGES).unwrap_or_default());
    let around = route::Around {
        upstreams: route::Upstreams::new(&upstreams, &tables),
        listens: &listens,
        pages: error_pages.clone(),
        is_closed: root.in_advance(&MAINTENANCE),
        allowed: root.in_advance(&MAINTENANCE_ALLOW).into(),
        has_redis: !root.is_without(REDIS.name),
    };
    let route::Routes { sorted: routes, tables: route_tables } = route::read(root, &around);
    // Who is asked by a URL of its own has an upstream of its own.
    for table in &route_tables {
        let Some(Auth::Ask(ask)) = &table.auth else { continue };
        let is_named = |name: &str| upstreams.iter().any(|upstream| upstream.name == name);
        if let (Some(node), false) = (&ask.node, is_named(&ask.authority) || is_named(&ask.origin)) {
            upstreams.push(upstream::Upstream::of_node(root, &ask.origin, node.clone(), &timeouts));
        }
    }
    let acme = Acme::checked(&root.one(&ACME));
    listen::name_hosts(&mut listens, &automatic, &routes, &acme, root);
    demand_token(&root.one(&ADMIN));
    demand_the_three(root);
    if root.is_without(USER.name) && !root.is_without(GROUP.name) {
        let hint = "write `user = \"…\"` beside it; the group of a user that is not named stays what it is";
        root.push(Problem::error(None, "`group` is that of `user`, which is not there").hint(hint));
    }
    let is_shared = |table: &RouteTable| table.limit.iter().flatten().any(|limit| limit.is_shared);
    if !root.is_without(REDIS.name) && !route_tables.iter().any(is_shared) {
        let problem = Problem::warning(root.one(&REDIS).span, "nothing is counted in this Redis");
        root.push(problem.hint("write `shared = true` in a `limit`, or leave `[redis]` out"));
    }
    let proxy_lists = root.optional(&PROXY_LISTS);
    let parts = PlanParts {
        listens,
        routes,
        route_tables,
        upstreams: upstreams.into_iter().map(Into::into).collect(),
        apps: apps.into_iter().map(Into::into).collect(),
        timeouts,
        acme,
        trusted_proxies: proxies::read(root, proxy_lists.as_deref()),
        proxy_lists,
        sticky_secret: Secrets::new(root.optional(&STICKY_SECRET).unwrap_or_default()),
        error_pages,
    };
    Plan::read(root, parts)
}

/// A file needs a listen and a route, and mostly an upstream; whatever else is wrong, it is shown once how little that is.
/// Apps that serve nobody need none of them.
fn demand_the_three(root: &Fields<'_>) {
    if !root.is_without(APP.name) && THE_THREE.iter().all(|(name, _)| root.is_without(name)) {
        return;
    }
    // Routes may all be answered without a node, and one that is not misses its upstream by name.
    let has_routes = !root.is_without(ROUTE.name);
    let is_missing = |name: &str| root.is_without(name) && !(has_routes && name == UPSTREAM.name);
    let missing: Vec<&(&str, &str)> = THE_THREE.iter().filter(|(name, _)| is_missing(name)).collect();
    if missing.is_empty() {
        return;
    }
    let names: Vec<String> = missing.iter().map(|(name, _)| format!("`{name}`")).collect();
    let lines: Vec<&str> = missing.iter().map(|(_, lines)| *lines).collect();
    root.push(
        Problem::error(None, format!("nothing can be served without {}", names.join(", ")))
            .hint(format!("add\n{}", lines.join("\n"))),
    );
}

/// What a file cannot do without, and the least of each.
const THE_THREE: [(&str, &str); 3] = [
    ("listen", "[[listen]]\naddress = \":80\""),
    ("route", "[[route]]\nupstream = \"nodes\""),
    ("upstream", "[upstream.nodes]\nnodes = [\"127.0.0.1:3000\"]"),
];

#[cfg(test)]
mod tests;
