//! Who is compared: the file of each, how it is started, reloaded and stopped. Counts nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use testkit::process::{Process, Signal};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::run::printed;

/// One line of each row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Tidelock,
    Nginx,
    Haproxy,
}

/// A running proxy. Dropping it ends it and all its processes.
pub(crate) struct Running {
    which: Contender,
    process: Process,
    address: SocketAddr,
    nodes: [SocketAddr; 2],
    reloads: usize,
    has_ended: bool,
    directory: TempDir,
}

impl Contender {
    pub(crate) const ALL: [Self; 3] = [Self::Tidelock, Self::Nginx, Self::Haproxy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tidelock => "tidelock",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
        }
    }

    /// Its file, as its users would write it for two nodes; each reload adds a line that changes nothing else.
    pub(crate) fn file(self, address: SocketAddr, nodes: [SocketAddr; 2], reloads: usize) -> String {
        let (text, more) = match self {
            Self::Tidelock => {
                (TIDELOCK_FILE, format!("[[route]]\npath = \"/reload-{reloads}\"\nupstream = \"nodes\"\n"))
            }
            Self::Nginx => (NGINX_FILE, format!("# reload {reloads}\n")),
            Self::Haproxy => (HAPROXY_FILE, format!("# reload {reloads}\n")),
        };
        let [first, second] = nodes.map(|node| node.to_string());
        let text =
            text.replace("ADDRESS", &address.to_string()).replace("FIRST", &first).replace("SECOND", &second);
        if reloads == 0 { text } else { text + &more }
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) async fn start(self, tidelock: &Path, nodes: [SocketAddr; 2]) -> Result<Running> {
        let directory = testkit::tidelock::directory();
        // nginx and HAProxy cannot say which port the kernel gave them, so that it is chosen before and let go again.
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let path = directory.path();
        fs::write(path.join(FILE), self.file(address, nodes, 0))?;
        let mut command = match self {
            Self::Tidelock => {
                let mut command = Command::new(tidelock);
                command.arg(FILE).env("XDG_RUNTIME_DIR", path).env("NO_COLOR", "1");
                command
            }
            Self::Nginx => {
                let mut command = Command::new("nginx");
                command.args(["-c", FILE, "-e", "error.log", "-p"]).arg(path);
                command
            }
            Self::Haproxy => {
                let mut command = Command::new("haproxy");
                command.args(["-W", "-db", "-f", FILE]);
                command
            }
        };
        command.current_dir(path);
        let process = Process::spawn(self.name(), command);
        let running =
            Running { which: self, process, address, nodes, reloads: 0, has_ended: false, directory };
        let connecting = async {
            while TcpStream::connect(address).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let connected = timeout(START_MAX, connecting).await;
        connected.with_context(|| running.process.output())?;
        Ok(running)
    }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes its file and tells it so.
    pub(crate) fn reload(&mut self) -> Result<()> {
        self.reloads += 1;
        let text = self.which.file(self.address, self.nodes, self.reloads);
        let file = self.directory.path().join(FILE);
        let next = file.with_extension("next");
        fs::write(&next, text)?;
        fs::rename(&next, &file)?;
        self.process.signal(match self.which {
            Contender::Tidelock | Contender::Nginx => Signal::HUP,
            Contender::Haproxy => Signal::USR2,
        });
        Ok(())
    }

    /// Tells it to finish what it has and to end, as it is told in its manual.
    pub(crate) fn stop_gracefully(&self) {
        self.process.signal(match self.which {
            Contender::Tidelock => Signal::TERM,
            Contender::Nginx => Signal::QUIT,
            Contender::Haproxy => Signal::USR1,
        });
    }

    /// How it ended, if it does within `timeout`.
    pub(crate) async fn ended(&mut self, timeout: Duration) -> Option<std::process::ExitStatus> {
        let status = tokio::time::timeout(timeout, self.process.exit()).await.ok();
        self.has_ended = status.is_some();
        status
    }

    /// How many processes it has.
    pub(crate) fn processes(&self) -> usize {
        1 + self.children().len()
    }

    fn children(&self) -> Vec<String> {
        let pid = self.process.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        children.split_whitespace().map(str::to_owned).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The workers of a master that is killed would go on without it.
        if self.which != Contender::Tidelock && !self.has_ended {
            self.process.signal(Signal::TERM);
            let mut turns = 0..500;
            while !self.children().is_empty() && turns.next().is_some() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// The tidelock that was built beside this program, for release or for tests.
pub(crate) fn tidelock(profile: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let found = here.ancestors().map(|directory| directory.join(profile).join("tidelock"));
    let found = found.into_iter().find(|program| program.is_file());
    found.with_context(|| format!("tidelock is not built for {profile}: `cargo build -p tidelock`"))
}

/// A line about each program that is compared.
pub(crate) fn versions(tidelock: &Path) -> Result<Vec<String>> {
    let line = |program: &str, arguments: &[&str]| {
        printed(program, arguments).lines().next().unwrap_or_default().trim().to_owned()
    };
    let commit = printed("git", &["describe", "--always", "--dirty"]);
    let profile = tidelock.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let lines = vec![
        format!(
            "{}, commit {commit}, built for {profile}",
            line(&tidelock.to_string_lossy(), &["--version"])
        ),
        line("nginx", &["-v"]).replace("nginx version: ", "Debian's "),
        format!("Debian's {}", line("haproxy", &["-v"])),
        format!("Node.js {} for the nodes", line("node", &["--version"])),
    ];
    ensure!(lines.iter().all(|line| !line.is_empty()), "a program is missing");
    Ok(lines)
}

const FILE: &str = "proxy.conf";
const START_MAX: Duration = Duration::from_secs(20);

/// As in its documentation, with what the app says of itself: where its health is, and how long an answer may take.
const TIDELOCK_FILE: &str = r#"[[listen]]
address = "ADDRESS"

[[route]]
upstream = "nodes"

[upstream.nodes]
nodes = ["FIRST", "SECOND"]
try_timeout = "1s"

[upstream.nodes.health]
probe = "http"
path = "/health"
interval = "250ms"
timeout = "500ms"

[drain]
window = "2s"
deadline = "4s"

[log]
access = "off"
"#;

const NGINX_FILE: &str = "\
daemon off;
worker_processes 2;
pid nginx.pid;
events { worker_connections 4096; }
http {
    access_log off;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    upstream nodes {
        server FIRST;
        server SECOND;
        keepalive 32;
    }
    server {
        listen ADDRESS;
        location / {
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }
    }
}
";

const HAPROXY_FILE: &str = "\
defaults
    mode http
    timeout connect 5s
    timeout client 1m
    timeout server 1m
    timeout tunnel 1h
    option redispatch
frontend clients
    bind ADDRESS
    default_backend nodes
backend nodes
    balance roundrobin
    server first FIRST check inter 500ms fall 2 rise 2
    server second SECOND check inter 500ms fall 2 rise 2
";
