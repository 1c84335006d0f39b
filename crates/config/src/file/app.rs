//! Reads `[app.NAME]`, and holds apps and the upstreams that use them together.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::app_keys as keys;
use super::app_keys::When;
use super::app_kinds::Readiness;
use super::fields::Fields;
use super::listen::NamedFile;
use super::upstream;
use crate::app::{App, Instances, Logs, Ready, ReadyWhen, Restart, Stop, Watch};
use crate::problem::Problem;
use crate::suggest::nearest;

/// Reads every app; `folder` is what paths in the file are relative to, `named` gets the files that must be there.
/// Apps that cannot be read are left out, and have been told then; so have upstreams that use an app that is not
/// there.
pub(crate) fn read(
    root: &Fields<'_>,
    upstreams: &[Fields<'_>],
    folder: &Path,
    named: &mut Vec<NamedFile>,
) -> Vec<App> {
    let tables = root.many(&keys::APP);
    let names: Vec<&str> = tables.iter().map(|fields| fields.name).collect();
    let mut used = HashSet::new();
    for fields in upstreams {
        if let Some(name) = fields.text_again(&keys::UPSTREAM_APP) {
            if !names.contains(&name) {
                dangling(fields, name, &names);
            }
            used.insert(name);
        }
    }
    tables.iter().filter_map(|fields| one(fields, used.contains(fields.name), folder, named)).collect()
}

fn dangling(fields: &Fields<'_>, name: &str, names: &[&str]) {
    let hint = match (nearest(name, names.iter().copied()), names) {
        (Some(meant), _) => format!("did you mean \"{meant}\"?"),
        (None, []) => format!("write one: `[app.{name}]`, and `command = [\"node\", \"index.js\"]` under it"),
        (None, names) => format!("there is \"{}\"", names.join("\", \"")),
    };
    fields.push(
        Problem::error(fields.span_of(keys::UPSTREAM_APP.name), format!("there is no app \"{name}\""))
            .hint(hint),
    );
}

fn one(fields: &Fields<'_>, is_used: bool, folder: &Path, named: &mut Vec<NamedFile>) -> Option<App> {
    let has_name = upstream::check_name(fields, "an app");
    let command = fields.required(&keys::COMMAND);
    let mut args = fields.or_default(&keys::ARGS);
    let cwd =
        absolute(&fields.optional(&keys::CWD).map_or_else(|| folder.to_owned(), |cwd| folder.join(cwd)));
    let env_file = fields.optional(&keys::ENV_FILE).map(|path| absolute(&folder.join(path)));
    named.extend(
        env_file
            .iter()
            .map(|path| NamedFile { path: path.clone(), span: fields.span_of(keys::ENV_FILE.name) }),
    );
    let instances = fields.or_default(&keys::INSTANCES);
    let ports = fields.optional(&keys::PORTS);
    if let (Some(ports), Instances::Count(count)) = (&ports, instances) {
        let there_are = u32::try_from(ports.len()).unwrap_or(u32::MAX);
        if there_are <= count.get() {
            too_few_ports(fields, there_are, count.get());
        }
    }
    let app = App {
        name: fields.name.to_owned(),
        command: Vec::new(),
        shown: [fields.as_written(keys::COMMAND.name), fields.as_written(keys::ARGS.name)].concat().join(" "),
        env: fields.or_default(&keys::ENV),
        env_file,
        user: fields.optional(&keys::USER),
        group: fields.optional(&keys::GROUP),
        no_new_privs: fields.or_default(&keys::NO_NEW_PRIVS),
        instances,
        port: fields.or_default(&keys::PORT),
        ports,
        socket: fields.or_default(&keys::SOCKET),
        ready: ready(fields, is_used),
        stop: stop(&fields.one(&keys::STOP)),
        restart: restart(&fields.one(&keys::RESTART)),
        memory_max: fields.optional(&keys::MEMORY_MAX),
        cron: fields.optional(&keys::CRON),
        watch: fields.has(keys::WATCH.name).then(|| watch(&fields.one(&keys::WATCH), &cwd)),
        logs: logs(&fields.one(&keys::LOGS), folder),
        cwd,
    };
    has_name?;
    let mut command = command?;
    command.append(&mut args);
    Some(App { command, ..app })
}

fn too_few_ports(fields: &Fields<'_>, there_are: u32, count: u32) {
    let message = format!("{there_are} ports are too few for {count} processes and one more");
    fields.push(
        Problem::error(fields.span_of(keys::PORTS.name), message)
            .hint("a process is started before the one that it replaces is stopped; widen the range"),
    );
}

fn ready(fields: &Fields<'_>, is_used: bool) -> Ready {
    let said = fields.optional(&keys::READY).unwrap_or_default();
    let deadline = said.deadline.unwrap_or(keys::READY_DEADLINE.absent.0);
    if is_used && said.when == Some(When::Running) {
        fields.push(
            Problem::error(fields.span_of(keys::READY.name), "an app that an upstream uses has to listen")
                .hint("leave `ready` out, and it is given requests once its port is open"),
        );
    }
    Ready { when: when(said, is_used), deadline }
}

fn when(said: Readiness, is_used: bool) -> ReadyWhen {
    let path = |default: &str| said.path.clone().unwrap_or_else(|| default.to_owned());
    match said.when {
        Some(When::Port) => ReadyWhen::Port,
        Some(When::Http) => ReadyWhen::Http { path: path("/"), status: said.status },
        Some(When::EngineIo) => ReadyWhen::EngineIo { path: path("/socket.io/") },
        Some(When::Told) => ReadyWhen::Told,
        Some(When::Running) => ReadyWhen::Running,
        None if is_used => ReadyWhen::Port,
        None => ReadyWhen::Running,
    }
}

fn stop(fields: &Fields<'_>) -> Stop {
    Stop {
        signal: fields.or_default(&keys::STOP_SIGNAL),
        timeout: fields.or_default(&keys::STOP_TIMEOUT),
        tell: fields.or_default(&keys::STOP_TELL),
    }
}

fn restart(fields: &Fields<'_>) -> Restart {
    let pause_min = fields.or_default(&keys::RESTART_PAUSE_MIN);
    let pause_max = fields.or_default(&keys::RESTART_PAUSE_MAX);
    if fields.has(keys::RESTART_PAUSE_MAX.name) && pause_max < pause_min {
        fields.push(
            Problem::error(
                fields.span_of(keys::RESTART_PAUSE_MAX.name),
                "`pause_max` is shorter than `pause_min`",
            )
            .hint("make it at least as long"),
        );
    }
    Restart {
        pause_min,
        pause_max: pause_max.max(pause_min),
        stable: fields.or_default(&keys::RESTART_STABLE),
        max: fields.or_default(&keys::RESTART_MAX).map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
    }
}

fn watch(fields: &Fields<'_>, cwd: &Path) -> Watch {
    let paths = fields.optional(&keys::WATCH_PATHS).filter(|paths| !paths.is_empty());
    let paths =
        paths.map_or_else(|| vec![cwd.to_owned()], |paths| paths.iter().map(|path| cwd.join(path)).collect());
    Watch { paths, ignore: fields.or_default(&keys::WATCH_IGNORE) }
}

fn logs(fields: &Fields<'_>, folder: &Path) -> Logs {
    let place = fields.optional(&keys::LOGS_FOLDER).unwrap_or_else(|| Some(PathBuf::from(LOGS_FOLDER)));
    Logs {
        folder: place.map(|place| absolute(&folder.join(place))),
        file_bytes_max: fields.or_default(&keys::LOGS_FILE_BYTES_MAX),
        files_max: u32::try_from(fields.or_default(&keys::LOGS_FILES_MAX)).unwrap_or(u32::MAX),
        ring_lines_max: super::whole(fields.or_default(&keys::LOGS_RING_LINES_MAX)),
        format: fields.or_default(&keys::LOGS_FORMAT),
        time: fields.or_default(&keys::LOGS_TIME),
    }
}

/// A process of an app runs in another folder than tidelock. Where even the current folder is unknown, nothing can be
/// said better than what was written.
fn absolute(path: &Path) -> PathBuf {
    // The path of the current folder is empty to `Path`, and nothing to `absolute`.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Beside the file.
const LOGS_FOLDER: &str = "logs";
