//! From the text of the file to a [`Plan`], or to everything that is wrong with it. Knows the file as a whole; its
//! sections are read next door. Only this and the lists of proxies touch the disk: it opens that one file, and looks
//! whether those it names are there.

use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::limits::Limits;
use crate::plan::{AccessLog, Admin, AdminSocket, Log, Plan, Resolver, Secrets, Timeouts};
use crate::problem::{Problem, Problems, Report, Severity};
use crate::regular::{demand_regular, read_regular};

mod app;
mod app_keys;
mod app_kinds;
mod care;
mod choices;
pub(crate) mod declared;
mod drain;
mod fields;
mod hosts;
pub(crate) mod keys;
mod kinds;
mod listen;
mod proxies;
mod rebalance;
mod route;
mod units;
mod upstream;

use declared::{Key, Or};
use fields::Fields;
use kinds::{Count, Size};
use listen::NamedFile;

/// A file that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub plan: Plan,
    /// What is worth knowing about it; holds no error, and is often empty.
    pub warnings: Report,
}

/// Reads the file at `path`. Beyond what [`parse`] finds, certificates and keys that do not exist are errors.
///
/// # Errors
/// Everything that is wrong with it, warnings among it; also that it cannot be read at all.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    let bytes = read_regular(path).map_err(|error| {
        Report::new(path, "", vec![Problem::error(None, format!("the file cannot be read: {error}"))])
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        // Up to here nothing is replaced, so that the first replacement stands where the wrong bytes stood.
        let start = error.utf8_error().valid_up_to();
        let span = start..start + char::REPLACEMENT_CHARACTER.len_utf8();
        let shown = String::from_utf8_lossy(error.as_bytes());
        Report::new(path, &shown, vec![Problem::error(span, "the file is not UTF-8 here")])
    })?;
    read(&text, path, Disk::Read)
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
    read(text, origin, Disk::Untouched)
}

/// Whether the files that a file names are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
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

fn read(text: &str, origin: &Path, disk: Disk) -> Result<Loaded, Report> {
    let (table, syntax) = DeTable::parse_recoverable(text);
    let shown = without_secret(text, table.get_ref());
    if !syntax.is_empty() {
        // What stands around a syntax error is not what was meant, so nothing else is said about it.
        return Err(Report::new(origin, &shown, syntax.iter().map(|error| explain(text, error)).collect()));
    }
    let problems = Problems::default();
    let root = Fields::root(&keys::FILE, table.get_ref(), &problems);
    let mut named = Vec::new();
    let plan = plan(&root, origin.parent().unwrap_or(Path::new("")), &mut named, disk);
    let mut problems = problems.into_vec();
    problems.extend(named.iter().filter_map(|named| disk.inspect(named)));
    let is_wrong = problems.iter().any(|problem| problem.severity == Severity::Error);
    let report = Report::new(origin, &shown, problems);
    if is_wrong { Err(report) } else { Ok(Loaded { plan, warnings: report }) }
}

/// What the file says. Holds together only if no error has been told.
fn plan(root: &Fields<'_>, folder: &Path, named: &mut Vec<NamedFile>, disk: Disk) -> Plan {
    let timeouts = timeouts(&root.one(&keys::TIMEOUTS));
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
        limits: limits(&root.one(&keys::LIMITS)),
        timeouts,
        log: log(&root.one(&keys::LOG), folder),
        drain: drain::read(&root.one(&keys::DRAIN)),
        admin: admin(&root.one(&keys::ADMIN), folder),
        resolver: resolver(&root.one(&keys::RESOLVER)),
    }
}

fn limits(fields: &Fields<'_>) -> Limits {
    let size = |key: &Key<Size, Or<u64>>| whole(fields.or_default(key));
    let count = |key: &Key<Count, Or<u64>>| whole(fields.or_default(key));
    let rate = |key: &Key<Count, Or<u64>>| u32::try_from(fields.or_default(key)).unwrap_or(u32::MAX);
    Limits {
        target_bytes_max: size(&keys::TARGET_BYTES_MAX),
        head_bytes_max: size(&keys::HEAD_BYTES_MAX),
        header_lines_max: count(&keys::HEADER_LINES_MAX),
        body_bytes_max: fields.or_default(&keys::BODY_BYTES_MAX),
        buffer_bytes: size(&keys::BUFFER_BYTES),
        memory: fields.optional(&keys::MEMORY),
        connections_max: count(&keys::CONNECTIONS_MAX),
        connections_per_client_max: count(&keys::CONNECTIONS_PER_CLIENT_MAX),
        client_connections_per_second_max: rate(&keys::CLIENT_CONNECTIONS_PER_SECOND_MAX),
        client_handshakes_per_second_max: rate(&keys::CLIENT_HANDSHAKES_PER_SECOND_MAX),
        sessions_max: count(&keys::SESSIONS_MAX),
        body_bytes_per_second_min: rate(&keys::BODY_BYTES_PER_SECOND_MIN),
        answer_bytes_per_second_min: rate(&keys::ANSWER_BYTES_PER_SECOND_MIN),
        keepalive_requests: u16::try_from(fields.or_default(&keys::KEEPALIVE_REQUESTS)).unwrap_or(u16::MAX),
        origin_idle_max: count(&keys::ORIGIN_IDLE_MAX),
        attempts_max: count(&keys::ATTEMPTS_MAX),
        message_bytes_max: fields.or_default(&keys::MESSAGE_BYTES_MAX),
        messages_per_second_max: rate(&keys::MESSAGES_PER_SECOND_MAX),
        tunnel_age_max: fields.or_default(&keys::TUNNEL_AGE_MAX),
    }
}

fn timeouts(fields: &Fields<'_>) -> Timeouts {
    Timeouts {
        connect: fields.or_default(&keys::CONNECT),
        head: fields.or_default(&keys::HEAD),
        body: fields.or_default(&keys::BODY),
        answer: fields.or_default(&keys::ANSWER),
        idle: fields.or_default(&keys::IDLE),
        request: fields.or_default(&keys::REQUEST),
        keepalive_age: fields.or_default(&keys::KEEPALIVE_AGE),
        tunnel: fields.or_default(&keys::TUNNEL),
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
fn demand_the_three(root: &Fields<'_>) {
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

/// A syntax error in the words of the parser, with a hint where it is the one that everybody makes.
fn explain(text: &str, error: &toml::de::Error) -> Problem {
    let problem = Problem::error(error.span(), error.message());
    match error.span().and_then(|span| unquoted(text, span.start)) {
        Some(value) => {
            problem.hint(format!("a value that is not a number or a boolean is in quotes: \"{value}\""))
        }
        None => problem,
    }
}

/// The bare word that is the value at `offset`, as in `connect = 30s`.
fn unquoted(text: &str, offset: usize) -> Option<&str> {
    let start = text.get(..offset)?.rfind('\n').map_or(0, |feed| feed + 1);
    let line = text.get(start..)?.lines().next()?;
    let (key, value) = line.split_once('=')?;
    let value = value.split('#').next()?.trim();
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b".:/-_*".contains(&byte);
    let is_at_fault = offset - start > key.len() && !value.is_empty() && value.bytes().all(is_word);
    is_at_fault.then_some(value)
}

/// The text as reports may show it: a secret stays out of terminals and logs, and every span still fits.
fn without_secret(text: &str, table: &DeTable<'_>) -> String {
    let secret =
        table.get(keys::STICKY_SECRET.name).filter(|value| matches!(value.get_ref(), DeValue::String(_)));
    let mut shown = text.to_owned();
    if let Some(span) = secret.map(Spanned::span)
        && let Some(secret) = text.get(span.clone())
    {
        let stars = secret.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' });
        shown.replace_range(span, &stars.collect::<String>());
    }
    shown
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
