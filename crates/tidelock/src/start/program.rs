//! An app that was typed, as the part of an `upstreams.toml` that runs it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::pm2;
use crate::quote::{key, quoted};

/// What is to run, in words of our file.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) command: Vec<String>,
    pub(crate) cwd: PathBuf,
    pub(crate) env: BTreeMap<String, String>,
    /// As they were typed; empty if nothing was said of them.
    pub(super) listens: Vec<String>,
    /// Other keys of the app, and what they say.
    pub(crate) keys: Vec<(&'static str, String)>,
    pub(super) sticky: Option<String>,
    pub(super) has_time: bool,
    /// The file that Node.js runs.
    pub(crate) script: Option<PathBuf>,
    /// Nobody connects to it.
    pub(crate) is_worker: bool,
    /// Where it has always listened, as far as that is known.
    pub(crate) known_listen: Option<String>,
}

impl Program {
    /// Where clients connect.
    pub(crate) fn listens(&self) -> Vec<String> {
        match (self.is_worker, &self.listens[..]) {
            (true, _) => Vec::new(),
            (false, []) => vec![self.default_listen()],
            (false, said) => said.to_vec(),
        }
    }

    /// Where the app itself would have listened, more often than not.
    fn default_listen(&self) -> String {
        let port = std::env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
        match (port, &self.known_listen) {
            (None, Some(known)) => known.clone(),
            (port, _) => format!(":{}", port.unwrap_or(PORT_DEFAULT)),
        }
    }

    /// Whether nothing was said that only an app with clients needs.
    pub(crate) fn may_be_worker(&self) -> bool {
        self.listens.is_empty() && self.sticky.is_none() && !self.keys.iter().any(|(key, _)| *key == "port")
    }

    /// Whether it was said where.
    pub(crate) fn has_listens(&self) -> bool {
        !self.listens.is_empty()
    }

    /// The whole file that runs it alone, in the foreground.
    pub(crate) fn file(&self) -> String {
        // Lines stay in memory, and go to our own output, where they are what one wants to read; whoever wants files has
        // a file of their own.
        self.tables("folder = \"off\"", false) + "[log]\naccess = \"off\"\n"
    }

    /// Its part of a file. Beside others its route is for its own listens alone.
    pub(crate) fn tables(&self, logs: &str, has_others: bool) -> String {
        let mut text = String::new();
        let (name, bare) = (quoted(&self.name), key(&self.name));
        let listens = self.listens();
        for listen in &listens {
            let _ = writeln!(text, "[[listen]]\naddress = {}\n", quoted(listen));
        }
        if self.is_worker {
            return self.app_tables(logs);
        }
        text += "[[route]]\n";
        // A port that the system chooses cannot be named.
        if has_others && !listens.iter().any(|listen| listen.ends_with(":0")) {
            let _ = writeln!(text, "listen = {}", list(&listens));
        }
        let _ = writeln!(text, "upstream = {name}\n\n[upstream.{bare}]\napp = {name}");
        if let Some(sticky) = &self.sticky {
            let _ = writeln!(text, "sticky = {}", quoted(sticky));
        }
        text.push('\n');
        text + &self.app_tables(logs)
    }

    fn app_tables(&self, logs: &str) -> String {
        let (mut text, bare) = (String::new(), key(&self.name));
        let cwd = quoted(&self.cwd.display().to_string());
        let _ = writeln!(text, "[app.{bare}]\ncommand = {}\ncwd = {cwd}", list(&self.command));
        for (key, value) in &self.keys {
            let _ = writeln!(text, "{key} = {value}");
        }
        if !self.keys.iter().any(|(key, _)| *key == "stop") {
            let _ = writeln!(text, "stop = {{ {} }}", pm2::STOP_SIGNAL);
        }
        let time = if self.has_time { ", time = true" } else { "" };
        let _ = writeln!(text, "logs = {{ {logs}{time} }}");
        if !self.env.is_empty() {
            let _ = writeln!(text, "\n[app.{bare}.env]");
        }
        for (name, value) in &self.env {
            let _ = writeln!(text, "{} = {}", key(name), quoted(value));
        }
        text
    }
}

fn list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
}

const PORT_DEFAULT: u16 = 3000;
