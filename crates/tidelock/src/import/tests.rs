use std::fs;

use config::app::{Instances, ReadyWhen};
use config::plan::Plan;
use serde_json::json;

use super::*;

/// A folder with scripts of all shapes.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in [
        ("a.js", "setInterval(() => {}, 1000)"),
        ("b.js", "setInterval(() => {}, 1000)"),
        ("served.js", "const app = express();\napp.listen(process.env.PORT || 4100)"),
        ("fixed.js", "const port = 4200;\nhttp.createServer(f).listen(port, () => {})"),
        ("inner.js", "server.listen(4300, '127.0.0.1')"),
        ("hidden.js", "require('http').createServer(f).listen(config.port)"),
        ("ready.js", "process.send('ready')"),
        ("mails.py", ""),
        ("run.sh", ""),
        ("plain", "setInterval(() => {}, 1000)"),
        ("package.json", r#"{ "scripts": { "start": "next start -p 4400", "worker": "node a.js" } }"#),
    ] {
        fs::write(folder.path().join(name), text).expect("written");
    }
    fs::create_dir(folder.path().join("app")).expect("a folder");
    fs::write(folder.path().join("app/index.js"), "").expect("written");
    folder
}

fn translated(folder: &Path, ecosystem: Value, env: Option<&str>) -> Result<Translated, String> {
    let file = folder.join("ecosystem.config.js");
    translate(&Source { ecosystem, folder: folder.to_owned(), file, is_dump: false }, env)
}

/// The plan of what is written, which `check` has to pass, with what is left out and what is noted.
fn plan(folder: &Path, ecosystem: Value, env: Option<&str>) -> (Plan, Vec<String>, Vec<String>) {
    let Translated { text, left_out, notes } = translated(folder, ecosystem, env).expect("apps");
    let loaded = config::parse(&text, &folder.join("elsewhere/upstreams.toml"));
    let plan = loaded.unwrap_or_else(|report| panic!("{report}{text}")).plan;
    for app in &plan.apps {
        assert_eq!(supervisor::obstacles(app), [], "{text}");
    }
    (plan, left_out, notes)
}

/// One app, its command and what is left out of it.
fn check(app: Value, command: &[&str], left: &[&str]) -> (Plan, Vec<String>) {
    let folder = folder();
    let shown = app.to_string();
    let (plan, left_out, notes) = plan(folder.path(), app, None);
    if !command.is_empty() {
        assert_eq!(plan.apps[0].command, command, "{shown}");
    }
    assert_eq!(left_out.len(), left.len(), "{shown}: {left_out:#?}");
    for (said, want) in left_out.iter().zip(left) {
        assert!(said.contains(want), "{shown}: {said}");
    }
    (plan, notes)
}

/// The result is printed, and put where whoever will run it keeps such files.
#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn where_the_file_will_be_is_not_known() {
    let folder = folder();
    // No log can be written beside a file that was here.
    fs::write(folder.path().join("logs"), "").expect("written");
    let (plan, left_out, _) =
        plan(folder.path(), json!({ "apps": [{ "name": "chat", "script": "app/index.js" }] }), None);
    assert_eq!((plan.apps.len(), left_out), (1, Vec::new()));
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn what_pm2_says_is_said_in_our_words() {
    let folder = folder();
    let ecosystem = json!({ "apps": [{
        "name": "chat", "script": "index.js", "args": "--one two", "node_args": "--no-warnings",
        "cwd": "app", "instances": "max", "exec_mode": "cluster", "max_memory_restart": "300M",
        "env": { "NODE_ENV": "development", "PORT": 3000, "DEPTH": 3 },
        "env_production": { "NODE_ENV": "production" },
        "kill_timeout": 5000, "wait_ready": false, "listen_timeout": "40s", "shutdown_with_message": true,
        "min_uptime": "1m", "max_restarts": 7, "exp_backoff_restart_delay": 200, "autorestart": true,
        "cron_restart": "0 4 * * *", "watch": ["src"], "ignore_watch": ["node_modules", "*.log"],
        "log_type": "json", "time": true, "out_file": "out.log", "merge_logs": true,
        "source_map_support": true, "vizion": false
    }, { "script": "./mails.py", "autorestart": false }], "deploy": {} });
    let (plan, left_out, _) = plan(folder.path(), ecosystem, Some("production"));
    assert_eq!(plan.listens[0].address.to_string(), "[::]:3000");
    assert_eq!(plan.upstreams.len(), 1, "a worker is no upstream");
    let [chat, mails] = &plan.apps[..] else { panic!("two apps") };
    assert_eq!(chat.command, ["node", "--no-warnings", "--enable-source-maps", "index.js", "--one", "two"]);
    assert_eq!(chat.cwd, folder.path().join("app"), "wherever the file is saved");
    assert_eq!(chat.port, config::app::Port::Redirect(Some(3000)));
    assert_eq!(chat.instances, Instances::Max);
    assert_eq!(chat.memory_max, Some(300 << 20));
    assert_eq!((&*chat.env["NODE_ENV"], &*chat.env["DEPTH"]), ("production", "3"));
    assert_eq!((chat.stop.signal, chat.stop.timeout.as_secs(), chat.stop.tell), (2, 5, true));
    assert_eq!((&chat.ready.when, chat.ready.deadline.as_secs()), (&ReadyWhen::Port, 40));
    assert_eq!((chat.restart.stable.as_secs(), chat.restart.max), (60, Some(7)));
    assert_eq!((chat.restart.pause_min.as_millis(), chat.restart.pause_max.as_secs()), (200, 15));
    assert_eq!(chat.cron.as_deref(), Some("0 4 * * *"));
    let watch = chat.watch.as_ref().expect("it is watched");
    assert_eq!(
        (&watch.paths[..], &watch.ignore[..]),
        (&[folder.path().join("app/src")][..], &["node_modules".to_owned()][..])
    );
    assert_eq!((mails.restart.max, &mails.ready.when), (Some(0), &ReadyWhen::Running));
    assert_eq!(mails.env["PYTHONUNBUFFERED"], "1");
    assert_eq!(
        left_out,
        [
            "deploy: tidelock copies nothing to other machines",
            "chat: out_file = \"out.log\"; its lines are in logs/chat-NUMBER.log, in the folder that `logs = { folder = \"…\" }` says",
            "chat: ignore_watch: *.log, for names are compared, not patterns",
        ]
    );
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn commands_are_found_as_pm2_finds_them() {
    for (app, command) in [
        (json!({ "script": "a.js" }), &["node", "a.js"][..]),
        (json!({ "script": "run.sh" }), &["bash", "run.sh"]),
        (json!({ "script": "sh", "args": ["-c", "x y"] }), &["sh", "-c", "x y"]),
        (json!({ "script": "plain" }), &["node", "plain"]),
        (json!({ "script": "./app" }), &["node", "./app"]),
        (
            json!({ "script": "a.js", "interpreter": "node --no-warnings" }),
            &["node", "--no-warnings", "a.js"],
        ),
        (json!({ "script": "sh", "interpreter": "none" }), &["sh"]),
        (
            json!({ "script": "node a.js --x 'y z'", "args": "not these" }),
            &["bash", "-c", "node a.js --x 'y z'"],
        ),
        (json!({ "cmd": "node a.js" }), &["bash", "-c", "node a.js"]),
        (
            json!({ "script": "a.js", "args": "--t 'two words' --u=\"x \\\" y\" '' e\\ f" }),
            &["node", "a.js", "--t", "two words", "--u=x \" y", "", "e f"],
        ),
        (json!({ "script": "a.js", "args": ["a b", 3] }), &["node", "a.js", "a b", "3"]),
        (json!({ "script": "a.js", "env": { "A": "${B} $$" } }), &["node", "a.js"]),
    ] {
        check(app, command, &[]);
    }
    let left = ["node@1.2: nvm has no such"].map(|_| "interpreter = \"node@1.2\": nvm has no such Node.js");
    check(json!({ "script": "a.js", "interpreter": "node@1.2" }), &["node", "a.js"], &left);
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn the_port_is_found_where_people_say_it() {
    for (app, address) in [
        (json!({ "script": "a.js", "env": { "PORT": "3000" } }), "[::]:3000"),
        (json!({ "script": "a.js", "env": { "PORT": 3000, "HOST": "127.0.0.1" } }), "127.0.0.1:3000"),
        (json!({ "script": "a.js", "port": 3001 }), "[::]:3001"),
        (json!({ "script": "a.js", "args": "-p 4000" }), "[::]:4000"),
        (json!({ "script": "a.js", "args": "--port=4001", "env": { "PORT": 1 } }), "[::]:4001"),
        (json!({ "script": "a.js", "env": { "API_PORT": "4002", "DB_PORT": "5432" } }), "[::]:4002"),
        (json!({ "script": "served.js" }), "[::]:4100"),
        (json!({ "script": "fixed.js", "instances": 2, "exec_mode": "cluster" }), "[::]:4200"),
        (json!({ "script": "inner.js" }), "127.0.0.1:4300"),
        // PM2 changes nothing about a port in the code.
        (json!({ "script": "inner.js", "env": { "PORT": 3000 } }), "127.0.0.1:4300"),
        (json!({ "script": "fixed.js", "env": { "PORT": 3000 } }), "[::]:4200"),
        (json!({ "script": "served.js", "env": { "PORT": 3000 } }), "[::]:3000"),
        (json!({ "script": "node -r ./x served.js" }), "[::]:4100"),
    ] {
        let shown = app.to_string();
        let (plan, _) = check(app, &[], &[]);
        assert_eq!(plan.listens[0].address.to_string(), address, "{shown}");
        let port = plan.listens[0].address.port();
        assert_eq!(plan.apps[0].port, config::app::Port::Redirect(Some(port)), "{shown}");
    }
    // Nobody can move these.
    let (plan, _) = check(json!({ "script": "mails.py", "args": "--port 8000" }), &[], &[]);
    assert!(plan.listens.is_empty());
    check(
        json!({ "script": "hidden.js" }),
        &[],
        &["app: hidden.js"].map(|_| "where it listens is not known"),
    );
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn workers_are_workers_in_cluster_mode_and_as_the_first_app() {
    let (plan, notes) = check(json!({ "script": "a.js", "exec_mode": "cluster" }), &[], &[]);
    assert!(plan.listens.is_empty() && plan.apps[0].ready.when == ReadyWhen::Running);
    assert!(notes[0].contains("taken for a worker"), "{notes:?}");
    check(
        json!({ "script": "a.js", "instances": 2, "exec_mode": "cluster" }),
        &[],
        &["a: nothing in its script"],
    );
    let folder = folder();
    let apps = json!([{ "script": "a.js" }, { "script": "b.js", "env": { "PORT": 80 } }]);
    let (plan, _, _) = self::plan(folder.path(), apps, None);
    assert_eq!(plan.upstreams[0].app.as_deref(), Some("b"));
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn apps_that_serve_are_at_their_own_ports() {
    let folder = folder();
    let apps = json!([
        { "name": "one", "script": "a.js", "env": { "PORT": 3000 } },
        { "name": "two", "script": "b.js", "env": { "PORT": 3001 } },
        { "name": "three", "script": "b.js", "env": { "PORT": 3000 } },
    ]);
    let (plan, left_out, _) = plan(folder.path(), apps, None);
    assert_eq!((plan.listens.len(), plan.routes.len(), plan.upstreams.len()), (2, 2, 2));
    assert_eq!(left_out, ["three: it serves at port 3000, where one does: nobody comes to it here"]);
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn names_are_told_apart() {
    let folder = folder();
    let apps = json!([
        { "name": "a/b", "script": "a.js" }, { "name": "a b", "script": "a.js" }, { "name": "a-b-2", "script": "a.js" },
        { "name": "a-b", "script": "b.js" }, { "name": "", "script": "b.js" },
    ]);
    let (plan, left_out, notes) = plan(folder.path(), apps, None);
    let names: Vec<&str> = plan.apps.iter().map(|app| &*app.name).collect();
    assert_eq!(names, ["a-b", "a-b-2", "a-b-2-2", "a-b-3", "b"]);
    assert_eq!((left_out.len(), notes.len()), (0, 3), "{left_out:?} {notes:?}");
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn keys_of_one_meaning_are_written_once() {
    let (plan, _) = check(
        json!({ "name": "a", "script": "a.js", "restart_delay": 3000, "exp_backoff_restart_delay": 200,
            "autorestart": false, "max_restarts": 7 }),
        &[],
        &[
            "a: max_restarts = 7: `autorestart` is false",
            "a: restart_delay = 3000: `exp_backoff_restart_delay`",
        ],
    );
    assert_eq!((plan.apps[0].restart.pause_min.as_millis(), plan.apps[0].restart.max), (200, Some(0)));
    let (plan, _) = check(json!({ "script": "a.js", "restart_delay": 20000 }), &[], &[]);
    let restart = &plan.apps[0].restart;
    assert_eq!((restart.pause_min.as_secs(), restart.pause_max.as_secs()), (20, 20));
    for codes in [json!([0, 143]), json!("0, 143"), json!(["0", "143"])] {
        let (plan, _) = check(json!({ "script": "a.js", "stop_exit_codes": codes }), &[], &[]);
        assert_eq!(plan.apps[0].restart.stop_exit_codes.iter().collect::<Vec<_>>(), [0, 143]);
    }
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn what_is_otherwise_is_told_by_app_and_key() {
    for (key, value, want) in [
        ("stop_exit_codes", json!([1000]), "a: stop_exit_codes = [1000]: exit codes are 0 to 255"),
        ("instance_var", json!("N"), "a: instance_var = \"N\""),
        ("increment_var", json!("PORT"), "a: increment_var = \"PORT\""),
        ("cron_restart", json!("* * * * * *"), "a: cron_restart = \"* * * * * *\""),
        ("max_memory_restart", json!("1.5G"), "a: max_memory_restart = \"1.5G\""),
        (
            "error_file",
            json!("./err.log"),
            "a: error_file = \"./err.log\"; its lines are in logs/a-NUMBER.log",
        ),
        ("kill_timeout", json!(1u64 << 60), "a: kill_timeout = 1152921504606846976: it may be"),
        ("min_uptime", json!(5), "a: min_uptime = 5: it may be"),
        ("instances", json!(5000), "a: instances = 5000"),
        ("no_such_key", json!("x"), "a: no_such_key = \"x\""),
    ] {
        check(json!({ "script": "a.js", key: value }), &[], &[want]);
    }
    for (key, value) in [
        ("env_file", json!(".env")),
        ("filter_env", json!(["A"])),
        ("log_date_format", json!("YYYY")),
        ("instances", json!(-1)),
        ("merge_logs", json!(true)),
        ("namespace", json!("x")),
        ("watch", json!(false)),
        ("ignore_watch", json!(["x"])),
        ("restart_delay", json!(0)),
        ("out_file", json!("/dev/null")),
    ] {
        let (plan, _) = check(json!({ "script": "a.js", key: value }), &[], &[]);
        assert!(plan.apps[0].watch.is_none() && plan.apps[0].env_file.is_none(), "{key}");
    }
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn readiness_that_is_never_told_is_not_waited_for() {
    let (plan, _) = check(json!({ "script": "a.js", "wait_ready": true, "listen_timeout": 100 }), &[], &[]);
    assert_eq!((&plan.apps[0].ready.when, plan.apps[0].ready.deadline.as_secs()), (&ReadyWhen::Running, 30));
    let (plan, _) = check(json!({ "script": "ready.js", "wait_ready": true }), &[], &[]);
    assert_eq!(plan.apps[0].ready.when, ReadyWhen::Message);
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn what_is_not_there_is_left_out_and_told() {
    let folder = folder();
    let apps = json!([{ "script": "sreved.js" }, { "script": "a.js" }, { "name": "c", "script": "a.js", "cwd": "nowhere" }]);
    let Translated { text, left_out, .. } = translated(folder.path(), apps, None).expect("one app is right");
    assert!(
        left_out[0].starts_with("sreved: left out: script = \"sreved.js\"")
            && left_out[0].ends_with("did you mean \"served.js\"?"),
        "{left_out:?}"
    );
    assert!(left_out[1].starts_with("c: left out: "), "{left_out:?}");
    assert!(text.contains("# [app.sreved]") && text.contains("\n[app.a]"), "{text}");
    let why = translated(folder.path(), json!({ "script": "nowhere.js" }), None).expect_err("no app is left");
    assert!(why.contains("there is no"), "{why}");
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs npm: `cargo xtask test`")]
fn npm_start_is_served_where_its_script_says() {
    let (plan, _) = check(json!({ "script": "npm", "args": "start" }), &["npm", "start"], &[]);
    assert_eq!(plan.listens[0].address.port(), 4400);
    let (plan, _) = check(json!({ "script": "npm run worker" }), &["bash", "-c", "npm run worker"], &[]);
    assert!(plan.listens.is_empty());
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn pm2_serve_is_files() {
    let env = json!({ "PM2_SERVE_PATH": "./app", "PM2_SERVE_PORT": 8081, "PM2_SERVE_SPA": "true" });
    let folder = folder();
    let apps = json!([{ "script": "serve", "env": env }, { "script": "a.js" }]);
    let (plan, left_out, _) = plan(folder.path(), apps, None);
    assert_eq!((plan.listens[0].address.port(), plan.apps.len(), left_out.len()), (8081, 1, 0));
    assert!(
        matches!(&plan.routes[0].action, config::routing::Action::Files(files) if files.folder.ends_with("app"))
    );
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn the_dump_of_a_running_machine_is_read() {
    let folder = folder();
    let entry = |id: u32, status: &str| {
        json!({
            "name": "chat", "pm_id": id, "pm_exec_path": folder.path().join("served.js"), "pm_cwd": folder.path(),
            "exec_mode": "cluster_mode", "exec_interpreter": "node", "node_args": [], "args": ["--x"], "instances": 2,
            "autorestart": true, "watch": false, "min_uptime": 1000, "max_restarts": 16, "kill_timeout": 1600,
            "pm_out_log_path": "/root/.pm2/logs/chat-out.log", "axm_actions": [], "status": status, "HOME": "/root",
            "env": { "HOME": "/root", "TERM": "x", "PM2_HOME": "/p", "SECRET": "s", "chat": {}, "unique_id": "u", "PORT": "4101" },
        })
    };
    let dump = json!([entry(0, "online"), entry(1, "online")]).to_string();
    let ecosystem = dump::read(&dump, Path::new("/p")).expect("a dump");
    let (plan, left_out, _) = plan(folder.path(), ecosystem, None);
    let [chat] = &plan.apps[..] else { panic!("one app") };
    assert_eq!(chat.instances, Instances::Count(2.try_into().expect("not zero")));
    assert_eq!(chat.env.keys().collect::<Vec<_>>(), ["SECRET"]);
    assert_eq!((plan.listens[0].address.port(), left_out.len()), (4101, 0), "{left_out:?}");
    let (_, left_out, _) = self::plan(
        folder.path(),
        dump::read(&json!([entry(0, "stopped")]).to_string(), Path::new("/p")).expect("a dump"),
        None,
    );
    assert_eq!(left_out, ["chat: it is stopped under PM2, and starts here; `tidelock stop chat`"]);
    for text in ["", "{}", "3", "[", "nul"] {
        assert!(dump::read(text, Path::new("/p")).is_err(), "{text}");
    }
}

#[test]
fn what_is_no_ecosystem_is_refused() {
    for value in [json!([]), json!(3), json!({}), json!(null), json!({ "apps": [{ "name": "no script" }] })] {
        assert!(translated(Path::new("/"), value.clone(), None).is_err(), "{value}");
    }
}

/// Whatever is in it, what is written can be read.
#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn hostile_values_do_no_harm() {
    let folder = folder();
    let hostile = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1e308),
        json!("\n[x]\n\u{7f}\u{1b}[2J\0"),
        json!(["\n", null, {}]),
        json!({ "a\nb=": [1] }),
        json!("x".repeat(100_000)),
        json!("${HOME} \" \\ ''' \"\"\""),
    ];
    let keys = [
        "name",
        "args",
        "cwd",
        "env",
        "env_production",
        "instances",
        "exec_mode",
        "interpreter",
        "node_args",
        "watch",
        "ignore_watch",
        "uid",
        "gid",
        "cron_restart",
        "kill_timeout",
        "listen_timeout",
        "min_uptime",
        "max_restarts",
        "restart_delay",
        "max_memory_restart",
        "out_file",
        "port",
        "log_type",
        "time",
        "wait_ready",
        "status",
        "x\n[y]",
    ];
    for key in keys {
        for value in &hostile {
            let apps = json!([{ "script": "a.js" }, { "script": "b.js", key: value }]);
            let Translated { text, left_out, .. } =
                translated(folder.path(), apps, None).expect("one is right");
            let loaded = config::parse(&text, Path::new("/upstreams.toml"));
            assert!(loaded.is_ok(), "{key} = {value:.50}: {:?}", loaded.err());
            assert!(!left_out.iter().any(|line| line.contains(char::is_control)), "{key}: {left_out:?}");
        }
    }
}
