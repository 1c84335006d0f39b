//! One app of PM2's, key by key. What has no counterpart is kept, to be told.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::command::{Run, names, plain, script_of};
use super::keys::{ELSEWHERE, LOG_FILES, WITHOUT_EFFECT, overruled};
use super::port::{ServedFolder, Serves, says_ready, serves};
use super::told::Told;
use super::values::{exit_codes, is_zero, memory, millis};
use crate::quote::{key, quoted};

/// An app in our words.
#[derive(Debug)]
pub(super) struct App {
    pub(super) name: String,
    pub(super) serves: Serves,
    pub(super) files: Option<ServedFolder>,
    run: Run,
    cwd: PathBuf,
    /// Lines of its table.
    keys: Vec<String>,
    stop: Vec<String>,
    restart: Vec<String>,
    ready: Vec<String>,
    watch: Option<Vec<String>>,
    logs: Vec<String>,
    env: Vec<(String, String)>,
    is_many: bool,
    pub(super) told: Told,
}

/// Where a file of PM2's stands, and what was asked of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct PmContext<'p> {
    pub(super) folder: &'p Path,
    /// `env_NAME` over `env`.
    pub(super) env: Option<&'p str>,
}

impl App {
    /// `None` without a script.
    pub(super) fn of(of: &Map<String, Value>, context: PmContext<'_>) -> Option<Self> {
        let script = script_of(of)?;
        let cwd = of
            .get("cwd")
            .and_then(Value::as_str)
            .map_or_else(|| context.folder.to_owned(), |cwd| context.folder.join(cwd));
        let mut app = Self {
            name: name(of, script),
            serves: Serves::Nowhere,
            files: None,
            run: Run::default(),
            cwd,
            keys: Vec::new(),
            // PM2 stops with it, and apps that listen for a signal listen for this one.
            stop: vec!["signal = \"SIGINT\"".to_owned()],
            restart: Vec::new(),
            ready: Vec::new(),
            watch: None,
            logs: Vec::new(),
            env: Vec::new(),
            is_many: false,
            told: Told::default(),
        };
        app.environment_of(of, context.env);
        if script == "serve" && !app.cwd.join(script).exists() {
            app.shows_files();
            return Some(app);
        }
        app.run = Run::of(of, script, &app.cwd, &mut app.told);
        app.serves = serves(&app.run, &app.env, &app.cwd);
        app.tell_unread_port();
        for (key, value) in of {
            match overruled(key, of) {
                Some(why) => app.leave_out(key, value, why),
                None => app.take(key, value),
            }
        }
        app.settle(of);
        Some(app)
    }

    /// `pm2 serve`, which ecosystem files have as a script.
    fn shows_files(&mut self) {
        let said =
            |name: &str| self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let port = said("PM2_SERVE_PORT")
            .or_else(|| said("PORT"))
            .and_then(|port| port.parse().ok())
            .unwrap_or(8080);
        let host = said("PM2_SERVE_HOST").and_then(|host| host.parse().ok());
        let folder = self.cwd.join(said("PM2_SERVE_PATH").unwrap_or_else(|| ".".to_owned()));
        let is_spa = said("PM2_SERVE_SPA").is_some_and(|spa| spa == "true");
        if said("PM2_SERVE_BASIC_AUTH").is_some_and(|auth| auth == "true") {
            // Nobody is let in who was kept out.
            self.told.broken("PM2_SERVE_BASIC_AUTH: tidelock asks for no password");
        }
        self.files = Some(ServedFolder { folder, is_spa });
        self.serves = Serves::At { port, host, is_in_code: false };
    }

    /// A PORT that is not where clients come to.
    fn tell_unread_port(&mut self) {
        let said = self.env.iter().find(|(name, _)| name == "PORT");
        let said = said.and_then(|(_, said)| said.trim().parse::<u16>().ok());
        if let (Some(said), Serves::At { port, is_in_code: true, .. }) = (said, self.serves)
            && port != said
        {
            self.told.note(format!(
                "it listens at port {port}, whatever PORT = {said} says: clients find it there"
            ));
        }
    }

    fn take(&mut self, key: &str, value: &Value) {
        match (key, value) {
            (_, Value::Null) => {}
            (key, _) if ELSEWHERE.contains(&key) || key.starts_with("env_") => {}
            (key, _) if WITHOUT_EFFECT.contains(&key) => {}
            ("instances", _) => self.instances(value),
            ("env_file" | "filter_env", _) => {
                self.told.note(format!(
                    "{key} = {value} is not translated: `env` and `env_file` of the app are ours"
                ));
            }
            ("max_memory_restart", _) => match memory(value) {
                Some(memory) => self.keys.push(format!("memory_max = \"{memory}\"")),
                None => self.leave_out(key, value, ""),
            },
            ("uid" | "user", _) => self.keys.push(format!("user = {}", quoted(&plain(value)))),
            ("gid", _) => self.keys.push(format!("group = {}", quoted(&plain(value)))),
            ("cron_restart" | "cron", _) => self.cron(key, value),
            ("port", _) => {}
            ("disable_logs", Value::Bool(true)) => self.logs.push("folder = \"off\"".to_owned()),
            (key, _) if LOG_FILES.contains(&key) => self.log_file(key, value),
            _ => self.take_life(key, value),
        }
    }

    /// How its processes begin and end, what they are watched for, and how they write.
    fn take_life(&mut self, key: &str, value: &Value) {
        match (key, value) {
            ("kill_timeout", _) => {
                let time = self.time(key, value, &Self::LONG);
                self.stop.extend(time.map(|time| format!("timeout = {time}")));
            }
            ("shutdown_with_message", Value::Bool(tell)) => self.stop.push(format!("tell = {tell}")),
            ("min_uptime", _) => {
                let time = self.time(key, value, &Self::STABLE);
                self.restart.extend(time.map(|time| format!("stable = {time}")));
            }
            // One pause for all, and one that grows.
            ("restart_delay", _) if !is_zero(value) => {
                if let Some(time) = self.time(key, value, &Self::LONG) {
                    self.restart.extend([format!("pause_min = {time}"), format!("pause_max = {time}")]);
                }
            }
            ("exp_backoff_restart_delay", _) if !is_zero(value) => {
                let time = self.time(key, value, &Self::LONG);
                self.restart.extend(time.map(|time| format!("pause_min = {time}")));
            }
            ("restart_delay" | "exp_backoff_restart_delay", _) => {}
            ("max_restarts", Value::Number(max)) if max.as_u64().is_some_and(|max| max <= 1_000_000) => {
                self.restart.push(format!("max = {max}"));
            }
            ("autorestart", Value::Bool(false)) => self.restart.push("max = 0".to_owned()),
            ("watch", Value::Bool(true)) => drop(self.watch.get_or_insert_default()),
            ("watch", Value::Array(_) | Value::String(_)) => {
                self.watch.get_or_insert_default().push(format!("paths = {}", list(&names(value))));
            }
            ("log_type", Value::String(kind)) if kind == "json" => {
                self.logs.push("format = \"json\"".to_owned());
            }
            ("time", Value::Bool(time)) => self.logs.push(format!("time = {time}")),
            ("log_date_format", _) => {
                self.told.note(format!("log_date_format = {value}: the time is written as RFC 3339 has it"));
            }
            ("instance_var", Value::String(name))
                if ["NODE_APP_INSTANCE", "INSTANCE_ID"].contains(&&**name) => {}
            ("instance_var", _) => {
                self.leave_out(
                    key,
                    value,
                    ": the number of a process is in NODE_APP_INSTANCE and INSTANCE_ID",
                );
            }
            ("increment_var", _) => {
                self.leave_out(
                    key,
                    value,
                    ": processes get ports of their own, and clients one for all of them",
                );
            }
            ("stop_exit_codes", _) => match exit_codes(value) {
                Some(codes) if codes.is_empty() => {}
                Some(codes) => self.restart.push(format!("stop_exit_codes = {codes:?}")),
                None => self.leave_out(key, value, ": exit codes are 0 to 255"),
            },
            ("status", Value::String(status)) => {
                self.told.left(format!(
                    "it is {status} under PM2, and starts here; `tidelock stop {}`",
                    self.name
                ));
            }
            ("pmx_module", Value::Bool(true)) => self.told.broken("it is a module of PM2's, and no app"),
            (_, Value::Bool(false)) => {}
            ("autorestart", Value::Bool(true)) => {}
            _ => self.leave_out(key, value, ""),
        }
    }

    /// What more than one key decides.
    fn settle(&mut self, of: &Map<String, Value>) {
        if self.watch.is_some() {
            self.ignore(of.get("ignore_watch").or_else(|| of.get("watch_ignore")));
        }
        let is_cluster =
            of.get("exec_mode").and_then(Value::as_str).is_some_and(|mode| mode.starts_with("cluster"));
        if of.get("wait_ready") == Some(&Value::Bool(true)) {
            match says_ready(self.run.script.as_ref()) {
                Some(false) => self
                    .told
                    .note("wait_ready: its script does not say `process.send('ready')`; what it starts may"),
                _ => self.ready.push("when = \"told\"".to_owned()),
            }
        }
        // PM2 goes on when its three seconds are over, and here the process is ended.
        if let Some(time) = of.get("listen_timeout").and_then(millis).filter(|time| *time > READY_DEADLINE) {
            if Self::LONG.contains(&time) {
                self.ready.push(format!("deadline = \"{}ms\"", time.as_millis()));
            } else {
                self.leave_out("listen_timeout", &of["listen_timeout"], ": an hour is the longest");
            }
        }
        match self.serves {
            Serves::Somewhere => self.told.left(
                "where it listens is not known, so that nobody is let in to it: `[[listen]]` says where clients connect, and \
                 `[[route]]` and `[upstream.NAME]` with `app` that they come to it",
            ),
            Serves::Nowhere if is_cluster && self.is_many => self.told.left(
                "nothing in its script says that it listens, so that it is taken for a worker: if it serves, say where in \
                 `[[listen]]`, and `app` in an `[upstream.NAME]`",
            ),
            Serves::Nowhere if is_cluster => {
                self.told.note("nothing in its script says that it listens, so that it is taken for a worker");
            }
            _ => {}
        }
        if self.run.is_python {
            self.env.push(("PYTHONUNBUFFERED".to_owned(), "1".to_owned()));
        }
        // Each process has another, or PM2's own.
        self.env.retain(|(name, _)| name != "PORT");
        for name in ["HOST", "NODE_APP_INSTANCE", "INSTANCE_ID"] {
            let is_there = self.env.iter().any(|(known, _)| known == name);
            self.env.retain(|(known, _)| known != name);
            if is_there && name == "HOST" && matches!(self.serves, Serves::At { .. }) {
                self.told.note("env.HOST: clients connect there, and its processes listen on loopback");
            } else if is_there {
                self.told.left(format!("env.{name}: tidelock sets it"));
            }
        }
    }

    fn instances(&mut self, value: &Value) {
        let count = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match count {
            Some(count @ 1..=1024) => self.keys.push(format!("instances = {count}")),
            Some(1025..) => self.leave_out("instances", value, ": 1024 are the most"),
            // Under PM2 one less than there are cores, and so on.
            Some(less @ ..=-1) => {
                let less = usize::try_from(less.unsigned_abs()).unwrap_or(usize::MAX);
                let count = cores.saturating_sub(less).max(1);
                self.keys.push(format!("instances = {count}"));
                self.told.note(format!("instances = {value}: that is {count} on this machine"));
            }
            // PM2 takes what it does not understand for 0, and that for all cores.
            Some(0) | None => self.keys.push("instances = \"max\"".to_owned()),
        }
        self.is_many = count != Some(1);
    }

    fn environment_of(&mut self, of: &Map<String, Value>, wanted: Option<&str>) {
        let wanted = wanted.map(|name| format!("env_{name}"));
        for key in ["env"].into_iter().chain(wanted.as_deref()) {
            match of.get(key) {
                Some(Value::Object(pairs)) => self.environment(pairs),
                None | Some(Value::Null) => {}
                Some(_) => self.told.left(format!("{key}: it is no object")),
            }
        }
        let others = of.iter().filter(|(key, value)| {
            value.is_object() && key.starts_with("env_") && Some(key.as_str()) != wanted.as_deref()
        });
        for (key, _) in others {
            let name = key.trim_start_matches("env_");
            self.told.note(format!("{key}, which `tidelock import --env {name}` takes"));
        }
        if let Some(port) = of.get("port").filter(|port| !port.is_null() && !is_zero(port)) {
            self.env.retain(|(name, _)| name != "PORT");
            self.env.push(("PORT".to_owned(), plain(port)));
        }
        if let Some((_, port)) =
            self.env.iter().find(|(name, value)| name == "PORT" && value.parse::<u16>().is_err())
        {
            self.told.left(format!("env.PORT = {port}: it is no port, and each process gets another"));
        }
    }

    fn environment(&mut self, pairs: &Map<String, Value>) {
        for (name, value) in pairs {
            let text = plain(value);
            if value.is_null() {
                continue;
            }
            if name.is_empty() || name.contains(['=', '\0']) || text.contains('\0') || value.is_object() {
                self.told.left(format!("env.{name}: no environment can hold it"));
                continue;
            }
            self.env.retain(|(known, _)| known != name);
            self.env.push((name.clone(), text));
        }
    }

    fn cron(&mut self, key: &str, value: &Value) {
        match value {
            Value::String(cron) if cron.split_ascii_whitespace().count() == 5 => {
                self.keys.push(format!("cron = {}", quoted(cron)));
            }
            value if is_zero(value) => {}
            _ => self.leave_out(key, value, ": `cron` has five fields, minute to day of week"),
        }
    }

    fn log_file(&mut self, key: &str, value: &Value) {
        match value.as_str() {
            Some("/dev/null" | "NULL") if key.starts_with("out") => {
                if !self.logs.iter().any(|line| line.starts_with("folder")) {
                    self.logs.push("folder = \"off\"".to_owned());
                }
            }
            Some("/dev/null" | "NULL") => {}
            _ if value == &Value::Bool(false) => {}
            _ => self.leave_out(
                key,
                value,
                &format!("; its lines are in logs/{}-NUMBER.log, in the folder that `logs = {{ folder = \"…\" }}` says", self.name),
            ),
        }
    }

    fn ignore(&mut self, value: Option<&Value>) {
        let (names, patterns): (Vec<String>, Vec<String>) = value
            .map(names)
            .unwrap_or_default()
            .into_iter()
            .partition(|name| !name.contains(['/', '*', '\\', '[', '(', '^', '$']));
        if !names.is_empty() {
            self.watch.get_or_insert_default().push(format!("ignore = {}", list(&names)));
        }
        if !patterns.is_empty() {
            self.told
                .left(format!("ignore_watch: {}, for names are compared, not patterns", patterns.join(", ")));
        }
    }

    const LONG: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);
    const STABLE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_hours(24);

    /// Milliseconds, or text with a unit, as we write them, if that is within what our key takes.
    fn time(&mut self, key: &str, value: &Value, bounds: &RangeInclusive<Duration>) -> Option<String> {
        let time = millis(value).filter(|time| bounds.contains(time));
        if time.is_none() {
            self.leave_out(key, value, &format!(": it may be {:?} to {:?}", bounds.start(), bounds.end()));
        }
        time.map(|time| format!("\"{}ms\"", time.as_millis()))
    }

    fn leave_out(&mut self, key: &str, value: &Value, instead: &str) {
        self.told.left(format!("{key} = {value}{instead}"));
    }

    /// Where the files of its lines go, unless it says so.
    pub(super) fn write_to(&mut self, folder: &Path) {
        if !self.logs.iter().any(|line| line.starts_with("folder")) {
            self.logs.push(format!("folder = {}", quoted(&folder.display().to_string())));
        }
    }

    /// Its table, and that of its environment.
    pub(super) fn text(&self) -> String {
        let mut text = format!("\n[app.{}]\n", key(&self.name));
        for told in &self.told.notes {
            let _ = writeln!(text, "# {told}");
        }
        let _ = writeln!(
            text,
            "command = {}\ncwd = {}",
            list(&self.run.words),
            quoted(&self.cwd.display().to_string())
        );
        if let Serves::At { port, .. } = self.serves {
            let _ = writeln!(text, "port = {port}");
        }
        for line in &self.keys {
            let _ = writeln!(text, "{line}");
        }
        for (name, keys) in
            [("ready", &self.ready), ("stop", &self.stop), ("restart", &self.restart), ("logs", &self.logs)]
        {
            if !keys.is_empty() {
                let _ = writeln!(text, "{name} = {{ {} }}", keys.join(", "));
            }
        }
        if let Some(keys) = &self.watch {
            let _ = writeln!(text, "watch = {{ {} }}", keys.join(", "));
        }
        if !self.env.is_empty() {
            let _ = writeln!(text, "\n[app.{}.env]", key(&self.name));
            for (name, value) in &self.env {
                let _ = writeln!(text, "{} = {}", key(name), quoted(value));
            }
        }
        text
    }
}

fn name(of: &Map<String, Value>, script: &str) -> String {
    let stem = Path::new(script).file_stem().and_then(|stem| stem.to_str()).unwrap_or("app");
    crate::start::as_name(
        of.get("name").and_then(Value::as_str).filter(|name| !name.is_empty()).unwrap_or(stem),
    )
}

fn list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
}

/// Ours, when nothing is said.
const READY_DEADLINE: Duration = Duration::from_secs(30);
