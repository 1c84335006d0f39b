//! One app of PM2's, key by key. What has no counterpart is kept, to be told.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value};

use crate::start::{key, quoted};

/// An app in our words.
#[derive(Debug, Default)]
pub(super) struct App {
    pub(super) name: String,
    pub(super) command: Vec<String>,
    pub(super) listens: bool,
    pub(super) port: Option<u16>,
    /// Lines of its table.
    keys: Vec<String>,
    stop: Vec<String>,
    restart: Vec<String>,
    ready: Vec<String>,
    watch: Option<Vec<String>>,
    logs: Vec<String>,
    env: Vec<(String, String)>,
    pub(super) left_out: Vec<String>,
}

impl App {
    pub(super) fn of(of: &Map<String, Value>, env: Option<&str>) -> Self {
        let mut app = Self { name: name(of), command: command(of), ..Self::default() };
        // PM2 stops with it, and apps that listen for a signal listen for this one.
        app.stop.push("signal = \"SIGINT\"".to_owned());
        for (key, value) in of {
            app.take(key, value, env);
        }
        app
    }

    fn take(&mut self, key: &str, value: &Value, env: Option<&str>) {
        match (key, value) {
            (
                "name" | "script" | "interpreter" | "exec_interpreter" | "interpreter_args" | "node_args",
                _,
            ) => {}
            ("args", _) => self.keys.push(format!("args = {}", list(&words(value)))),
            ("cwd", Value::String(cwd)) => self.keys.push(format!("cwd = {}", quoted(cwd))),
            ("instances", _) => self.instances(value),
            ("exec_mode", _) => {
                self.listens |= value.as_str().is_some_and(|mode| mode.starts_with("cluster"));
            }
            ("env", Value::Object(pairs)) => self.environment(pairs),
            (key, Value::Object(pairs)) if key.strip_prefix("env_") == env && env.is_some() => {
                self.environment(pairs);
            }
            (key, Value::Object(_)) if key.starts_with("env_") => {
                let name = key.trim_start_matches("env_");
                self.left_out.push(format!("{key}, which `tidelock import --env {name}` takes"));
            }
            ("env_file", Value::String(file)) => self.keys.push(format!("env_file = {}", quoted(file))),
            ("max_memory_restart", _) => match memory(value) {
                Some(memory) => self.keys.push(format!("memory_max = \"{memory}\"")),
                None => self.leave_out(key, value, ""),
            },
            ("uid" | "user", _) if !value.is_null() => {
                self.keys.push(format!("user = {}", quoted(&plain(value))));
            }
            ("gid", _) if !value.is_null() => self.keys.push(format!("group = {}", quoted(&plain(value)))),
            ("cron_restart", Value::String(cron)) if cron.split_ascii_whitespace().count() == 5 => {
                self.keys.push(format!("cron = {}", quoted(cron)));
            }
            ("out_file" | "error_file" | "log_file" | "output" | "error" | "log" | "out", _) => {
                self.leave_out(
                    key,
                    value,
                    "; `logs = { folder = \"…\" }` says where the files of all processes go",
                );
            }
            _ if value.is_null() => {}
            _ => self.take_life(key, value),
        }
    }

    /// How its processes begin and end, what they are watched for, and how they write.
    fn take_life(&mut self, key: &str, value: &Value) {
        match (key, value) {
            ("kill_timeout", _) => self.time(key, value, "timeout", |app| &mut app.stop),
            ("shutdown_with_message", Value::Bool(tell)) => self.stop.push(format!("tell = {tell}")),
            ("wait_ready", Value::Bool(true)) => self.ready.push("when = \"told\"".to_owned()),
            ("listen_timeout", _) => self.time(key, value, "deadline", |app| &mut app.ready),
            ("min_uptime", _) => self.time(key, value, "stable", |app| &mut app.restart),
            ("restart_delay" | "exp_backoff_restart_delay", _) => {
                self.time(key, value, "pause_min", |app| &mut app.restart);
            }
            ("max_restarts", Value::Number(max)) => self.restart.push(format!("max = {max}")),
            ("autorestart", Value::Bool(false)) => self.restart.push("max = 0".to_owned()),
            ("watch", Value::Bool(true)) => drop(self.watch.get_or_insert_default()),
            ("watch", Value::Array(_) | Value::String(_)) => {
                self.watch.get_or_insert_default().push(format!("paths = {}", list(&words(value))));
            }
            ("ignore_watch", _) => self.ignore(value),
            ("log_type", Value::String(kind)) if kind == "json" => {
                self.logs.push("format = \"json\"".to_owned());
            }
            ("time", Value::Bool(time)) => self.logs.push(format!("time = {time}")),
            ("wait_ready" | "autorestart" | "watch" | "merge_logs" | "combine_logs", Value::Bool(_)) => {}
            _ => self.leave_out(key, value, ""),
        }
    }

    fn instances(&mut self, value: &Value) {
        let count = value.as_i64().or_else(|| value.as_str()?.parse().ok());
        match (count, value.as_str()) {
            (Some(count @ 1..), _) => self.keys.push(format!("instances = {count}")),
            (Some(0), _) | (None, Some("max")) => self.keys.push("instances = \"max\"".to_owned()),
            _ => {
                self.keys.push("instances = \"max\"".to_owned());
                self.leave_out("instances", value, "; it is \"max\" here");
            }
        }
        self.listens |= count != Some(1);
    }

    fn environment(&mut self, pairs: &Map<String, Value>) {
        for (name, value) in pairs {
            if name == "PORT" {
                self.port = plain(value).parse().ok();
                self.listens = true;
                self.left_out.push(format!(
                    "env.PORT = {value}: tidelock listens there, and gives each process its own"
                ));
            } else if ["HOST", "NODE_APP_INSTANCE", "INSTANCE_ID"].contains(&&**name) {
                self.left_out.push(format!("env.{name}: tidelock sets it"));
            } else {
                self.env.retain(|(known, _)| known != name);
                self.env.push((name.clone(), plain(value)));
            }
        }
    }

    fn ignore(&mut self, value: &Value) {
        let (names, patterns): (Vec<String>, Vec<String>) =
            words(value).into_iter().partition(|name| !name.contains(['/', '*', '\\', '[']));
        if !names.is_empty() {
            self.watch.get_or_insert_default().push(format!("ignore = {}", list(&names)));
        }
        if !patterns.is_empty() {
            self.left_out
                .push(format!("ignore_watch: {}, for names are compared, not patterns", patterns.join(", ")));
        }
    }

    /// Milliseconds, or text with a unit.
    fn time(&mut self, key: &str, value: &Value, ours: &str, of: impl Fn(&mut Self) -> &mut Vec<String>) {
        let time = match value {
            Value::Number(millis) => Some(format!("{millis}ms")),
            Value::String(text) if text.parse::<u64>().is_ok() => Some(format!("{text}ms")),
            Value::String(text) => Some(text.clone()),
            _ => None,
        };
        match time.filter(|time| config::duration(time).is_some()) {
            Some(time) => of(self).push(format!("{ours} = \"{time}\"")),
            None => self.leave_out(key, value, ""),
        }
    }

    fn leave_out(&mut self, key: &str, value: &Value, instead: &str) {
        self.left_out.push(format!("{key} = {value}{instead}"));
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("\n[app.{}]\ncommand = {}\n", key(&self.name), list(&self.command));
        for line in &self.keys {
            let _ = writeln!(text, "{line}");
        }
        let watch = self.watch.clone();
        for (name, keys) in
            [("ready", &self.ready), ("stop", &self.stop), ("restart", &self.restart), ("logs", &self.logs)]
        {
            if !keys.is_empty() {
                let _ = writeln!(text, "{name} = {{ {} }}", keys.join(", "));
            }
        }
        if let Some(keys) = watch {
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

fn name(of: &Map<String, Value>) -> String {
    let script = of.get("script").and_then(Value::as_str).unwrap_or("app");
    let stem = Path::new(script).file_stem().and_then(|stem| stem.to_str()).unwrap_or("app");
    crate::start::as_name(of.get("name").and_then(Value::as_str).unwrap_or(stem))
}

/// The interpreter, its arguments and the script; empty without a script.
fn command(of: &Map<String, Value>) -> Vec<String> {
    let Some(script) = of.get("script").and_then(Value::as_str) else { return Vec::new() };
    let said = of.get("interpreter").or_else(|| of.get("exec_interpreter")).and_then(Value::as_str);
    let by_extension = match Path::new(script).extension().and_then(|extension| extension.to_str()) {
        Some("js" | "mjs" | "cjs") => Some("node"),
        Some("ts" | "tsx" | "mts") => Some("tsx"),
        Some("py") => Some("python3"),
        Some("sh") => Some("bash"),
        _ => None,
    };
    let interpreter = said.or(by_extension).filter(|interpreter| *interpreter != "none");
    let arguments = of.get("interpreter_args").or_else(|| of.get("node_args")).map(words).unwrap_or_default();
    let mut command: Vec<String> = interpreter.map(str::to_owned).into_iter().chain(arguments).collect();
    let is_command = interpreter.is_none() && !script.contains(['/', '.']);
    command.push(match is_command || interpreter.is_some() || script.contains('/') {
        true => script.to_owned(),
        // PM2 looks in the folder before it looks in PATH.
        false => format!("./{script}"),
    });
    command
}

/// A list, or a string with spaces.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        other => vec![plain(other)],
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn list(words: &[String]) -> String {
    format!("[{}]", words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(", "))
}

/// `300M` and bytes; PM2 means powers of 1,024.
fn memory(value: &Value) -> Option<String> {
    let text = plain(value);
    let (number, unit) = text.split_at(text.bytes().take_while(u8::is_ascii_digit).count());
    let unit = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => "B",
        "K" | "KB" => "KiB",
        "M" | "MB" => "MiB",
        "G" | "GB" => "GiB",
        _ => return None,
    };
    (!number.is_empty()).then(|| format!("{number}{unit}"))
}
