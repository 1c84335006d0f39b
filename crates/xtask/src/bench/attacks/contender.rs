//! Who is attacked: the file of each, as its users would write it, with one worker and room for 3,000 connections.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::TempDir;
use testkit::certificates::{Authority, CertificateFiles};
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

/// Which core is whose. All that is not the proxy stays away from its core.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    pub(crate) proxy: usize,
}

impl Cores {
    pub(crate) fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut free = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let proxy = free.next().context("no core")?;
        let mut own = CpuSet::new();
        own.set(free.next().unwrap_or(proxy));
        sched_setaffinity(None, &own)?;
        Ok(Self { proxy })
    }
}

/// A running proxy. Dropping it ends it and all its processes.
pub(crate) struct Running {
    which: Contender,
    process: Process,
    addresses: [SocketAddr; 2],
    _directory: TempDir,
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

    /// Starts it on `core` in front of `node`, and waits until it takes connections.
    pub(crate) async fn start(self, tidelock: &Path, node: SocketAddr, core: usize) -> Result<Running> {
        let directory = testkit::tidelock::directory();
        let path = directory.path();
        // nginx and HAProxy cannot say which port the kernel gave them, so that it is chosen before and let go again.
        let free = || TcpListener::bind(("127.0.0.1", 0))?.local_addr();
        let addresses = [free()?, free()?];
        let files = Authority::new("attacks").issue(&["bench.example"]).write(path, "bench");
        fs::write(path.join(FILE), self.file(addresses, node, &files, path)?)?;
        let mut command = Command::new("taskset");
        command.arg("--cpu-list").arg(core.to_string()).current_dir(path);
        command.env("XDG_RUNTIME_DIR", path).env("XDG_STATE_HOME", path).env("NO_COLOR", "1");
        match self {
            Self::Tidelock => command.arg(tidelock).arg(FILE),
            Self::Nginx => command.args(["nginx", "-c", FILE, "-e", "error.log", "-p"]).arg(path),
            Self::Haproxy => command.args(["haproxy", "-db", "-f", FILE]),
        };
        let process = Process::spawn(self.name(), command);
        let running = Running { which: self, process, addresses, _directory: directory };
        let connecting = async {
            while TcpStream::connect(running.address()).await.is_err() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let connected = timeout(START_MAX, connecting).await;
        connected.with_context(|| running.process.output())?;
        Ok(running)
    }

    fn file(
        self,
        [plain, tls]: [SocketAddr; 2],
        node: SocketAddr,
        files: &CertificateFiles,
        directory: &Path,
    ) -> Result<String> {
        let CertificateFiles { certificate, key } = files;
        let both = directory.join("both.pem");
        fs::write(&both, fs::read_to_string(certificate)? + &fs::read_to_string(key)?)?;
        let text = match self {
            Self::Tidelock => TIDELOCK_FILE,
            Self::Nginx => NGINX_FILE,
            Self::Haproxy => HAPROXY_FILE,
        };
        Ok(text
            .replace("PLAIN", &plain.to_string())
            .replace("SECURE", &tls.to_string())
            .replace("NODE", &node.to_string())
            .replace("CERTIFICATE", &certificate.display().to_string())
            .replace("PRIVATE", &key.display().to_string())
            .replace("BOTH", &both.display().to_string()))
    }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.addresses[1]
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn children(&self) -> String {
        let pid = self.process.pid();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx's worker would outlive a master that is killed; the others are one process each.
        if self.which == Contender::Nginx {
            self.process.signal(Signal::TERM);
            let mut turns = 0..500;
            while !self.children().trim().is_empty() && turns.next().is_some() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// A line about each program that is compared.
pub(crate) fn versions(tidelock: &Path) -> Vec<String> {
    let line = |program: &str, arguments: &[&str]| {
        printed(program, arguments).lines().next().unwrap_or_default().trim().to_owned()
    };
    let commit = printed("git", &["describe", "--always", "--dirty"]);
    vec![
        format!("{}, commit {commit}", line(&tidelock.to_string_lossy(), &["--version"])),
        line("nginx", &["-v"]).replace("nginx version: ", "Debian's "),
        format!("Debian's {}", line("haproxy", &["-v"])),
        line("slowhttptest", &["-v"]),
    ]
}

/// For the page: what each was told.
pub(crate) const SETTINGS: [(&str, &str); 3] =
    [("upstreams.toml", TIDELOCK_FILE), ("nginx.conf", NGINX_FILE), ("haproxy.cfg", HAPROXY_FILE)];

const FILE: &str = "proxy.conf";
const START_MAX: Duration = Duration::from_secs(20);

const TIDELOCK_FILE: &str = r#"workers = 1

[[listen]]
address = "PLAIN"

[[listen]]
address = "SECURE"
tls = { certificate = "CERTIFICATE", key = "PRIVATE" }

[[route]]
upstream = "nodes"

[upstream.nodes]
nodes = ["NODE"]

[limits]
connections_max = 3000

[log]
access = "off"
"#;

const NGINX_FILE: &str = "\
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
events { worker_connections 3000; }
http {
    access_log off;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    upstream nodes {
        server NODE;
        keepalive 64;
    }
    server {
        listen PLAIN;
        listen SECURE ssl;
        ssl_certificate CERTIFICATE;
        ssl_certificate_key PRIVATE;
        location / {
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            client_max_body_size 0;
            proxy_request_buffering off;
        }
    }
}
";

const HAPROXY_FILE: &str = "\
global
    nbthread 1
    maxconn 3000
defaults
    mode http
    option forwardfor
    http-reuse safe
    timeout connect 5s
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout client 1m
    timeout server 1m
    timeout tunnel 1h
frontend clients
    bind PLAIN
    bind SECURE ssl crt BOTH
    default_backend nodes
backend nodes
    server node NODE
";
