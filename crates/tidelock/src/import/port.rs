//! At which port an app serves, as far as it can be known without running it: its environment, its arguments, its script.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::command::{Run, split};

/// What an app is to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serves {
    /// At this port, and on all interfaces if nothing is said.
    At { port: u16, host: Option<IpAddr>, is_in_code: bool },
    /// It listens, and where is not known.
    Somewhere,
    /// Nothing says that it listens.
    Nowhere,
}

/// The folder that `pm2 serve` shows.
#[derive(Debug)]
pub(super) struct ServedFolder {
    pub(super) folder: PathBuf,
    /// A path that is no file is answered by its index.html.
    pub(super) is_spa: bool,
}

impl Serves {
    /// The same as an address to listen on, if it is known.
    pub(super) fn listen(self) -> Option<String> {
        match self {
            Self::At { port, host: None, .. } => Some(format!(":{port}")),
            Self::At { port, host: Some(host), .. } => Some(SocketAddr::new(host, port).to_string()),
            Self::Somewhere | Self::Nowhere => None,
        }
    }
}

/// Looks for it. `env` is the app's.
pub(super) fn serves(run: &Run, env: &[(String, String)], cwd: &Path) -> Serves {
    let said = |name: &str| env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let host = ["HOST", "HOSTNAME", "BIND"].iter().find_map(|name| address(said(name)?));
    let at = |port, is_in_code| Serves::At { port, host, is_in_code };
    let can_be_moved = run.is_node || run.script.is_none() || is_package_manager(&run.words);
    if let Some(port) = in_args(&run.args).filter(|_| can_be_moved) {
        return at(port, true);
    }
    let text = run.script.as_deref().filter(|_| run.is_node).and_then(text_of);
    // One that has its port in its code, and does not ask for another.
    let fixed = text.as_deref().filter(|text| !text.contains("PORT")).map(in_text);
    match (said("PORT").and_then(number), fixed) {
        (Some(_), Some(Serves::At { port, host: there, .. })) => {
            return Serves::At { port, host: there.or(host), is_in_code: true };
        }
        (Some(port), _) => return at(port, false),
        (None, _) => {}
    }
    // Only what Node.js runs can be told of another port than its own.
    if !can_be_moved {
        return Serves::Nowhere;
    }
    if let Some(port) = VARIABLES.iter().find_map(|name| number(said(name)?)) {
        return at(port, true);
    }
    let line = match (&run.script, &run.words[..]) {
        (None, [_, _, line]) => package_script(&split(line), cwd).unwrap_or_else(|| split(line)),
        (Some(_), words) => package_script(words, cwd).unwrap_or_else(|| words.to_vec()),
        _ => Vec::new(),
    };
    if let Some(found) = in_line(&line, cwd) {
        return match found {
            Serves::At { port, host: there, is_in_code } => {
                Serves::At { port, host: there.or(host), is_in_code }
            }
            other => other,
        };
    }
    match text.as_deref().map(in_text) {
        Some(Serves::At { port, host: there, is_in_code }) => {
            Serves::At { port, host: there.or(host), is_in_code }
        }
        Some(found) => found,
        None => Serves::Nowhere,
    }
}

fn number(text: &str) -> Option<u16> {
    text.trim().parse().ok().filter(|port| *port > 0)
}

fn address(text: &str) -> Option<IpAddr> {
    match text.trim() {
        "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
        text => text.parse().ok(),
    }
}

/// `-p 4000`, `--port 4000`, `--port=4000`.
fn in_args(args: &[String]) -> Option<u16> {
    let mut before = "";
    for word in args {
        let behind = ["--port=", "-p=", "-p"].iter().find_map(|option| number(word.strip_prefix(option)?));
        if let Some(port) = behind.or_else(|| number(word).filter(|_| ["-p", "--port"].contains(&before))) {
            return Some(port);
        }
        before = word;
    }
    None
}

fn is_package_manager(words: &[String]) -> bool {
    words.first().is_some_and(|program| PACKAGE_MANAGERS.contains(&file_name(program)))
}

fn file_name(path: &str) -> &str {
    Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The line of package.json that `npm start` and its like run.
fn package_script(words: &[String], cwd: &Path) -> Option<Vec<String>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // Where node runs npm's own script, or npm is named by its path.
    let at = words.iter().position(|word| PACKAGE_MANAGERS.contains(&file_name(word)))?;
    let name = match &words[at + 1..] {
        ["run" | "run-script", name, ..] => name,
        [name, ..] if !name.starts_with('-') => name,
        _ => return None,
    };
    let package: Value = serde_json::from_str(&text_of(&cwd.join("package.json"))?).ok()?;
    package.get("scripts")?.get(name)?.as_str().map(split)
}

/// Where a command listens that is run in `folder`: what `npm start` stands for is looked up.
pub(super) fn of_command(words: &[String], folder: &Path) -> Serves {
    let line = package_script(words, folder).unwrap_or_else(|| words.to_vec());
    in_line(&line, folder).unwrap_or(Serves::Somewhere)
}

/// A command: its arguments, a `PORT=` before it, what programs take that everybody knows, or the script of `node`.
fn in_line(line: &[String], cwd: &Path) -> Option<Serves> {
    let at = |port, is_in_code| Some(Serves::At { port, host: None, is_in_code });
    if let Some(port) = in_args(line) {
        return at(port, true);
    }
    if let Some(port) = line.iter().find_map(|word| number(word.strip_prefix("PORT=")?)) {
        return at(port, true);
    }
    let files: Vec<&str> = line.iter().map(|word| file_name(word)).collect();
    if let Some((_, port)) = KNOWN.iter().find(|((program, word), _)| {
        files.contains(program) && (word.is_empty() || line.iter().any(|known| known == word))
    }) {
        return at(*port, false);
    }
    let script = line.iter().skip(1).find(|word| {
        ["js", "mjs", "cjs", "ts"]
            .iter()
            .any(|extension| Path::new(word).extension().is_some_and(|there| there == *extension))
    })?;
    match in_text(&text_of(&cwd.join(script))?) {
        Serves::Nowhere => None,
        found => Some(found),
    }
}

/// The source of a script: a port that it listens on, or at least that it listens.
fn in_text(text: &str) -> Serves {
    for (before, is_in_code) in
        [("PORT || ", false), ("PORT ?? ", false), ("PORT, ", false), (".listen(", true)]
    {
        for (at, _) in text.match_indices(before) {
            let rest = text[at + before.len()..].trim_start_matches(['\'', '"']);
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if let Some(port) = number(&rest[..digits]) {
                let behind = rest[digits..].trim_start_matches(['\'', '"', ',', ' ']);
                let host = Some("127.0.0.1").filter(|host| is_in_code && behind.starts_with(host));
                let host = host.or(Some("localhost").filter(|host| is_in_code && behind.starts_with(host)));
                return Serves::At { port, host: host.and_then(address), is_in_code };
            }
        }
    }
    // `const port = 3000`, and then `listen(port`.
    let listens = [".listen(", "createServer(", "Bun.serve(", "@hono/node-server"]
        .iter()
        .any(|word| text.contains(word));
    let constant = ["port = ", "PORT = ", "port: "].iter().find_map(|before| {
        text.match_indices(before).find_map(|(at, _)| {
            let rest = &text[at + before.len()..];
            number(&rest[..rest.bytes().take_while(u8::is_ascii_digit).count()])
        })
    });
    match (listens, constant) {
        (true, Some(port)) => Serves::At { port, host: None, is_in_code: true },
        (true, None) => Serves::Somewhere,
        (false, _) => Serves::Nowhere,
    }
}

/// Where a script listens, by itself or by what it loads from beside it.
pub(super) fn of_script(script: &Path) -> Serves {
    let Some(text) = text_of(script) else { return Serves::Somewhere };
    match in_text(&text) {
        Serves::Nowhere => {}
        found => return found,
    }
    let mut seen = vec![script.to_owned()];
    let mut waiting = vec![(script.to_owned(), text)];
    while let Some((path, text)) = waiting.pop() {
        if SERVERS.iter().any(|word| text.contains(word)) {
            return Serves::Somewhere;
        }
        for name in loaded_by(&text) {
            // What is not found here is made elsewhere, and may hold anything.
            let Some(next) = beside(&path, name) else { return Serves::Somewhere };
            if seen.contains(&next) {
                continue;
            }
            // Whoever reads so many does not know what the rest says.
            let Some(text) = text_of(&next).filter(|_| seen.len() < FILES_MAX) else {
                return Serves::Somewhere;
            };
            seen.push(next.clone());
            waiting.push((next, text));
        }
    }
    Serves::Nowhere
}

/// The names behind `require('./…')`, `import './…'` and `from './…'`.
fn loaded_by(text: &str) -> impl Iterator<Item = &str> {
    ["require(", "import(", "import ", "from "].into_iter().flat_map(move |before| {
        text.match_indices(before).filter_map(move |(at, _)| {
            let rest = text[at + before.len()..].trim_start();
            let quote = rest.chars().next().filter(|first| ['\'', '"', '`'].contains(first))?;
            let name = rest[1..].split(quote).next()?;
            name.starts_with('.').then_some(name)
        })
    })
}

/// The file that Node.js takes for a name.
fn beside(path: &Path, name: &str) -> Option<PathBuf> {
    let there = path.parent()?.join(name);
    let ends = ["", ".js", ".ts", ".mjs", ".cjs", ".json", "/index.js", "/index.ts"];
    ends.iter().map(|end| PathBuf::from(format!("{}{end}", there.display()))).find(|path| path.is_file())
}

/// Whether the script says that it is ready, as PM2 hears it.
pub(super) fn says_ready(script: Option<&PathBuf>) -> Option<bool> {
    let text = text_of(script?)?;
    Some(["send('ready')", "send(\"ready\")", "send(`ready`)"].iter().any(|words| text.contains(words)))
}

/// What node would run for a path, if it can be read.
fn text_of(path: &Path) -> Option<String> {
    let path = if path.is_dir() { path.join("index.js") } else { path.to_owned() };
    if path.metadata().ok()?.len() > TEXT_BYTES_MAX {
        return None;
    }
    Some(String::from_utf8_lossy(&config::read_regular(&path).ok()?).into_owned())
}

/// Where frameworks and people say it beside PORT.
const VARIABLES: [&str; 9] = [
    "NITRO_PORT",
    "NUXT_PORT",
    "APP_PORT",
    "API_PORT",
    "HTTP_PORT",
    "SERVER_PORT",
    "WEB_PORT",
    "LISTEN_PORT",
    "NEST_PORT",
];
/// A program, a word beside it, and where it listens when nobody says anything.
const KNOWN: [((&str, &str), u16); 7] = [
    (("next", "start"), 3000),
    (("nuxt", "start"), 3000),
    (("serve", ""), 3000),
    (("http-server", ""), 8080),
    (("json-server", ""), 3000),
    (("strapi", "start"), 1337),
    (("react-router-serve", ""), 3000),
];
const PACKAGE_MANAGERS: [&str; 5] = ["npm", "npm-cli.js", "yarn", "pnpm", "bun"];
/// What only programs hold that listen, or that may.
const SERVERS: [&str; 25] = [
    "listen",
    "createServer",
    "serve(",
    "Server(",
    "express",
    "fastify",
    "koa",
    "socket.io",
    "engine.io",
    "'ws'",
    "\"ws\"",
    "uWebSockets",
    "@nestjs",
    "@hapi",
    "restify",
    "polka",
    "'next'",
    "\"next\"",
    "nuxt",
    "sails",
    "strapi",
    "apollo-server",
    "loopback",
    "adonis",
    "http-proxy",
];
const FILES_MAX: usize = 64;
const TEXT_BYTES_MAX: u64 = 1 << 20;
