//! Translates PM2's ecosystem file into an `upstreams.toml`, and says what it could not translate. Reads one file, and
//! runs it only if it is told to.

mod app;

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::Value;

use crate::nginx;
use crate::start::{key, quoted};
use app::App;

/// Prints what `file` says in our words.
pub(crate) fn import(file: &Path, run_node: bool, env: Option<&str>) -> ExitCode {
    if nginx::is_nginx(file) {
        return nginx::import(file);
    }
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
        (false, _) => {
            config::read_regular(file).map_err(|error| format!("the file cannot be read: {error}"))?
        }
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
        let table = key(&app.name);
        let _ = write!(text, "\n[[route]]\n{host}upstream = {name}\n\n[upstream.{table}]\napp = {name}\n");
    }
    text
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
