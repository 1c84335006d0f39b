//! Translates PM2's ecosystem file into an `upstreams.toml`, and says what it could not translate. Reads one file, and
//! runs it only if it is told to.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::{Map, Value};

use crate::start::quoted;

/// Prints what `file` says in our words.
pub(crate) fn import(file: &Path, run_node: bool, env: Option<&str>) -> ExitCode {
    match read(file, run_node).and_then(|ecosystem| translate(&ecosystem, file, env)) {
        Ok(Translated { text, left_out }) => {
            print!("{text}");
            for what in left_out {
                eprintln!("not translated: {what}");
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("{}: {why}", file.display());
            ExitCode::FAILURE
        }
    }
}

fn read(file: &Path, run_node: bool) -> Result<Value, String> {
    let is_program = file.extension().is_some_and(|extension| extension != "json");
    let text = match (is_program, run_node) {
        (false, _) => std::fs::read(file).map_err(|error| format!("the file cannot be read: {error}"))?,
        (true, false) => {
            return Err("it is a program; --run-node lets `node` run it, to see what it exports".to_owned());
        }
        (true, true) => exports(file)?,
    };
    serde_json::from_slice(&text).map_err(|error| format!("it is not JSON: {error}"))
}

fn exports(file: &Path) -> Result<Vec<u8>, String> {
    let path = std::path::absolute(file).map_err(|error| error.to_string())?;
    let output = Command::new("node")
        .arg("-e")
        .arg("process.stdout.write(JSON.stringify(require(process.argv[1])))")
        .arg(path)
        .output()
        .map_err(|error| format!("`node` cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "`node` could not run it:\n{}",
            String::from_utf8_lossy(&output.stderr).trim_end()
        ));
    }
    Ok(output.stdout)
}

#[derive(Debug)]
struct Translated {
    text: String,
    left_out: Vec<String>,
}

fn translate(ecosystem: &Value, file: &Path, env: Option<&str>) -> Result<Translated, String> {
    // A file may be one app, a list of them, or an object that has one.
    let apps = match ecosystem {
        Value::Array(apps) => apps.clone(),
        Value::Object(members) => match members.get("apps") {
            Some(Value::Array(apps)) => apps.clone(),
            Some(app @ Value::Object(_)) => vec![app.clone()],
            _ => vec![ecosystem.clone()],
        },
        _ => return Err("there is no app in it".to_owned()),
    };
    let mut left_out = Vec::new();
    if ecosystem.get("deploy").is_some() {
        left_out.push("deploy: tidelock copies nothing to other machines".to_owned());
    }
    let apps: Vec<App> = apps.iter().filter_map(Value::as_object).map(|app| App::of(app, env)).collect();
    if apps.is_empty() || apps.iter().any(|app| app.command.is_empty()) {
        return Err("an app in it has no `script`".to_owned());
    }
    left_out
        .extend(apps.iter().flat_map(|app| app.left_out.iter().map(|what| format!("{}: {what}", app.name))));
    let mut text = format!("# Translated from {}.\n", file.display());
    for what in &left_out {
        let _ = writeln!(text, "# Not translated: {what}");
    }
    text += &served(&apps);
    for app in &apps {
        text += &app.text();
    }
    Ok(Translated { text, left_out })
}

/// What clients connect to. Which apps listen cannot be known; those that run more than once, or have a PORT, do.
fn served(apps: &[App]) -> String {
    let mut listening: Vec<&App> = apps.iter().filter(|app| app.listens).collect();
    if listening.is_empty() {
        listening.extend(apps.first());
    }
    let port = listening.iter().find_map(|app| app.port).unwrap_or(80);
    let mut text = format!(
        "\n# Where clients connect, in the place of nginx and of the app's own port.\n[[listen]]\naddress = \"0.0.0.0:{port}\"\n"
    );
    for (index, app) in listening.iter().enumerate() {
        let name = quoted(&app.name);
        let host = match index {
            0 => String::new(),
            _ => format!(
                "# Which requests are its? Change this.\nhost = {}\n",
                quoted(&format!("{}.example.com", app.name))
            ),
        };
        let _ = write!(text, "\n[[route]]\n{host}upstream = {name}\n\n[upstream.{name}]\napp = {name}\n");
    }
    text
}

/// An app in our words.
#[derive(Debug, Default)]
struct App {
    name: String,
    command: Vec<String>,
    listens: bool,
    port: Option<u16>,
    /// Lines of its table.
    keys: Vec<String>,
    stop: Vec<String>,
    restart: Vec<String>,
    ready: Vec<String>,
    watch: Option<Vec<String>>,
    logs: Vec<String>,
    env: Vec<(String, String)>,
    left_out: Vec<String>,
}

impl App {
    fn of(of: &Map<String, Value>, env: Option<&str>) -> Self {
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
            ("out_file" | "error_file" | "log_file" | "output" | "error" | "log" | "out", _) => {
                self.leave_out(
                    key,
                    value,
                    "; `logs = { folder = \"…\" }` says where the files of all processes go",
                );
            }
            _ if value.is_null() => {}
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

    fn text(&self) -> String {
        let mut text = format!("\n[app.{}]\ncommand = {}\n", quoted(&self.name), list(&self.command));
        for key in &self.keys {
            let _ = writeln!(text, "{key}");
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
            let _ = writeln!(text, "[app.{}.env]", quoted(&self.name));
            for (name, value) in &self.env {
                let _ = writeln!(text, "{} = {}", quoted(name), quoted(value));
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

#[cfg(test)]
mod tests {
    use config::app::{Instances, ReadyWhen};

    use super::*;

    fn translated(json: &str, env: Option<&str>) -> (config::plan::Plan, Vec<String>) {
        let ecosystem = serde_json::from_str(json).expect("JSON");
        let Translated { text, left_out } =
            translate(&ecosystem, Path::new("ecosystem.json"), env).expect("apps");
        let plan = config::parse(&text, Path::new("/srv/upstreams.toml"));
        (plan.unwrap_or_else(|report| panic!("{report}{text}")).plan, left_out)
    }

    #[test]
    fn what_pm2_says_is_said_in_our_words() {
        let (plan, left_out) = translated(
            r#"{ "apps": [{
                "name": "chat", "script": "index.js", "args": "--one two", "node_args": "--enable-source-maps",
                "cwd": "app", "instances": "max", "exec_mode": "cluster", "max_memory_restart": "300M",
                "env": { "NODE_ENV": "development", "PORT": 3000, "DEPTH": 3 },
                "env_production": { "NODE_ENV": "production" },
                "kill_timeout": 5000, "wait_ready": true, "listen_timeout": "10s", "shutdown_with_message": true,
                "min_uptime": "1m", "max_restarts": 7, "exp_backoff_restart_delay": 200, "autorestart": true,
                "cron_restart": "0 4 * * *", "watch": ["src"], "ignore_watch": ["node_modules", "*.log"],
                "log_type": "json", "time": true, "out_file": "out.log", "merge_logs": true, "uid": "www",
                "source_map_support": true, "vizion": false
            }, { "script": "./mails.py", "autorestart": false }], "deploy": {} }"#,
            Some("production"),
        );
        assert_eq!(plan.listens[0].address.port(), 3000);
        assert_eq!(plan.upstreams.len(), 1, "a worker is no upstream");
        let [chat, mails] = &plan.apps[..] else { panic!("two apps") };
        assert_eq!(chat.command, ["node", "--enable-source-maps", "index.js", "--one", "two"]);
        assert_eq!(chat.cwd, Path::new("/srv/app"));
        assert_eq!(chat.instances, Instances::Max);
        assert_eq!(chat.memory_max, Some(300 << 20));
        assert_eq!(chat.env["NODE_ENV"], "production");
        assert_eq!(chat.env["DEPTH"], "3");
        assert_eq!((chat.stop.signal, chat.stop.timeout.as_secs(), chat.stop.tell), (2, 5, true));
        assert_eq!((&chat.ready.when, chat.ready.deadline.as_secs()), (&ReadyWhen::Told, 10));
        assert_eq!((chat.restart.stable.as_secs(), chat.restart.max), (60, Some(7)));
        assert_eq!(chat.restart.pause_min.as_millis(), 200);
        assert_eq!(chat.cron.as_deref(), Some("0 4 * * *"));
        let watch = chat.watch.as_ref().expect("it is watched");
        assert_eq!(
            (&watch.paths[..], &watch.ignore[..]),
            (&["/srv/app/src".into()][..], &["node_modules".to_owned()][..])
        );
        assert_eq!(chat.user.as_deref(), Some("www"));
        assert_eq!(mails.command, ["python3", "./mails.py"]);
        assert_eq!((mails.restart.max, &mails.ready.when), (Some(0), &ReadyWhen::Running));
        assert_eq!(
            left_out,
            [
                "deploy: tidelock copies nothing to other machines",
                "chat: env.PORT = 3000: tidelock listens there, and gives each process its own",
                "chat: ignore_watch: *.log, for names are compared, not patterns",
                "chat: out_file = \"out.log\"; `logs = { folder = \"…\" }` says where the files of all processes go",
                "chat: source_map_support = true",
                "chat: vizion = false",
            ]
        );
    }

    #[test]
    fn commands_are_found_as_pm2_finds_them() {
        for (app, command) in [
            (r#"{ "script": "server", "name": "a" }"#, &["server"][..]),
            (r#"{ "script": "run.sh" }"#, &["bash", "run.sh"]),
            (r#"{ "script": "bin/server.bin" }"#, &["bin/server.bin"]),
            (r#"{ "script": "index.js", "interpreter": "bun" }"#, &["bun", "index.js"]),
            (r#"{ "script": "server.x", "interpreter": "none" }"#, &["./server.x"]),
        ] {
            assert_eq!(translated(app, None).0.apps[0].command, command, "{app}");
        }
    }

    #[test]
    fn what_is_no_ecosystem_is_refused() {
        for json in ["[]", "3", "{}", r#"{ "apps": [{ "name": "no script" }] }"#] {
            let ecosystem = serde_json::from_str(json).expect("JSON");
            assert!(translate(&ecosystem, Path::new("a"), None).is_err(), "{json}");
        }
    }
}
