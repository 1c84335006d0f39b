//! Translates what PM2 runs into an `upstreams.toml`, and says what it could not translate. Reads files; runs one only if it
//! is told to. What it writes is read by `config` and looked at by the supervisor before it is printed.

mod app;
mod command;
mod dump;
mod keys;
mod literal;
mod port;
mod source;
mod told;
mod values;
mod yaml;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use crate::nginx;
use crate::output::{self, tell};
use crate::quote::{key, quoted};
use app::{App, PmContext};
use port::{ServedFolder, Serves};
use source::Source;
use told::line;

/// Prints what `file` says in our words. Exits with 2 if something of it was not translated.
pub(crate) fn import(file: &Path, run_node: bool, env: Option<&str>) -> ExitCode {
    if nginx::is_nginx(file) {
        return nginx::import(file);
    }
    match Source::read(file, run_node).and_then(|source| translate(&source, env)) {
        Ok(Translated { text, left_out, notes }) => {
            output::out(format_args!("{text}"));
            for note in notes {
                tell!("note: {note}");
            }
            for what in &left_out {
                tell!("not translated: {what}");
            }
            if left_out.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(NOT_WHOLE) }
        }
        Err(why) => {
            tell!("{why}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug)]
struct Translated {
    text: String,
    /// What is otherwise than under PM2.
    left_out: Vec<String>,
    notes: Vec<String>,
}

/// What a script says of where it listens.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Listens {
    /// At this address.
    At(String),
    /// It may, and where is not known.
    Perhaps,
    /// Neither it nor a file beside it that it loads says anything of the kind.
    Nowhere,
}

/// Reads `script`, and runs nothing.
pub(crate) fn listens(script: &Path) -> Listens {
    match port::of_script(script) {
        at @ Serves::At { .. } => at.listen().map_or(Listens::Perhaps, Listens::At),
        Serves::Somewhere => Listens::Perhaps,
        Serves::Nowhere => Listens::Nowhere,
    }
}

/// The same of a command that is run in `folder`, such as `npm start`.
pub(crate) fn command_listens(words: &[String], folder: &Path) -> Listens {
    match port::of_command(words, folder) {
        at @ Serves::At { .. } => at.listen().map_or(Listens::Perhaps, Listens::At),
        // Nothing that is not read here is known to listen nowhere.
        Serves::Somewhere | Serves::Nowhere => Listens::Perhaps,
    }
}

/// What PM2's `file` says, as a file of ours, and what is otherwise than under PM2 or worth knowing. Runs nothing.
pub(crate) fn translated(file: &Path) -> Result<(String, Vec<String>), String> {
    let Translated { text, left_out, notes } = translate(&Source::read(file, false)?, None)?;
    let remarks = left_out.iter().map(|what| format!("not translated: {what}"));
    Ok((text, remarks.chain(notes.into_iter().map(|note| format!("note: {note}"))).collect()))
}

/// What is started of an ecosystem file.
#[derive(Debug)]
pub(crate) struct Ecosystem {
    /// The name of each app, and its tables.
    pub(crate) apps: Vec<(String, String)>,
    /// What is otherwise than under PM2, or worth knowing.
    pub(crate) remarks: Vec<String>,
}

/// The apps that `pm2 start` would run of `file`, or those called `only`. What is no program by itself is read, and anything
/// else run by `node`, as PM2 does: whoever starts its apps trusts it. `logs` is where their lines go unless it says so.
pub(crate) fn ecosystem(
    file: &Path,
    env: Option<&str>,
    only: &[String],
    logs: Option<&Path>,
) -> Result<Ecosystem, String> {
    let mut source = Source::read(file, false).or_else(|_| Source::read(file, true))?;
    let elsewhere = from_here(&mut source, env);
    let (mut apps, left_out) = apps_in(&source, env)?;
    if let Some(missing) = only.iter().find(|name| apps.iter().all(|app| app.name != **name)) {
        let names: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
        return Err(format!("{} has no app `{missing}`; there are: {}", file.display(), names.join(", ")));
    }
    apps.retain(|app| only.is_empty() || only.contains(&app.name));
    let broken: Vec<String> = apps
        .iter()
        .flat_map(|app| app.told.broken.iter().map(|what| format!("{}: {what}", app.name)))
        .collect();
    if !broken.is_empty() {
        return Err(broken.join("\n"));
    }
    let notes = apps.iter().flat_map(|app| app.told.notes.iter().map(|note| format!("{}: {note}", app.name)));
    let is_meant = |what: &&String| {
        only.is_empty() || apps.iter().any(|app| what.starts_with(&format!("{}:", app.name)))
    };
    let mut remarks: Vec<String> =
        left_out.iter().filter(is_meant).map(|what| format!("otherwise than under PM2: {what}")).collect();
    remarks.extend(notes);
    remarks.extend(elsewhere);
    let tables = |app: &mut App| {
        if let Some(logs) = logs {
            app.write_to(logs);
        }
        let text = if app.files.is_some() { String::new() } else { app.text() };
        (app.name.clone(), served(&[app], true) + text.trim_start())
    };
    let apps = apps.iter_mut().map(tables).collect();
    Ok(Ecosystem { apps, remarks })
}

/// PM2 takes paths from the folder that it is started in, and so do we where all scripts are there; otherwise from the
/// folder of the file, which is said.
fn from_here(source: &mut Source, env: Option<&str>) -> Option<String> {
    let here = std::env::current_dir().ok().filter(|here| *here != source.folder)?;
    let of_file = std::mem::replace(&mut source.folder, here);
    let is_broken = |app: &App| !app.told.broken.is_empty();
    if apps_in(source, env).is_ok_and(|(apps, _)| !apps.iter().any(is_broken)) {
        return None;
    }
    source.folder = of_file;
    Some(format!(
        "paths are taken from {}, where the file is; PM2 takes them from the current folder, and here are no such scripts",
        source.folder.display()
    ))
}

fn translate(source: &Source, env: Option<&str>) -> Result<Translated, String> {
    let (apps, left_out) = apps_in(source, env)?;
    if apps.iter().all(|app| !app.told.broken.is_empty()) {
        return Err(format!(
            "{}: none of its apps can be run here:\n{}",
            source.file.display(),
            left_out.join("\n")
        ));
    }
    let notes = apps.iter().flat_map(|app| app.told.notes.iter().map(|note| format!("{}: {note}", app.name)));
    Ok(Translated { text: text(source, &apps, &left_out), notes: notes.collect(), left_out })
}

/// The apps, each of them looked at, and what is otherwise than under PM2.
fn apps_in(source: &Source, env: Option<&str>) -> Result<(Vec<App>, Vec<String>), String> {
    let wrong = |why: &str| Err(format!("{}: {why}", source.file.display()));
    // A file may be one app, a list of them, or an object that has one.
    let apps = match &source.ecosystem {
        Value::Array(apps) => apps.clone(),
        Value::Object(members) => match members.get("apps").or_else(|| members.get("pm2")) {
            Some(Value::Array(apps)) => apps.clone(),
            Some(app @ Value::Object(_)) => vec![app.clone()],
            _ => vec![source.ecosystem.clone()],
        },
        _ => return wrong("there is no app in it"),
    };
    if apps.len() > APPS_MAX {
        return wrong("there are too many apps in it");
    }
    let context = PmContext { folder: &source.folder, env };
    let apps: Option<Vec<App>> =
        apps.iter().filter_map(Value::as_object).map(|app| App::of(app, context)).collect();
    let Some(mut apps) = apps.filter(|apps| !apps.is_empty()) else {
        return wrong("an app in it has no `script`");
    };
    name_apart(&mut apps);
    place_apart(&mut apps);
    for app in &mut apps {
        if app.told.broken.is_empty()
            && let Err(why) = sound(app, &source.folder)
        {
            app.told.broken(why);
        }
    }
    let mut left_out = Vec::new();
    for key in ["deploy", "static"].iter().filter(|key| source.ecosystem.get(**key).is_some()) {
        let why = if *key == "deploy" {
            "tidelock copies nothing to other machines"
        } else {
            "`files` of a route shows files"
        };
        left_out.push(format!("{key}: {why}"));
    }
    for app in &apps {
        left_out.extend(app.told.left.iter().map(|what| format!("{}: {what}", app.name)));
        left_out.extend(app.told.broken.iter().map(|what| format!("{}: left out: {what}", app.name)));
    }
    Ok((apps, left_out))
}

fn text(source: &Source, apps: &[App], left_out: &[String]) -> String {
    let from = if source.is_dump { "PM2's dump, " } else { "" };
    let mut text = format!("# Translated from {from}{}.\n", line(&source.file.display().to_string()));
    for what in left_out {
        let _ = writeln!(text, "# Not translated: {what}");
    }
    let (whole, broken): (Vec<&App>, Vec<&App>) = apps.iter().partition(|app| app.told.broken.is_empty());
    let has_several = whole.iter().filter(|app| matches!(app.serves, Serves::At { .. })).count() > 1;
    text += &served(&whole, has_several);
    for app in whole.iter().filter(|app| app.files.is_none()) {
        text += &app.text();
    }
    for app in broken.iter().filter(|app| app.files.is_none()) {
        text +=
            &app.text().lines().map(|line| format!("# {line}\n").replace("# \n", "\n")).collect::<String>();
    }
    text
}

/// PM2 tells apps apart by more than their names.
fn name_apart(apps: &mut [App]) {
    let mut taken = HashSet::new();
    for app in apps {
        let first = app.name.clone();
        let mut number = 2;
        while !taken.insert(app.name.clone()) {
            let end = format!("-{number}");
            let begin: String = first.chars().take(64 - end.len()).collect();
            app.name = begin + &end;
            number += 1;
        }
        if app.name != first {
            app.told.note(format!("another app is called {first} too"));
        }
    }
}

/// One port is one app's.
fn place_apart(apps: &mut [App]) {
    let mut taken: Vec<(u16, String)> = Vec::new();
    for app in apps {
        let Serves::At { port, .. } = app.serves else { continue };
        if let Some((_, other)) = taken.iter().find(|(known, _)| *known == port) {
            app.told.left(format!("it serves at port {port}, where {other} does: nobody comes to it here"));
            app.serves = Serves::Nowhere;
        } else {
            taken.push((port, app.name.clone()));
        }
    }
}

/// Whether it is read as it is written, and can be run here. Who will run it, and where the file will be, is not known: it is
/// only printed. `tidelock check` looks at that.
fn sound(app: &App, folder: &Path) -> Result<(), String> {
    if app.files.is_some() {
        return Ok(());
    }
    let text = served(&[app], false) + &app.text();
    let loaded = config::parse(&text, &folder.join("upstreams.toml")).map_err(|report| {
        let first = report.problems().first().map(|problem| problem.message.clone());
        first.unwrap_or_else(|| "it cannot be read".to_owned())
    })?;
    let obstacles: Vec<String> = loaded
        .plan
        .apps
        .iter()
        .flat_map(|app| supervisor::obstacles(app))
        .filter(|obstacle| !obstacle.is_of_here)
        .map(|obstacle| obstacle.message)
        .collect();
    if obstacles.is_empty() { Ok(()) } else { Err(obstacles.join("; ")) }
}

/// What clients connect to. Beside others each route is for its own listen alone.
fn served(apps: &[&App], has_others: bool) -> String {
    let places: Vec<(&App, String)> =
        apps.iter().filter_map(|app| Some((*app, app.serves.listen()?))).collect();
    let mut text = String::new();
    if !places.is_empty() {
        text += "\n# Where clients connect, in the place of the apps' own ports.\n";
    }
    for (_, address) in &places {
        let _ = writeln!(text, "[[listen]]\naddress = \"{address}\"\n");
    }
    for (app, address) in &places {
        let name = quoted(&app.name);
        text += "[[route]]\n";
        if has_others {
            let _ = writeln!(text, "listen = [\"{address}\"]");
        }
        if let Some(ServedFolder { folder, is_spa }) = &app.files {
            let _ = writeln!(text, "files = {}", quoted(&folder.display().to_string()));
            text += if *is_spa { "fallback = \"index.html\"\n\n" } else { "\n" };
        } else {
            let _ = writeln!(text, "upstream = {name}\n\n[upstream.{}]\napp = {name}\n", key(&app.name));
        }
    }
    text
}

const APPS_MAX: usize = 1_000;
const NOT_WHOLE: u8 = 2;

#[cfg(test)]
mod tests;
