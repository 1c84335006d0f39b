//! Goal: what `tidelock import` writes of PM2's files runs what PM2 ran, or it says what does not. Method: files as people have
//! them are imported by the real binary; what it writes is checked, served, and asked over its ports, with real Node.js.

mod each;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;
use testkit::port::free_address;
use testkit::process::{Process, tells};
use testkit::raw::get;
use testkit::tidelock::directory;
use tokio::process::Command;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

/// A file of PM2's, and what has to come of it.
struct Case {
    /// PORT and PORT2 in it are ports that are free.
    file: (&'static str, &'static str),
    options: &'static [&'static str],
    code: i32,
    /// What is said on standard error, by app and key.
    told: &'static [&'static str],
    /// What is answered at PORT and PORT2.
    answers: &'static [&'static str],
}

const PLAIN: Case = Case { file: ("", ""), options: &[], code: 0, told: &[], answers: &["chat"] };

/// It answers with its name, its arguments and its WORD.
const CHAT: &str = "require('http').createServer((_, answer) => answer.end(
    [process.env.name_of || 'chat', ...process.argv.slice(2), process.env.WORD].filter(Boolean).join(' ')
)).listen(process.env.PORT || FIXED)";

/// What was imported, while tidelock serves it.
struct Served {
    folder: TempDir,
    ports: [SocketAddr; 2],
    /// What `import` wrote, and what it told.
    text: String,
    told: String,
    process: Process,
}

async fn check(case: Case) -> Served {
    check_in(directory(), case).await
}

/// In a folder that has more files already.
async fn check_in(folder: TempDir, case: Case) -> Served {
    let ports = [free_address(), free_address()];
    let fill = |text: &str| {
        text.replace("PORT2", &ports[1].port().to_string()).replace("PORT1", &ports[0].port().to_string())
    };
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("chat.js", &CHAT.replace("FIXED", &ports[0].port().to_string()));
    write(
        "args.js",
        "let at = process.argv.indexOf('-p'); require('http').createServer((_, a) => a.end('args')).listen(+process.argv[at + 1])",
    );
    write("bot.js", "console.log('at work'); setInterval(() => {}, 1000)");
    write("package.json", r#"{ "scripts": { "start": "node chat.js from npm" } }"#);
    if !case.file.1.is_empty() {
        write(case.file.0, &fill(case.file.1));
    }

    let mut import = command(folder.path());
    import.arg("import").arg(case.file.0).args(case.options);
    let output = import.output().await.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let shown = format!("{}\n{told}\n{text}", case.file.1);
    assert_eq!(output.status.code(), Some(case.code), "{shown}");
    for what in case.told {
        assert!(told.contains(what), "{what}: {shown}");
        // What is left out is in the file too.
        let is_note = told.lines().any(|line| line.starts_with("note") && line.contains(what));
        assert!(is_note || text.contains(what), "{what}: {shown}");
    }
    write("upstreams.toml", &text);
    let mut checked = command(folder.path());
    checked.args(["check", "upstreams.toml"]);
    let output = checked.output().await.expect("it runs");
    assert!(output.status.success(), "{}{shown}", String::from_utf8_lossy(&output.stdout));

    let mut serve = command(folder.path());
    serve.arg("upstreams.toml");
    let process = Process::spawn("tidelock", serve);
    process.wait_for_line(|line| tells(line, "apps_ready") || tells(line, "listening")).await;
    if text.contains("\n[app.") {
        process.wait_for_line(|line| tells(line, "apps_ready")).await;
    }
    for (port, want) in ports.iter().zip(case.answers) {
        assert_eq!(get(*port, "/").await.text(), *want, "{shown}");
    }
    Served { folder, ports, text, told, process }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(TIDELOCK);
    let path = std::env::var("PATH").expect("a PATH");
    command
        .current_dir(folder)
        .env("PATH", format!("{}:{path}", folder.join("bin").display()))
        .env("NVM_DIR", folder.join("nvm"))
        .env("PM2_HOME", folder.join("pm2"))
        .env("XDG_RUNTIME_DIR", folder)
        .env("XDG_STATE_HOME", folder)
        .env_remove("PORT");
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn two_that_serve_each_at_its_port() {
    check(Case {
        file: ("ecosystem.config.js", "module.exports = { apps: [
            { name: 'a', script: './chat.js', env: { PORT: PORT1, WORD: 'one' }, instances: 2, exec_mode: 'cluster' },
            { name: 'b', script: 'chat.js', args: \"--t 'two words'\", env: { PORT: 'PORT2' }, restart_delay: 100, exp_backoff_restart_delay: 100 },
            { name: 'bot', script: 'bot.js', exec_mode: 'cluster', stop_exit_codes: [0] } ] }"),
        code: 2,
        told: &["exp_backoff_restart_delay"],
        answers: &["chat one", "chat --t two words"],
        ..PLAIN
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn the_port_in_arguments_and_in_the_script() {
    check(Case {
        file: (
            "process.json",
            r#"{ /* by hand */ "apps": [{ "name": "args", "script": "args.js", "args": "-p PORT1" }] }"#,
        ),
        answers: &["args"],
        ..PLAIN
    })
    .await;
    check(Case {
        file: ("pm2.yaml", "apps:\n  - name: chat\n    script: chat.js\n    env:\n      WORD: yes it is\n"),
        answers: &["chat yes it is"],
        ..PLAIN
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_program_of_a_file_is_run_by_node() {
    check(Case {
        file: ("ecosystem.config.cjs", "const apps = ['x'].map(name => ({ name, script: 'chat.js', env_production: { WORD: 'prod' } }));\nmodule.exports = { apps }"),
        options: &["--run-node", "--env", "production"],
        answers: &["chat prod"],
        ..PLAIN
    })
    .await;
    check(Case {
        file: ("ecosystem.config.mjs", "export default { apps: [{ name: 'x', script: 'chat.js' }] }"),
        options: &["--run-node"],
        ..PLAIN
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn npm_start_and_a_line_for_a_shell() {
    check(Case {
        file: (
            "ecosystem.json",
            r#"{ "apps": [
            { "name": "web", "script": "npm", "args": "start", "env": { "PORT": PORT1 } },
            { "name": "line", "script": "node chat.js by bash", "env": { "PORT": "PORT2" } }] }"#,
        ),
        answers: &["chat from npm", "chat by bash"],
        ..PLAIN
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn names_that_are_alike_and_a_typo() {
    check(Case {
        file: (
            "ecosystem.json",
            r#"[{ "name": "a/b", "script": "chat.js", "env": { "PORT": PORT1 } },
            { "name": "a b", "script": "bot.js" }, { "name": "typo", "script": "caht.js" }]"#,
        ),
        code: 2,
        told: &["typo: left out", "did you mean \"chat.js\"?"],
        ..PLAIN
    })
    .await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_dump_of_pm2() {
    check(Case {
        file: ("dump.pm2", r#"[{ "name": "chat", "pm_exec_path": "chat.js", "exec_mode": "fork_mode", "exec_interpreter": "node",
            "instances": 1, "env": { "PORT": "PORT1", "WORD": "dumped" }, "status": "online" }]"#),
        answers: &["chat dumped"],
        ..PLAIN
    })
    .await;
}
