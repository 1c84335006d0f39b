//! The verbs for what runs in the background, as a person types them: apps come, go and change, and are shown.

mod look;
mod scale;
mod shown;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use admin::api::AppRequest;
use admin::client::{self, Ask, AskProblem};

use crate::background;
use crate::change::{Change, Done};
use crate::edit::{Edit, value};
use crate::home::Home;
use crate::output::{say, tell};
use crate::quote::quoted;
use crate::reload::Source;
use crate::start::Program;
use crate::{environment, import, run, verbs};
pub(crate) use look::{describe, env, list};
pub(crate) use scale::{Count, scale};
use shown::{ended, show, status_of, there_are, url, urls};

/// `tidelock start FILE`: adds the app to what runs, or changes it there.
pub(crate) fn start(program: Program) -> ExitCode {
    ended(try_start(program))
}

fn try_start(mut program: Program) -> Result<(), String> {
    let change = Change::begin()?;
    // What was typed counts more than what the shell has.
    let tidelock = change.running.as_ref().map(|running| running.status.pid);
    for (name, value) in environment::for_app(tidelock) {
        program.env.entry(name).or_insert(value);
    }
    let mut edit = change.edit()?;
    let name = program.name.clone();
    if edit.apps().contains(&name) {
        let before = edit.text();
        update(&mut edit, &program)?;
        if edit.text() == before && change.running.is_some() {
            tell!("{name} is there already, and nothing about it has changed");
            return again(change, &name);
        }
    } else {
        for listen in program.listens() {
            demand_free(&edit, &listen, &name)?;
        }
        let logs = format!("folder = {}", quoted(&change.home().logs().display().to_string()));
        edit.append(&(change.head() + &program.tables(&logs, true)))?;
    }
    let file = change.home().file.clone();
    let Done { status, .. } = change.apply(&edit, std::slice::from_ref(&name))?;
    show(&status);
    if edit.listens_of(&name).is_empty() {
        say!("{name} runs; nobody connects to it");
    }
    tell_urls(&edit, &name);
    tell!("what runs is in {}", file.display());
    Ok(())
}

/// `tidelock start ecosystem.config.js`: adds its apps to what runs, or puts them in the place of those that are there.
pub(crate) fn start_ecosystem(
    file: &Path,
    env: Option<&str>,
    only: &[String],
    is_in_background: bool,
) -> ExitCode {
    if is_in_background {
        return ended(try_start_ecosystem(file, env, only));
    }
    match import::ecosystem(file, env, only, None) {
        Ok(ecosystem) => {
            ecosystem.remarks.iter().for_each(|remark| tell!("{remark}"));
            let text: String = ecosystem.apps.into_iter().map(|(_, tables)| tables + "\n").collect();
            let folder = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
            run::loaded(config::parse(&text, &folder), Source::none(), None)
        }
        Err(why) => ended(Err(why)),
    }
}

fn try_start_ecosystem(file: &Path, env: Option<&str>, only: &[String]) -> Result<(), String> {
    let change = Change::begin()?;
    let ecosystem = import::ecosystem(file, env, only, Some(&change.home().logs()))?;
    ecosystem.remarks.iter().for_each(|remark| tell!("{remark}"));
    let tidelock = change.running.as_ref().map(|running| running.status.pid);
    let shell = environment::for_app(tidelock);
    let mut edit = change.edit()?;
    for (name, tables) in &ecosystem.apps {
        if !edit.remove(name) {
            edit.remove_files_at(&Edit::of(tables)?.listens());
        }
    }
    let mut head = change.head();
    for (name, tables) in &ecosystem.apps {
        for listen in Edit::of(tables)?.listens() {
            demand_free(&edit, &listen, name)?;
        }
        edit.append(&(std::mem::take(&mut head) + tables))?;
        if edit.apps().contains(name) {
            for (variable, text) in
                shell.iter().filter(|(variable, _)| !edit.has_env(name, variable)).collect::<Vec<_>>()
            {
                edit.set_env(name, variable, text)?;
            }
        }
    }
    // `pm2 serve` is no app here, and nothing that has to get ready.
    let (apps, files): (Vec<_>, Vec<_>) =
        ecosystem.apps.iter().partition(|(name, _)| edit.apps().contains(name));
    let names: Vec<String> = apps.into_iter().map(|(name, _)| name.clone()).collect();
    let done = change.apply(&edit, &names)?;
    show(&done.status);
    for name in &names {
        tell_urls(&edit, name);
    }
    for (name, tables) in files {
        for listen in Edit::of(tables)?.listens() {
            say!("{name}: its files are shown at {}", url(&edit, &listen));
        }
    }
    Ok(())
}

/// An app that is in the file: the same program takes over what was typed, another is refused.
fn update(edit: &mut Edit, program: &Program) -> Result<(), String> {
    let name = &program.name;
    let command = program.command.iter().map(|word| config::literal(word)).collect::<toml_edit::Array>();
    let words = |item: &toml_edit::Item| {
        let words = item.as_array()?.iter().map(|word| word.as_str().map(str::to_owned));
        words.collect::<Option<Vec<_>>>()
    };
    let typed = toml_edit::Item::from(command);
    let is_same = edit.get(name, "command").and_then(words) == words(&typed);
    if !is_same {
        let runs = edit.get(name, "command").map(|command| command.to_string().trim().to_owned());
        return Err(format!(
            "there is an app {name} already, which runs {}; say another name for this one: `--name NAME`",
            runs.unwrap_or_else(|| "something else".to_owned())
        ));
    }
    if program.has_listens() && program.listens() != edit.listens_of(name) {
        return Err(format!(
            "{name} is served at {}; its `[[listen]]` in the file says where, or `tidelock delete {name}` before",
            edit.listens_of(name).join(", ")
        ));
    }
    for (key, typed) in &program.keys {
        edit.set(name, key, value(typed, false))?;
    }
    for (variable, text) in &program.env {
        edit.set_env(name, variable, text)?;
    }
    Ok(())
}

/// One port is one app's.
fn demand_free(edit: &Edit, listen: &str, name: &str) -> Result<(), String> {
    let port = port_of(listen);
    let taken = edit.listens().into_iter().find(|other| port != "0" && port_of(other) == port);
    let Some(taken) = taken else { return Ok(()) };
    let app = edit.apps().into_iter().find(|app| edit.listens_of(app).contains(&taken));
    Err(format!(
        "{taken} is where clients of {} connect; say another for {name}: `--listen :PORT`",
        app.as_deref().unwrap_or("something else"),
    ))
}

fn port_of(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or_default()
}

fn tell_urls(edit: &Edit, app: &str) {
    for url in urls(edit, app) {
        say!("{app} is ready at {url}");
    }
}

/// `tidelock start APP`, also where nothing runs and the file has it.
pub(crate) fn start_again(app: &str, paths: &[PathBuf]) -> ExitCode {
    let ask = Ask::Start(AppRequest { app: app.to_owned(), ..AppRequest::default() });
    let is_nobody = verbs::runtime()
        .is_ok_and(|runtime| matches!(runtime.block_on(client::status(paths)), Err(AskProblem::Nobody(_))));
    if is_nobody && let Ok(change) = Change::begin() {
        let apps = change.edit().map(|edit| edit.apps()).unwrap_or_default();
        if app == "all" && !apps.is_empty() || apps.iter().any(|known| known == app) {
            return ended(again(change, app));
        }
    }
    let code = verbs::ask(paths, &ask);
    if code != ExitCode::SUCCESS && Path::new(app).exists() {
        tell!("the file {app} here is run by `tidelock start ./{app}`");
    }
    code
}

/// Runs what is in the file, and waits for `app`.
fn again(change: Change, app: &str) -> Result<(), String> {
    let Change { running, .. } = &change;
    let socket = match running {
        Some(running) => running.socket.clone(),
        None => background::start(&change.runtime, change.home())?.socket,
    };
    let told = AppRequest { app: app.to_owned(), ..AppRequest::default() };
    let paths = [socket];
    verbs::tell(&change.runtime, &paths, &Ask::Start(told))?;
    let status = change.runtime.block_on(client::status(&paths)).map_err(|problem| problem.to_string())?;
    show(&status);
    let edit = change.edit()?;
    match app {
        "all" => edit.apps().iter().for_each(|app| tell_urls(&edit, app)),
        app => tell_urls(&edit, app),
    }
    Ok(())
}

/// `tidelock resurrect`.
pub(crate) fn resurrect() -> ExitCode {
    ended((|| {
        let change = Change::begin()?;
        let file = change.home().file.display().to_string();
        if let Some(running) = &change.running {
            return Err(format!("a tidelock serves {file} already, process {}", running.status.pid));
        }
        if change.edit()?.apps().is_empty() {
            return Err(format!(
                "there is nothing to start: {file} has no app; `tidelock start FILE` adds one"
            ));
        }
        again(change, "all")
    })())
}

/// `tidelock delete APP…`.
pub(crate) fn delete(apps: &[String]) -> ExitCode {
    ended((|| {
        let change = Change::begin()?;
        let mut edit = change.edit()?;
        let apps = if apps == ["all"] { edit.apps() } else { apps.to_vec() };
        for app in &apps {
            if !edit.remove(app) {
                return Err(unknown(&change, &edit, app));
            }
        }
        if apps.is_empty() {
            return Err("there is no app to delete".to_owned());
        }
        let (is_running, file) = (change.running.is_some(), change.home().file.clone());
        if edit.apps().is_empty() && edit.listens().is_empty() {
            change.apply_nothing(&edit)?;
            let ended = if is_running { "; tidelock has ended, for nothing is left to run" } else { "" };
            say!("{}: deleted{ended}", apps.join(", "));
            return Ok(());
        }
        if is_running {
            show(&change.apply(&edit, &[])?.status);
        } else {
            change.write_only(&edit)?;
        }
        say!("{}: deleted, and no more in {}", apps.join(", "), file.display());
        Ok(())
    })())
}

/// `tidelock set APP KEY VALUE`, or `unset` without a value.
pub(crate) fn set(app: &str, key: &str, typed: Option<&str>) -> ExitCode {
    ended((|| {
        let change = Change::begin()?;
        let mut edit = change.edit()?;
        if !edit.apps().iter().any(|known| known == app) {
            return Err(unknown(&change, &edit, app));
        }
        match typed {
            Some(typed) => match key.strip_prefix("env.") {
                Some(variable) => edit.set_env(app, variable, typed)?,
                None => edit.set(app, key, value(typed, false))?,
            },
            None if edit.unset(app, key)? => {}
            None => return Err(format!("{app} has no `{key}` in {}", change.home().file.display())),
        }
        let said = match typed {
            Some(typed) => format!("{app}: {key} is {typed}"),
            None => format!("{app}: {key} has its default"),
        };
        if change.running.is_some() {
            change.apply(&edit, &[app.to_owned()])?;
            say!("{said}");
        } else {
            change.write_only(&edit)?;
            say!("{said}, once it runs");
        }
        Ok(())
    })())
}

/// `tidelock kill`.
pub(crate) fn kill(paths: &[PathBuf], at_once: bool) -> ExitCode {
    ended((|| {
        let runtime = verbs::runtime().map_err(|error| error.to_string())?;
        let file = Home::of_user().ok().map(|home| home.file);
        for path in paths {
            let Ok(status) = runtime.block_on(client::status(std::slice::from_ref(path))) else { continue };
            say!("{}", verbs::end(&runtime, path, at_once)?);
            if status.background && file.is_some_and(|file| file.exists()) {
                tell!("`tidelock resurrect` starts it again");
            }
            return Ok(());
        }
        status_of(paths).map(drop)
    })())
}

/// An app that the file does not have; another tidelock of the user's may.
fn unknown(change: &Change, edit: &Edit, app: &str) -> String {
    let paths = admin::places::paths_to_ask();
    if let Ok(status) = change.runtime.block_on(client::status(&paths))
        && status.apps.iter().any(|known| known.name == app)
        && status.file.as_ref() != Some(&change.home().file)
    {
        return match status.file {
            Some(file) => format!(
                "{app} is run by a tidelock with a file of its own: change `[app.{app}]` in {}, and `tidelock reload`",
                file.display()
            ),
            None => format!("{app} is run in the foreground, by process {}", status.pid),
        };
    }
    let apps = edit.apps();
    let names: Vec<&str> = apps.iter().map(String::as_str).collect();
    format!("{} has no app `{app}`; {}", change.home().file.display(), there_are(&names))
}
