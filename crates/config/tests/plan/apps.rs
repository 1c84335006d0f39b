//! What of an app reaches the plan.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use tidelock_config::app::{
    self, App, Instances, Logs, Port, Ready, ReadyWhen, Restart, Socket, Stop, Watch,
};

use super::plan_of;

#[test]
fn every_key_of_an_app_reaches_the_plan() {
    let app = r#"
        [[listen]]
        address = ":80"
        [[route]]
        upstream = "nodes"
        [upstream.nodes]
        app = "chat"
        [app.chat]
        command = "node --title 'the chat' index.js"
        args = ["--last", ""]
        cwd = "app"
        env = { NODE_ENV = "production", DEPTH = 3, DEBUG = true }
        env_file = ".env"
        user = "www"
        group = "web"
        no_new_privs = true
        instances = 3
        port = 3000
        ports = "4000-4003"
        socket = "unix"
        ready = { when = "engineio", deadline = "5s" }
        memory_max = "64MiB"
        cron = " 0  4 * * 1-5 "
        stop = { signal = "SIGINT", timeout = "1s", tell = true }
        restart = { pause_min = "1s", pause_max = "2s", stable = "3s", max = 4 }
        watch = { paths = ["src"], ignore = ["tmp"] }
        logs = { folder = "/var/log/chat", file_bytes_max = "1MiB", files_max = 2, ring_lines_max = 3, format = "json", time = false }
    "#;
    let plan = plan_of(app);
    assert_eq!(plan.upstreams[0].app.as_deref(), Some("chat"));
    assert!(plan.upstreams[0].nodes.is_empty());
    let here = std::env::current_dir().expect("a current folder").join("folder");
    let env = [("DEBUG", "true"), ("DEPTH", "3"), ("NODE_ENV", "production")];
    let expected = App {
        name: "chat".to_owned(),
        command: ["node", "--title", "the chat", "index.js"].map(str::to_owned).to_vec(),
        args: ["--last", ""].map(str::to_owned).to_vec(),
        shown: plan.apps[0].shown.clone(),
        cwd: here.join("app"),
        env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        env_file: Some(here.join(".env")),
        user: Some("www".to_owned()),
        group: Some("web".to_owned()),
        no_new_privs: true,
        instances: Instances::Count(NonZeroU32::new(3).expect("not 0")),
        fanout: false,
        port: Port::Redirect(Some(3000)),
        ports: Some(4000..=4003),
        socket: Socket::Unix,
        ready: Ready {
            when: ReadyWhen::EngineIo { path: "/socket.io/".to_owned() },
            deadline: Duration::from_secs(5),
        },
        stop: Stop { signal: 2, timeout: Duration::from_secs(1), tell: true },
        restart: Restart {
            pause_min: Duration::from_secs(1),
            pause_max: Duration::from_secs(2),
            stable: Duration::from_secs(3),
            max: Some(4),
            stop_exit_codes: tidelock_config::app::ExitCodes::NONE,
        },
        memory_max: Some(64 << 20),
        cron: Some("0 4 * * 1-5".to_owned()),
        watch: Some(Watch { paths: vec![here.join("app/src")], ignore: vec!["tmp".to_owned()] }),
        logs: Logs {
            folder: Some(PathBuf::from("/var/log/chat")),
            file_bytes_max: 1 << 20,
            files_max: 2,
            ring_lines_max: 3,
            format: app::LogFormat::Json,
            time: false,
        },
    };
    assert_eq!(*plan.apps[0], expected);
    assert_eq!(expected.argv(), ["node", "--title", "the chat", "index.js", "--last", ""]);
}
