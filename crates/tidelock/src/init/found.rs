//! What is in a folder: an app, by what Node.js and PM2 would run of it. Reads, and runs nothing.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::import::{self, Listens};
use crate::start::as_name;

/// What there is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// PM2's file, which says all there is to be asked.
    Ecosystem(PathBuf),
    App(App),
    Nothing,
}

/// An app of Node.js.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct App {
    pub(super) name: String,
    pub(super) command: Vec<String>,
    pub(super) listens: Listens,
    /// It speaks Socket.IO.
    pub(super) has_sockets: bool,
    /// Several of its processes share their rooms.
    pub(super) shares_rooms: bool,
}

impl Found {
    /// Looks at a folder. `Err` says what to do where something else has to be done.
    pub(super) fn look(folder: &Path) -> Result<Self, String> {
        if let Some(ecosystem) = ECOSYSTEMS.iter().map(|name| folder.join(name)).find(|path| path.is_file()) {
            return Ok(Self::Ecosystem(ecosystem));
        }
        if let Some(app) = App::of(folder)? {
            return Ok(Self::App(app));
        }
        let nginx = folder.join("nginx.conf");
        if nginx.is_file() {
            return Err(format!(
                "there is an nginx.conf here, and no app: `tidelock import {} > upstreams.toml` translates it",
                nginx.display()
            ));
        }
        Ok(Self::Nothing)
    }

    /// What a person is told of it.
    pub(super) fn told(&self, folder: &Path) -> String {
        let beside = if folder.join("nginx.conf").is_file() {
            "\nnginx.conf is here, too: `tidelock import nginx.conf` prints what it says in our words"
        } else {
            ""
        };
        let told = match self {
            Self::Ecosystem(file) => format!("found {}", file.display()),
            Self::App(app) => {
                let kind = if app.has_sockets { ", with Socket.IO" } else { "" };
                format!("found the app {}{kind}: {}", app.name, app.command.join(" "))
            }
            Self::Nothing => format!(
                "found no package.json, ecosystem file or nginx.conf in {}: the file is for an app that runs by itself",
                folder.display()
            ),
        };
        told + beside
    }
}

impl App {
    fn of(folder: &Path) -> Result<Option<Self>, String> {
        let path = folder.join("package.json");
        let package = match path.is_file() {
            false => Value::Null,
            true => {
                let text = config::read_regular(&path)
                    .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
                serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", path.display()))?
            }
        };
        let Some(command) = command(&package, folder) else { return Ok(None) };
        let listens = match &command[..] {
            [node, script] if node == "node" => import::listens(&folder.join(script)),
            words => import::command_listens(words, folder),
        };
        let depends = |wanted: &dyn Fn(&str) -> bool| {
            let names = package.get("dependencies").and_then(Value::as_object);
            names.is_some_and(|names| names.keys().any(|name| wanted(name)))
        };
        let name =
            package.get("name").and_then(Value::as_str).map(|name| name.rsplit('/').next().unwrap_or(name));
        let folder_name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(Some(Self {
            name: as_name(name.or(folder_name.as_deref()).unwrap_or_default()),
            command,
            listens,
            has_sockets: depends(&|name| name == "socket.io"),
            shares_rooms: depends(&|name| name.starts_with("@socket.io/") && name.contains("-adapter")),
        }))
    }
}

/// What runs it: the line behind `npm start` where that is one program and a file, `npm start` where it is more, and else the
/// file that Node.js would take for the folder.
fn command(package: &Value, folder: &Path) -> Option<Vec<String>> {
    let is_there = |script: &str| folder.join(script).is_file();
    let start = package.get("scripts").and_then(|scripts| scripts.get("start")).and_then(Value::as_str);
    if let Some(line) = start {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let is_plain = |line: &str| !line.contains(['"', '\'', '$', '&', '|', ';', '=', '>', '<', '*']);
        let own = matches!(&words[..], [node, script, ..] if node == "node" && is_there(script));
        return Some(if own && is_plain(line) { words } else { vec!["npm".to_owned(), "start".to_owned()] });
    }
    let main = package.get("main").and_then(Value::as_str);
    let script = main.into_iter().chain(SCRIPTS).find(|script| is_there(script))?;
    Some(vec!["node".to_owned(), script.to_owned()])
}

const ECOSYSTEMS: [&str; 8] = [
    "ecosystem.config.js",
    "ecosystem.config.cjs",
    "ecosystem.config.mjs",
    "ecosystem.json",
    "ecosystem.config.json",
    "ecosystem.yaml",
    "ecosystem.yml",
    "pm2.config.js",
];
const SCRIPTS: [&str; 6] = ["index.js", "server.js", "app.js", "index.mjs", "src/index.js", "dist/index.js"];
