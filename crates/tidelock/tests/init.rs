//! Goal: whoever has an app and no file types `tidelock init`, then `tidelock`, and the app answers.
//! Method: folders as people have them, the real binary without a terminal and in one, and a request to the URL that it names.

use std::net::SocketAddr;
use std::process::Stdio;

use tempfile::TempDir;
use testkit::port::free_address;
use testkit::process::{Process, tells};
use testkit::raw::get;
use testkit::tidelock::directory;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A folder, and a port for its app.
struct Folder {
    folder: TempDir,
    port: u16,
}

impl Folder {
    /// PORT in the texts is a port that is free.
    fn of(files: &[(&str, &str)]) -> Self {
        let (folder, port) = (directory(), free_address().port());
        for (name, text) in files {
            let text = text.replace("FIXED", &port.to_string());
            std::fs::write(folder.path().join(name), text).expect("the folder is the test's");
        }
        Self { folder, port }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .env("NO_COLOR", "1");
        command.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", self.folder.path()).env_remove("PORT");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// What `init` says, and whether tidelock would start with what it wrote.
    async fn init(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(TIDELOCK).arg("init").args(arguments).output().await.expect("it runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    /// The same at a terminal where somebody types `answers`.
    async fn init_at_terminal(&self, answers: &[&str]) -> (bool, String) {
        let mut command = self.command("script");
        command.args(["--quiet", "--return", "--command", &format!("{TIDELOCK} init"), "/dev/null"]);
        command.env("SHELL", "/bin/sh").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut terminal = command.spawn().expect("it runs");
        let mut keyboard = terminal.stdin.take().expect("it is written to");
        let typed: String = answers.iter().map(|answer| format!("{answer}\n")).collect();
        keyboard.write_all(typed.as_bytes()).await.expect("it is read");
        let output = terminal.wait_with_output().await.expect("it ends");
        drop(keyboard);
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("upstreams.toml")).unwrap_or_default()
    }

    /// Serves what was written.
    async fn serve(&self, event: &str) -> Process {
        let process = Process::spawn("tidelock", self.command(TIDELOCK));
        process.wait_for_line(|line| tells(line, event)).await;
        process
    }

    fn at(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }
}

const APP: &str =
    "require('http').createServer((_, a) => a.end('the app')).listen(process.env.PORT || FIXED)";
const PACKAGE: &str = r#"{ "name": "@us/chat", "scripts": { "start": "node index.js" }, "dependencies": { "socket.io": "4" } }"#;

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and npm: `cargo xtask test`")]
async fn an_app_answers_by_the_file_that_was_written_for_it() {
    for (files, lines) in [
        (
            &[("package.json", PACKAGE), ("index.js", APP)][..],
            &["[app.chat]", "command = [\"node\", \"index.js\"]"][..],
        ),
        (
            &[
                ("package.json", r#"{ "name": "shop", "scripts": { "start": "WORD=1 node server.js" } }"#),
                ("server.js", APP),
            ],
            &["[app.shop]", "command = [\"npm\", \"start\"]"],
        ),
        (
            &[("package.json", r#"{ "main": "main.js" }"#), ("main.js", APP)],
            &["command = [\"node\", \"main.js\"]"],
        ),
        (&[("server.js", APP)], &["command = [\"node\", \"server.js\"]"]),
        (
            &[
                (
                    "ecosystem.config.js",
                    "module.exports = { apps: [{ name: 'old', script: 'old.js', env: { PORT: FIXED } }] }",
                ),
                ("old.js", APP),
                ("package.json", PACKAGE),
            ],
            &["[app.old]"],
        ),
    ] {
        let folder = Folder::of(files);
        let (success, said) = folder.init(&[]).await;
        let text = folder.text();
        assert!(success && said.contains("upstreams.toml: good"), "{said}\n{text}");
        for line in lines.iter().copied().chain([format!("address = \":{}\"", folder.port).as_str()]) {
            assert!(text.lines().any(|there| there == line), "no {line} in\n{text}");
        }
        let next = format!("next: `tidelock` serves it, at http://localhost:{}", folder.port);
        assert!(said.contains(&next), "{said}");
        let _tidelock = folder.serve("apps_ready").await;
        assert_eq!(get(folder.at(), "/").await.text(), "the app", "{text}");
    }
}

/// A few lines, each of which is meant.
#[tokio::test]
async fn the_file_is_short() {
    let folder = Folder::of(&[("package.json", PACKAGE), ("index.js", APP)]);
    folder.init(&["--yes"]).await;
    let text = folder.text();
    let expected = format!(
        "# Where clients connect, and what answers them; `tidelock check` tells what is wrong with it.\n\
         [[listen]]\naddress = \":{}\"\n\n[[route]]\nupstream = \"chat\"\n\n[upstream.chat]\napp = \"chat\"\n\n\
         [app.chat]\ncommand = [\"node\", \"index.js\"]\n\
         # Several processes share the rooms of Socket.IO with `fanout = true`, or through an adapter of the app's own.\n\
         instances = 1\n",
        folder.port
    );
    assert_eq!(text, expected);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn at_a_terminal_it_asks() {
    let folder = Folder::of(&[("package.json", PACKAGE), ("index.js", APP)]);
    let (success, said) = folder.init_at_terminal(&["", &format!("127.0.0.1:{}", folder.port), "2"]).await;
    let text = folder.text();
    assert!(success, "{said}");
    for question in ["Domain, for HTTPS", "Where do clients connect [:", "How many processes"] {
        assert!(said.contains(question), "{said}");
    }
    assert!(text.contains(&format!("address = \"127.0.0.1:{}\"", folder.port)), "{text}");
    assert!(text.contains("instances = 2\n"), "{text}");
    let _tidelock = folder.serve("apps_ready").await;
    assert_eq!(get(folder.at(), "/").await.text(), "the app");
}

#[tokio::test]
async fn a_domain_is_served_with_certificates_of_its_own() {
    let folder = Folder::of(&[("package.json", PACKAGE), ("index.js", APP)]);
    let (_, said) = folder.init_at_terminal(&["chat.example.com", "max"]).await;
    let text = folder.text();
    for line in [
        "address = \":443\"",
        "tls = \"auto\"",
        "redirect = \"https\"",
        "host = \"chat.example.com\"",
        "instances = \"max\"",
    ] {
        assert!(text.lines().any(|there| there == line), "no {line} in\n{text}\n{said}");
    }
    assert!(said.contains("serves it, at https://chat.example.com;"), "{said}");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn without_an_app_it_asks_where_one_listens() {
    let folder = Folder::of(&[]);
    let mut node = Command::new("node");
    let app = APP.replace(
        "process.env.PORT || FIXED",
        "0, function () { console.log(`at ${this.address().port} now`) }",
    );
    node.args(["--eval", &app]);
    let node = Process::spawn("node", node);
    let line = node.wait_for_line(|line| line.starts_with("at ")).await;
    let port = line.split(' ').nth(1).expect("a port");
    let (success, said) =
        folder.init_at_terminal(&["", &folder.port.to_string(), &format!("127.0.0.1:{port}")]).await;
    assert!(success, "{said}");
    let _tidelock = folder.serve("serving").await;
    assert_eq!(get(folder.at(), "/").await.text(), "the app", "{}", folder.text());
}

#[tokio::test]
async fn what_is_there_stays_as_it_is() {
    let folder = Folder::of(&[("upstreams.toml", "# mine\n"), ("package.json", PACKAGE), ("index.js", APP)]);
    let (success, said) = folder.init(&[]).await;
    assert!(!success && said.contains("is there already, and stays as it is"), "{said}");
    assert_eq!(folder.text(), "# mine\n");
}

#[tokio::test]
async fn files_that_say_more_are_left_to_import() {
    let folder = Folder::of(&[("nginx.conf", "events {}")]);
    let (success, said) = folder.init(&[]).await;
    assert!(
        !success && said.contains("tidelock import") && said.contains("nginx.conf > upstreams.toml"),
        "{said}"
    );
    assert_eq!(folder.text(), "");

    // Beside an app it is only mentioned.
    let folder = Folder::of(&[("nginx.conf", "events {}"), ("index.js", APP)]);
    let (_, said) = folder.init(&[]).await;
    assert!(said.contains("`tidelock import nginx.conf` prints"), "{said}");
    assert!(folder.text().contains("node"), "{said}");

    // One that computes something is not run unasked.
    let folder = Folder::of(&[(
        "ecosystem.config.js",
        "module.exports = { apps: require('os').cpus().map(() => ({})) }",
    )]);
    let (success, said) = folder.init(&[]).await;
    assert!(!success && said.contains("--run-node > upstreams.toml"), "{said}");
    assert_eq!(folder.text(), "");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_listens_nowhere_is_a_worker() {
    let folder = Folder::of(&[("index.js", "console.log('at work'); setInterval(() => {}, 1000)")]);
    let (success, said) = folder.init(&[]).await;
    assert!(success, "{said}");
    assert!(!folder.text().contains("listen]]"), "{}", folder.text());
    let tidelock = folder.serve("apps_ready").await;
    tidelock.wait_for_line(|line| line.contains("at work")).await;
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
