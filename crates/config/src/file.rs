//! From the text of the file to a [`Plan`], or to everything that is wrong with it. Knows the file as a whole; its
//! sections are read next door. Only this, the lists of proxies and the files of secrets touch the disk: it opens that one
//! file, and looks whether those it names are there. Only this reads the environment.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::limits::Limits;
use crate::plan::{AccessLog, Admin, AdminSocket, Log, Plan, Resolver, Secrets, Timeouts};
use crate::problem::{Problem, Problems, Report, Severity};
use crate::regular::{demand_regular, read_regular};

mod app;
mod app_keys;
mod app_kinds;
mod care;
mod choices;
mod declare;
pub(crate) mod declared;
mod drain;
mod expand;
mod fields;
mod foreign;
mod hide;
mod hosts;
pub(crate) mod keys;
mod kinds;
mod listen;
mod places;
mod proxies;
mod reading;
mod rebalance;
mod route;
pub(crate) mod sections;
mod syntax;
mod units;
mod upstream;

use expand::Variables;
pub use expand::literal;
use fields::Fields;
use listen::NamedFile;
use places::Places;
use reading::Reading;
use sections::limits::LIMITS;
use sections::timeouts::TIMEOUTS;

/// A file that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
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
    /// Whether it can be used, with all that has been told so far.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.report.problems().iter().all(|problem| problem.severity != Severity::Error)
    }

    /// What it says, if it can be used.
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

    /// Whether nothing under the key at `path`, such as `app.chat`, is wrong.
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

/// Whether the files that a file names are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Read,
    Untouched,
}

impl Disk {
    fn inspect(self, named: &NamedFile) -> Option<Problem> {
        if self == Self::Untouched {
            return None;
        }
        let wrong = |message: String| Some(Problem::error(named.span.clone(), message));
        let path = named.path.display();
        match named.path.metadata() {
            Ok(file) => {
                let refused = demand_regular(&file).err()?;
                wrong(format!("{path} cannot be read: {refused}"))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => wrong(format!("there is no file {path}")),
            // One that may not be looked at may still be there, for the user that tidelock runs as.
            Err(_) => None,
        }
    }
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
    let reading = Reading::new(problems, expanded, folder, disk);
    let root = Fields::root(&keys::FILE, table.get_ref(), &reading);
    let mut named = Vec::new();
    let plan = plan(&root, folder, &mut named, disk);
    drop(root);
    let mut problems = reading.into_problems();
    problems.extend(named.iter().filter_map(|named| disk.inspect(named)));
    Inspected {
        plan: Some(plan),
        report: Report::new(origin, &shown, problems),
        folder: folder.to_owned(),
        places: Places::of(table.get_ref()),
    }
}

/// What the file says. Holds together only if no error has been told.
fn plan(root: &Fields<'_>, folder: &Path, named: &mut Vec<NamedFile>, disk: Disk) -> Plan {
    let timeouts = Timeouts::read(&root.one(&TIMEOUTS));
    let tables = root.many(&keys::UPSTREAM);
    let upstreams: Vec<_> = tables.iter().filter_map(|table| upstream::read(table, &timeouts)).collect();
    let apps = app::read(root, &tables, folder, named);
    let listens = listen::read(root, folder, named);
    let routes = route::read(root, &route::Upstreams { read: &upstreams, named: &tables }, &listens, folder);
    demand_the_three(root);
    Plan {
        workers: root
            .optional(&keys::WORKERS)
            .and_then(|workers| NonZeroUsize::new(usize::try_from(workers).ok()?)),
        listens,
        routes,
        upstreams: upstreams.into_iter().map(Into::into).collect(),
        apps: apps.into_iter().map(Into::into).collect(),
        trusted_proxies: proxies::read(root, folder, named, disk),
        sticky_secrets: Secrets::new(root.optional(&keys::STICKY_SECRET).unwrap_or_default()),
        limits: Limits::read(&root.one(&LIMITS)),
        timeouts,
        log: log(&root.one(&keys::LOG), folder),
        drain: drain::read(&root.one(&keys::DRAIN)),
        admin: admin(&root.one(&keys::ADMIN), folder),
        resolver: resolver(&root.one(&keys::RESOLVER)),
    }
}

fn log(fields: &Fields<'_>, folder: &Path) -> Log {
    let access = match fields.or_default(&keys::ACCESS) {
        AccessLog::File(path) => AccessLog::File(folder.join(path)),
        place => place,
    };
    Log { access, format: fields.or_default(&keys::FORMAT) }
}

fn admin(fields: &Fields<'_>, folder: &Path) -> Admin {
    let socket = match fields.optional(&keys::SOCKET) {
        Some(AdminSocket::Path(path)) => AdminSocket::Path(folder.join(path)),
        place => place.unwrap_or_default(),
    };
    Admin { socket, watch: fields.or_default(&keys::WATCH) }
}

fn resolver(fields: &Fields<'_>) -> Resolver {
    Resolver {
        nameservers: fields.optional(&keys::NAMESERVERS).unwrap_or_default(),
        ttl_max: fields.or_default(&keys::TTL_MAX),
    }
}

/// A file needs a listen and a route, and mostly an upstream; whatever else is wrong, it is shown once how little that is.
/// Apps that serve nobody need none of them.
fn demand_the_three(root: &Fields<'_>) {
    if !root.is_without(app_keys::APP.name) && THE_THREE.iter().all(|(name, _)| root.is_without(name)) {
        return;
    }
    // Routes may all be answered without a node, and one that is not misses its upstream by name.
    let has_routes = !root.is_without(keys::route::ROUTE.name);
    let is_missing = |name: &str| root.is_without(name) && !(has_routes && name == keys::UPSTREAM.name);
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

/// A number that a kind has bounded, far below what a `usize` holds.
fn whole(bounded: u64) -> usize {
    usize::try_from(bounded).unwrap_or(usize::MAX)
}

/// What a file cannot do without, and the least of each.
const THE_THREE: [(&str, &str); 3] = [
    ("listen", "[[listen]]\naddress = \"0.0.0.0:80\""),
    ("route", "[[route]]\nupstream = \"nodes\""),
    ("upstream", "[upstream.nodes]\nnodes = [\"127.0.0.1:3000\"]"),
];

#[cfg(test)]
mod tests;
