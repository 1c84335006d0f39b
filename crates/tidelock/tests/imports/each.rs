//! What people's ecosystem files hold and an import can get wrong, one by one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use testkit::port::free_address;
use testkit::process::{Signal, tells};
use testkit::raw::get;
use testkit::tidelock::directory;
use testkit::until_file;

use crate::{Case, PLAIN, check, check_in, command};

/// A program in `folder`, which a test puts in the place of a real one.
fn program(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("its mode");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn restart_delay_beside_exp_backoff_restart_delay() {
    let served = check(Case {
        file: ("ecosystem.json", r#"[{ "name": "chat", "script": "chat.js", "restart_delay": 100, "exp_backoff_restart_delay": 250 }]"#),
        code: 2,
        told: &["chat: restart_delay = 100: `exp_backoff_restart_delay` is there and decides"],
        ..PLAIN
    })
    .await;
    assert!(served.text.contains("restart = { pause_min = \"250ms\" }"), "{}", served.text);
}

/// yarn and pnpm are scripts here that do what `yarn start` does.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn npm_yarn_and_pnpm_start_beside_an_app_with_a_port() {
    for (name, file) in [
        (
            "npm",
            r#"[{ "name": "web", "script": "npm", "args": "start", "env": { "PORT": PORT1 } }, { "name": "api", "script": "chat.js", "env": { "PORT": PORT2, "WORD": "api" } }]"#,
        ),
        (
            "yarn",
            r#"[{ "name": "web", "script": "yarn", "args": "start", "env": { "PORT": PORT1 } }, { "name": "api", "script": "chat.js", "env": { "PORT": PORT2, "WORD": "api" } }]"#,
        ),
        (
            "pnpm",
            r#"[{ "name": "web", "script": "pnpm", "args": "run start", "env": { "PORT": PORT1 } }, { "name": "api", "script": "chat.js", "env": { "PORT": PORT2, "WORD": "api" } }]"#,
        ),
        (
            "npm",
            r#"[{ "name": "web", "script": "npm", "args": "start", "interpreter": "none", "env": { "PORT": PORT1 } }, { "name": "api", "script": "chat.js", "env": { "PORT": PORT2, "WORD": "api" } }]"#,
        ),
    ] {
        let folder = directory();
        if name != "npm" {
            program(
                folder.path(),
                &format!("bin/{name}"),
                "#!/bin/sh\nexec sh -c \"$(node -p 'require(\"./package.json\").scripts.start')\"\n",
            );
        }
        check_in(
            folder,
            Case { file: ("ecosystem.json", file), answers: &["chat from npm", "chat api"], ..PLAIN },
        )
        .await;
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn quoted_args() {
    check(Case {
        file: ("ecosystem.config.js", r#"module.exports = { apps: [{ name: 'chat', script: 'chat.js', args: "--title 'two words' --x=\"a b\"" },
            { name: 'list', script: 'chat.js', args: ['a b', 'c'], env: { PORT: PORT2 } }] }"#),
        answers: &["chat --title two words --x=a b", "chat a b c"],
        ..PLAIN
    })
    .await;
}

/// The file is in a folder of its own, and what comes of it is saved in another.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_file_elsewhere() {
    for (file, text) in [
        ("conf/ecosystem.json", r#"[{ "name": "chat", "script": "../chat.js" }]"#),
        ("conf/ecosystem.json", r#"[{ "name": "chat", "script": "chat.js", "cwd": ".." }]"#),
        ("conf/ecosystem.json", r#"[{ "name": "chat", "script": "./chat.js", "cwd": "../conf/.." }]"#),
    ] {
        let folder = directory();
        fs::create_dir(folder.path().join("conf")).expect("a folder");
        check_in(folder, Case { file: (file, text), ..PLAIN }).await;
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn two_apps_of_one_name() {
    check(Case {
        file: (
            "ecosystem.json",
            r#"[{ "name": "chat", "script": "chat.js", "env": { "PORT": PORT1, "WORD": "one" } },
            { "name": "chat", "script": "chat.js", "env": { "PORT": PORT2, "WORD": "two" } }]"#,
        ),
        told: &["chat-2: another app is called chat too"],
        answers: &["chat one", "chat two"],
        ..PLAIN
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn instances_of_minus_one_and_a_worker_in_cluster_mode() {
    let served = check(Case {
        file: (
            "ecosystem.json",
            r#"[{ "name": "bot", "script": "bot.js", "exec_mode": "cluster" },
            { "name": "chat", "script": "chat.js", "instances": -1, "exec_mode": "cluster" }]"#,
        ),
        told: &[
            "chat: instances = -1: that is",
            "bot: nothing in its script says that it listens, so that it is taken for a worker",
        ],
        ..PLAIN
    })
    .await;
    // It is not ended for that nobody can connect to it.
    served.process.wait_for_line(|line| line.contains("at work")).await;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = format!("instances = {}", cores.saturating_sub(1).max(1));
    assert!(served.text.contains(&wanted), "{}", served.text);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_interpreter_of_a_version() {
    let file = ("ecosystem.json", r#"[{ "name": "chat", "script": "chat.js", "interpreter": "node@18" }]"#);
    check(Case {
        file,
        code: 2,
        told: &["chat: interpreter = \"node@18\": nvm has no such Node.js here"],
        ..PLAIN
    })
    .await;
    let folder = directory();
    for (version, word) in
        [("v16.20.2", "sixteen"), ("v18.3.0", "old"), ("v18.20.1", "eighteen"), ("v20.1.0", "twenty")]
    {
        let text = format!("#!/bin/sh\nWORD={word} exec node \"$@\"\n");
        program(folder.path(), &format!("nvm/versions/node/{version}/bin/node"), &text);
    }
    check_in(folder, Case { file, answers: &["chat eighteen"], ..PLAIN }).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn export_default() {
    for name in ["ecosystem.config.mjs", "ecosystem.config.js"] {
        let text =
            "export default {\n  apps: [{ name: 'chat', script: 'chat.js', env: { WORD: 'module' } }],\n};\n";
        check(Case { file: (name, text), answers: &["chat module"], ..PLAIN }).await;
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_typo_in_script() {
    check(Case {
        file: (
            "ecosystem.json",
            r#"[{ "name": "typo", "script": "./caht.js" }, { "name": "chat", "script": "chat.js" }]"#,
        ),
        code: 2,
        told: &["typo: left out: script = \"./caht.js\": there is no", "did you mean \"chat.js\"?"],
        ..PLAIN
    })
    .await;
    // With nothing else in it there is nothing to run.
    let folder = directory();
    fs::write(folder.path().join("ecosystem.json"), r#"[{ "name": "typo", "script": "caht.js" }]"#)
        .expect("written");
    let output = command(folder.path()).args(["import", "ecosystem.json"]).output().await.expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty() && told.contains("caht.js"), "{told}");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn yaml() {
    check(Case {
        file: ("process.yml", "# Ours.\napps:\n  - &base\n    name: chat\n    script: ./chat.js\n    instances: 2\n    exec_mode: cluster\n    env: { PORT: PORT1, WORD: 'yes' }\n  - <<: *base\n    name: other\n    env:\n      PORT: 'PORT2'\n      WORD: >-\n        two\n        lines\n"),
        answers: &["chat yes", "chat two lines"],
        ..PLAIN
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn json_with_comments() {
    check(Case {
        file: ("process.json", "// PM2 reads this.\n{ /* all of it */ \"apps\": [{\n  \"name\": \"chat\", // its name\n  \"script\": \"chat.js\",\n  \"env\": { \"WORD\": \"//no/comment\" },\n}] }\n"),
        answers: &["chat //no/comment"],
        ..PLAIN
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_script_with_spaces_is_a_line_for_a_shell() {
    let served = check(Case {
        file: ("ecosystem.json", r#"[{ "name": "line", "script": "WORD=$((40 + 2)) node chat.js 'by bash'", "args": "not these", "env": { "PORT": "PORT1" } }]"#),
        told: &["line: args: PM2 takes no notice of them"],
        answers: &["chat by bash 42"],
        ..PLAIN
    })
    .await;
    assert!(served.text.contains("[\"bash\", \"-c\", "), "{}", served.text);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn pm2_serve() {
    let folder = directory();
    fs::create_dir(folder.path().join("public")).expect("a folder");
    fs::write(folder.path().join("public/index.html"), "<p>all of it</p>").expect("written");
    let served = check_in(folder, Case {
        file: ("ecosystem.json", r#"[{ "name": "web", "script": "serve", "env": { "PM2_SERVE_PATH": "./public", "PM2_SERVE_PORT": PORT1, "PM2_SERVE_SPA": "true" } },
            { "name": "chat", "script": "chat.js", "env": { "PORT": PORT2 } }]"#),
        answers: &["<p>all of it</p>", "chat"],
        ..PLAIN
    })
    .await;
    assert_eq!(get(served.ports[0], "/a/page").await.text(), "<p>all of it</p>", "it is a single page");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn the_files_of_logs() {
    let served = check(Case {
        file: ("ecosystem.json", r#"[{ "name": "chat", "script": "chat.js" }, { "name": "bot", "script": "bot.js", "error_file": "err.log", "out_file": "out.log",
            "merge_logs": true, "log_date_format": "YYYY-MM-DD" }, { "name": "quiet", "script": "bot.js", "out_file": "/dev/null", "error_file": "/dev/null" }]"#),
        code: 2,
        told: &["bot: error_file = \"err.log\"", "bot: out_file = \"out.log\"", "bot: log_date_format = \"YYYY-MM-DD\""],
        ..PLAIN
    })
    .await;
    // They are where it says.
    assert!(served.told.contains("its lines are in logs/bot-NUMBER.log"), "{}", served.told);
    until_file(&served.folder.path().join("logs/bot-0.log"), |text| text.contains("at work")).await;
    assert!(!served.folder.path().join("logs/quiet-0.log").exists());
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn source_map_support() {
    let folder = directory();
    let script =
        "require('http').createServer((_, a) => a.end(process.execArgv.join())).listen(process.env.PORT)";
    fs::write(folder.path().join("maps.js"), script).expect("written");
    check_in(folder, Case {
        file: ("ecosystem.json", r#"[{ "name": "maps", "script": "maps.js", "source_map_support": true, "env": { "PORT": PORT1 } },
            { "name": "none", "script": "maps.js", "source_map_support": false, "node_args": "--no-warnings", "env": { "PORT": PORT2 } }]"#),
        answers: &["--enable-source-maps", "--no-warnings"],
        ..PLAIN
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn instance_var() {
    let folder = directory();
    let script = "require('http').createServer((_, a) => a.end(process.env.INSTANCE_ID + process.env.NODE_APP_INSTANCE)).listen(process.env.PORT)";
    fs::write(folder.path().join("which.js"), script).expect("written");
    check_in(folder, Case {
        file: ("ecosystem.json", r#"[{ "name": "same", "script": "which.js", "instance_var": "INSTANCE_ID", "env": { "PORT": PORT1 } },
            { "name": "usual", "script": "which.js", "instance_var": "NODE_APP_INSTANCE", "env": { "PORT": PORT2 } }]"#),
        answers: &["00", "00"],
        ..PLAIN
    })
    .await;
    check(Case {
        file: ("ecosystem.json", r#"[{ "name": "chat", "script": "chat.js", "instance_var": "WORKER" }]"#),
        code: 2,
        told: &["chat: instance_var = \"WORKER\": the number of a process is in NODE_APP_INSTANCE and INSTANCE_ID"],
        ..PLAIN
    })
    .await;
}

/// Names are compared, and a pattern is told.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn patterns_of_ignore_watch() {
    let folder = directory();
    fs::create_dir(folder.path().join("src")).expect("a folder");
    let served = check_in(folder, Case {
        file: ("ecosystem.json", r#"[{ "name": "chat", "script": "chat.js", "watch": ["src"], "ignore_watch": ["node_modules", "tmp", "*.log", "[\\/\\\\]\\./"] }]"#),
        code: 2,
        told: &["chat: ignore_watch: *.log, [\\/\\\\]\\./, for names are compared, not patterns"],
        ..PLAIN
    })
    .await;
    assert!(served.text.contains("ignore = [\"node_modules\", \"tmp\"]"), "{}", served.text);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn stop_exit_codes() {
    let folder = directory();
    let script = "require('fs').appendFileSync('starts', 'x'); process.on('SIGUSR2', () => process.exit(7)); setInterval(() => {}, 1000)";
    fs::write(folder.path().join("job.js"), script).expect("written");
    let served = check_in(folder, Case {
        file: ("ecosystem.json", r#"[{ "name": "chat", "script": "chat.js" }, { "name": "job", "script": "job.js", "stop_exit_codes": [7] }]"#),
        ..PLAIN
    })
    .await;
    until_file(&served.folder.path().join("starts"), |text| text == "x").await;
    let status = || async {
        let output =
            command(served.folder.path()).args(["status", "job", "--json"]).output().await.expect("it runs");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON")
    };
    let pid = status().await["apps"][0]["instances"][0]["pid"].as_i64().expect("it runs");
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
    rustix::process::kill_process(pid, Signal::USR2).expect("it runs");
    let ended = async { while status().await["apps"][0]["instances"][0]["state"] != "finished" {} };
    tokio::time::timeout(testkit::TIMEOUT, ended).await.expect("it is finished, and not started again");
    assert_eq!(fs::read_to_string(served.folder.path().join("starts")).expect("it is read"), "x");
}

/// The dump that PM2 itself writes, of what it runs.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and PM2: `cargo xtask test`")]
async fn the_dump_of_a_real_pm2() {
    let folder = directory();
    let pm2 = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/js/node_modules/.bin/pm2");
    assert!(pm2.exists(), "`cargo xtask test` installs it");
    let (chat, api) = (free_address(), free_address());
    fs::write(folder.path().join("chat.js"), crate::CHAT.replace("FIXED", &chat.port().to_string()))
        .expect("written");
    fs::write(folder.path().join("bot.js"), "setInterval(() => {}, 1000)").expect("written");
    let file = format!(
        r#"{{ "apps": [{{ "name": "chat", "script": "chat.js", "instances": 2, "exec_mode": "cluster", "args": "--t 'two words'", "env": {{ "WORD": "moved", "PORT": {} }} }},
            {{ "name": "api", "script": "chat.js", "interpreter_args": "--no-warnings", "env": {{ "PORT": {} }} }}, {{ "name": "bot", "script": "bot.js" }}] }}"#,
        chat.port(),
        api.port()
    );
    fs::write(folder.path().join("ecosystem.json"), file).expect("written");
    let say = async |words: &[&str]| {
        let path = folder.path().join("said");
        let file = fs::File::create(&path).expect("a file");
        let mut pm2 = {
            let mut command = command(folder.path());
            let usual = command.as_std_mut();
            let mut other = tokio::process::Command::new(&pm2);
            other.current_dir(folder.path()).stdin(std::process::Stdio::null());
            for (name, value) in usual.get_envs() {
                match value {
                    Some(value) => other.env(name, value),
                    None => other.env_remove(name),
                };
            }
            other
        };
        // Its daemon keeps what it inherits open, so that a pipe would not end.
        let ended = pm2.args(words).stdout(file.try_clone().expect("a file")).stderr(file).status().await;
        assert!(
            ended.expect("it runs").success(),
            "{words:?}: {}",
            fs::read_to_string(path).unwrap_or_default()
        );
    };
    say(&["start", "ecosystem.json"]).await;
    say(&["save"]).await;
    // It gives the ports back.
    say(&["kill"]).await;
    let output = command(folder.path()).args(["import", "pm2"]).output().await.expect("it runs");
    let (text, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}{text}");
    fs::write(folder.path().join("upstreams.toml"), &*text).expect("written");
    let checked = command(folder.path()).args(["check", "upstreams.toml"]).output().await.expect("it runs");
    assert!(checked.status.success(), "{}{text}", String::from_utf8_lossy(&checked.stdout));
    let mut serve = command(folder.path());
    serve.arg("upstreams.toml");
    let process = testkit::process::Process::spawn("tidelock", serve);
    process.wait_for_line(|line| tells(line, "apps_ready")).await;
    assert_eq!(get(chat, "/").await.text(), "chat --t two words moved", "{told}{text}");
    assert_eq!(get(api, "/").await.text(), "chat", "{told}{text}");
    assert!(text.contains("instances = 2") && text.contains("[app.bot]"), "{text}");
    // What belonged to the shell that PM2 was started from does not come along.
    for variable in ["PM2_HOME", "pm_id", "unique_id", "npm_", "XDG_RUNTIME_DIR", "axm_"] {
        assert!(!text.contains(variable), "{variable}: {text}");
    }
}
