//! Changes what a user's tidelock in the background runs: the file first, in one step, and then what runs. What does not work
//! out is taken back, so that the file and what runs are as they were.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use admin::api::{AppRequest, LogsWanted, Status};
use admin::client::{self, Ask};
use config::app::App;
use config::plan::Plan;
use tokio::runtime::Runtime;

use crate::background::{self, Running};
use crate::edit::Edit;
use crate::home::Home;
use crate::output::tell;
use crate::{colour, verbs};

/// The file as it is, and whoever serves it. Nobody else changes it meanwhile.
#[derive(Debug)]
pub(crate) struct Change {
    home: Home,
    pub(crate) runtime: Runtime,
    before: Option<String>,
    pub(crate) running: Option<Running>,
    /// Whether it has run before the change.
    was_running: bool,
    _lock: File,
}

impl Change {
    pub(crate) fn begin() -> Result<Self, String> {
        let home = Home::of_user()?;
        home.prepare()?;
        let lock = lock(&home).map_err(|error| format!("{}: {error}", home.changing().display()))?;
        let before = match config::read_regular(&home.file) {
            Ok(bytes) => {
                Some(String::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8", home.file.display()))?)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{} cannot be read: {error}", home.file.display())),
        };
        let runtime = verbs::runtime().map_err(|error| error.to_string())?;
        let running = background::find_staying(&runtime, &home);
        let was_running = running.is_some();
        Ok(Self { home, runtime, before, running, was_running, _lock: lock })
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    /// The file, to be changed.
    pub(crate) fn edit(&self) -> Result<Edit, String> {
        let text = self.before.clone().unwrap_or_default();
        Edit::of(&text).map_err(|error| format!("{}: {error}", self.home.file.display()))
    }

    /// The comment at the top of a file that is made here; empty for one that has something in it already.
    pub(crate) fn head(&self) -> String {
        match &self.before {
            Some(text) if !text.trim().is_empty() => String::new(),
            _ => HEAD.to_owned(),
        }
    }

    /// Puts `after` in the place of the file, and runs it. `apps` are those that have to be ready then. Gives back what
    /// there is to see afterwards.
    pub(crate) fn apply(mut self, after: &Edit, apps: &[String]) -> Result<Done, String> {
        let text = after.text();
        let plan = self.read(&text)?;
        demand_runnable(&plan, apps)?;
        self.write(&text)?;
        match self.run(apps) {
            Ok(()) => {}
            Err(why) => {
                let lines = self.last_lines(apps);
                self.take_back(&why);
                let lost = match self.was_running && background::find(&self.runtime, &self.home).is_none() {
                    true => {
                        "\nthe tidelock that served it has ended meanwhile; `tidelock resurrect` starts it again"
                    }
                    false => "",
                };
                return Err(format!(
                    "{why}{lines}\nnothing was changed: {} is as it was{lost}",
                    self.home.file.display()
                ));
            }
        }
        let socket =
            self.running.as_ref().map_or_else(|| self.home.socket(), |running| running.socket.clone());
        let status = self.runtime.block_on(client::status(&[socket])).map_err(|problem| {
            format!(
                "{problem}\nwhat was changed is in {}; `tidelock resurrect` starts what has ended meanwhile",
                self.home.file.display()
            )
        })?;
        Ok(Done { status })
    }

    /// Writes `after`, which has nothing to serve, and ends whoever serves the file.
    pub(crate) fn apply_nothing(self, after: &Edit) -> Result<(), String> {
        self.write(&after.text())?;
        match &self.running {
            Some(running) => verbs::end(&self.runtime, &running.socket, false).map(drop),
            None => Ok(()),
        }
    }

    /// Writes `after`, which nobody serves now, if it is right.
    pub(crate) fn write_only(self, after: &Edit) -> Result<(), String> {
        let text = after.text();
        self.read(&text)?;
        self.write(&text)
    }

    fn read(&self, text: &str) -> Result<Plan, String> {
        let loaded = config::parse(text, &self.home.file).map_err(|report| {
            let report = report.render(colour::is_wanted(&io::stderr()));
            format!("{report}nothing was changed: with this, {} would be wrong", self.home.file.display())
        })?;
        Ok(loaded.plan)
    }

    /// In one step: whoever reads it meanwhile reads the one or the other. Through a link, and with the rights that it has.
    fn write(&self, text: &str) -> Result<(), String> {
        let file = self.home.file.canonicalize().unwrap_or_else(|_| self.home.file.clone());
        replace(&file, text).map_err(|error| format!("{} cannot be written: {error}", file.display()))
    }

    fn run(&mut self, apps: &[String]) -> Result<(), String> {
        let Some(running) = &self.running else {
            let running = background::start(&self.runtime, &self.home)?;
            let socket = running.socket.clone();
            self.running = Some(running);
            for app in apps {
                let told = AppRequest { app: app.clone(), ..AppRequest::default() };
                verbs::tell(&self.runtime, std::slice::from_ref(&socket), &Ask::Start(told))?;
            }
            return Ok(());
        };
        let socket = running.socket.clone();
        verbs::tell(&self.runtime, &[socket], &Ask::Reload).map(drop)
    }

    /// The last lines of the apps that did not get ready, each on a line of its own behind a line break. Empty
    /// where they cannot be had: what went wrong is told without them.
    fn last_lines(&self, apps: &[String]) -> String {
        let Some(running) = &self.running else { return String::new() };
        let mut text = String::new();
        for app in apps {
            let wanted = LogsWanted { app: app.clone(), lines: LINES, ..LogsWanted::default() };
            let socket = std::slice::from_ref(&running.socket);
            // Without them it is said what went wrong all the same.
            let _ = self.runtime.block_on(client::logs(socket, &wanted, |line| {
                text += &format!("\n{}/{} | {}", line.app, line.instance, line.line);
                text.len() < LINES_BYTES_MAX
            }));
        }
        text
    }

    /// `why` is what went wrong, and need not be said again.
    fn take_back(&self, why: &str) {
        let written = match &self.before {
            Some(text) => self.write(text),
            None => fs::remove_file(&self.home.file).map_err(|error| error.to_string()),
        };
        if let Err(error) = written {
            tell!("{error}");
        }
        let Some(running) = &self.running else { return };
        if !self.was_running {
            drop(verbs::end(&self.runtime, &running.socket, true));
            return;
        }
        let paths = std::slice::from_ref(&running.socket);
        let reloaded = self.runtime.block_on(client::ask(paths, &Ask::Reload, |_| {}));
        if let Err(problem) = reloaded.map_err(|problem| problem.to_string())
            && problem != why
        {
            tell!("{problem}");
        }
    }
}

/// What there is to see after a change.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: Status,
}

/// What stands in the way of these apps, before anything is changed.
fn demand_runnable(plan: &Plan, apps: &[String]) -> Result<(), String> {
    let wanted = plan.apps.iter().filter(|app| apps.contains(&app.name));
    let obstacles: Vec<String> = wanted.flat_map(|app| obstacles(app)).collect();
    if obstacles.is_empty() { Ok(()) } else { Err(obstacles.join("\n")) }
}

fn obstacles(app: &App) -> Vec<String> {
    let say = |found: supervisor::Obstacle| {
        let hint = found.hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        format!("{}: {}{hint}", app.name, found.message)
    };
    supervisor::obstacles(app).into_iter().map(say).collect()
}

fn lock(home: &Home) -> io::Result<File> {
    let lock = File::options().create(true).truncate(false).write(true).open(home.changing())?;
    if lock.try_lock().is_err() {
        tell!("waiting for another `tidelock` that is changing {}", home.file.display());
        lock.lock()?;
    }
    Ok(lock)
}

fn replace(file: &PathBuf, text: &str) -> io::Result<()> {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let next = file.with_file_name(name);
    let mode = fs::metadata(file).map_or(0o600, |there| there.permissions().mode());
    let written = File::create(&next).and_then(|mut to| {
        // Environments hold secrets.
        to.set_permissions(Permissions::from_mode(mode))?;
        to.write_all(text.as_bytes())?;
        to.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&next, file));
    if placed.is_err() {
        let _ = fs::remove_file(&next);
    }
    placed
}

const HEAD: &str = "# What `tidelock start` runs. Edit it as you like: `tidelock reload` applies it, and `tidelock check` says what is wrong\n\
                    # with it. `tidelock start`, `delete`, `scale` and `set` change it, and leave the rest as it is.\n\
                    [log]\n\
                    access = \"off\"\n\n";
/// Of an app that did not get ready.
const LINES: usize = 20;
const LINES_BYTES_MAX: usize = 16 << 10;
