//! Who is compared: how each is started, and how its users tell it to let go of connections. Counts nothing.

use std::fs;
use std::io::{self, Seek as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use tempfile::TempDir;
use testkit::node::{Node, NodePlan, three};
use testkit::process::Signal;
use testkit::relay::Relay;
use testkit::tidelock::{FilePlan, Tidelock, directory};
use testkit::until_file;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::run::{printed, root};

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    TidelockReload,
    TidelockDrain,
    TidelockTakeover,
    NginxReload,
    Pm2Reload,
    Pm2ReloadClosing,
    TidelockRoll,
}

/// Where the programs are that no package manager puts on the path.
pub(crate) struct Programs {
    pub(crate) tidelock: PathBuf,
    pub(crate) pm2: PathBuf,
}

/// A contender with its nodes. Dropping it ends all of them.
pub(crate) enum Running {
    Tidelock(Box<Told>),
    TidelockApp(Box<Supervising>),
    Nginx(Box<Nginx>),
    Pm2(Pm2),
}

/// A running tidelock, and what it is going to be told.
pub(crate) struct Told {
    proxy: Tidelock,
    action: Action,
    nodes: [Node; 3],
    binary: PathBuf,
}

/// A tidelock that runs an app of its own.
pub(crate) struct Supervising {
    tidelock: Tidelock,
    binary: PathBuf,
}

enum Action {
    Reload,
    Drain,
    Takeover(Relay),
}

/// A running nginx. Dropping it stops it and its workers.
pub(crate) struct Nginx {
    address: SocketAddr,
    directory: TempDir,
    _nodes: [Node; 3],
}

/// A running PM2 with an app of its own. Dropping it stops both.
pub(crate) struct Pm2 {
    address: SocketAddr,
    program: PathBuf,
    home: TempDir,
}

impl Contender {
    /// Who lets go of connections.
    pub(crate) const DRAINING: [Self; 6] = [
        Self::TidelockReload,
        Self::TidelockDrain,
        Self::TidelockTakeover,
        Self::NginxReload,
        Self::Pm2Reload,
        Self::Pm2ReloadClosing,
    ];
    /// Who replaces the processes of an app.
    pub(crate) const ROLLING: [Self; 3] = [Self::TidelockRoll, Self::Pm2Reload, Self::Pm2ReloadClosing];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TidelockReload => "tidelock reload",
            Self::TidelockDrain => "tidelock drain",
            Self::TidelockTakeover => "tidelock SIGTERM",
            Self::NginxReload => "nginx reload",
            Self::Pm2Reload => "pm2 reload",
            Self::Pm2ReloadClosing => "pm2 reload, closing app",
            Self::TidelockRoll => "tidelock reload APP",
        }
    }

    /// What it is told to do.
    pub(crate) fn action(self) -> &'static str {
        match self {
            Self::TidelockReload => "`tidelock reload` of a file with one route more",
            Self::TidelockDrain => "`tidelock drain NODE`, one of three nodes, within 10 s",
            Self::TidelockTakeover => "SIGTERM, a second tidelock takes over, within 10 s",
            Self::NginxReload => "`nginx -s reload`, `worker_shutdown_timeout 10s`",
            Self::Pm2Reload => "`pm2 reload` of 4 workers that know nothing of it",
            Self::Pm2ReloadClosing => "`pm2 reload` of 4 workers that close all on SIGINT",
            Self::TidelockRoll => "`tidelock reload APP` of 4 processes that know nothing of it, within 30 s",
        }
    }

    /// Whether a session that polls comes back to its node with every request.
    pub(crate) fn keeps_polling(self) -> bool {
        !matches!(self, Self::Pm2Reload | Self::Pm2ReloadClosing)
    }

    /// Starts it in front of nodes that have started.
    pub(crate) async fn start(self, programs: &Programs) -> Result<Running> {
        match self {
            Self::TidelockReload | Self::TidelockDrain | Self::TidelockTakeover => {
                let nodes = three(NodePlan::js).await;
                let binary = programs.tidelock.clone();
                let proxy = Tidelock::start(&binary, &tidelock_file(&nodes)).await;
                let action = match self {
                    Self::TidelockTakeover => Action::Takeover(Relay::to(proxy.address()).await),
                    Self::TidelockDrain => Action::Drain,
                    _ => Action::Reload,
                };
                Ok(Running::Tidelock(Box::new(Told { proxy, action, nodes, binary })))
            }
            Self::TidelockRoll => Supervising::start(&programs.tidelock)
                .await
                .map(|supervising| Running::TidelockApp(Box::new(supervising))),
            Self::NginxReload => Ok(Running::Nginx(Box::new(Nginx::start().await?))),
            Self::Pm2Reload => Pm2::start(&programs.pm2, false).await.map(Running::Pm2),
            Self::Pm2ReloadClosing => Pm2::start(&programs.pm2, true).await.map(Running::Pm2),
        }
    }
}

impl Running {
    /// Where its clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Tidelock(told) => match &told.action {
                Action::Takeover(relay) => relay.address(),
                Action::Reload | Action::Drain => told.proxy.address(),
            },
            Self::TidelockApp(app) => app.tidelock.address(),
            Self::Nginx(nginx) => nginx.address,
            Self::Pm2(pm2) => pm2.address,
        }
    }

    /// Does what the contender is measured by, and returns when the program says that it is done. What takes over
    /// lives on in `self`.
    pub(crate) async fn act(&mut self) -> Result<()> {
        match self {
            Self::Tidelock(told) => told.act().await,
            Self::TidelockApp(app) => {
                verb(&app.binary, &app.tidelock, &["reload", "node", "--window", "30s"]).await
            }
            Self::Nginx(nginx) => succeed(nginx.command(&["-s", "reload"])).await,
            Self::Pm2(pm2) => succeed(pm2.command(&["reload", "app"])).await,
        }
    }
}

impl Told {
    async fn act(&mut self) -> Result<()> {
        let Self { proxy, action, nodes, binary } = self;
        match action {
            Action::Reload => {
                let more = "[[route]]\npath = \"/more\"\nupstream = \"nodes\"\n";
                proxy.rewrite(&format!("{}{more}", tidelock_file(nodes)));
                verb(binary, proxy, &["reload"]).await
            }
            Action::Drain => verb(binary, proxy, &["drain", &nodes[1].address().to_string()]).await,
            Action::Takeover(relay) => {
                let second = Tidelock::start(binary, &tidelock_file(nodes)).await;
                relay.switch(second.address());
                let mut first = std::mem::replace(proxy, second);
                first.process().signal(Signal::TERM);
                let status = first.process().exit().await;
                ensure!(status.success(), "the first tidelock ended with {status}");
                Ok(())
            }
        }
    }
}

impl Supervising {
    /// Four processes of the node that PM2 gets, too; returns when they are ready.
    async fn start(binary: &Path) -> Result<Self> {
        let app = root().join("crates/testkit/js/node.mjs").display().to_string();
        let arguments = [&app, "-i", "4", "--listen", "127.0.0.1:0", "--env", "NODE_NAME=tidelock"];
        let mut tidelock = Tidelock::start_app(binary, &arguments).await;
        for slot in 0..4 {
            let is_ready = format!("node/{slot}: ready");
            tidelock.process().wait_for_line(|line| line.contains(&is_ready)).await;
        }
        Ok(Self { tidelock, binary: binary.to_owned() })
    }
}

impl Programs {
    /// A line about each program that is compared, and about what they ran on.
    pub(crate) fn versions(&self) -> Vec<String> {
        let first = |said: String| said.lines().last().unwrap_or_default().to_owned();
        let commit = printed("git", &["rev-parse", "--short", "HEAD"]);
        vec![
            format!("{}, commit {commit}", first(printed(&self.tidelock.to_string_lossy(), &["--version"]))),
            first(printed("nginx", &["-v"])).replace("nginx version: ", "Debian's "),
            // `pm2 --version` would start a daemon in the home directory to ask it.
            format!("{PM2} from npm"),
            format!(
                "Node.js {}, socket.io and socket.io-client 4.8.4",
                first(printed("node", &["--version"]))
            ),
        ]
    }
}

impl Nginx {
    async fn start() -> Result<Self> {
        let nodes = three(NodePlan::js).await;
        // nginx cannot say which port the kernel gave it, so that the port is chosen before and let go again.
        let address = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;
        let servers: String = nodes.iter().map(|node| format!("server {};\n", node.address())).collect();
        let nginx = Self { address, directory: directory(), _nodes: nodes };
        let config = NGINX_CONF.replace("ADDRESS", &address.to_string()).replace("SERVERS", &servers);
        fs::write(nginx.directory.path().join("nginx.conf"), config)?;
        // It returns when the workers' sockets are open, and goes on behind our back.
        succeed(nginx.command(&[])).await?;
        Ok(nginx)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nginx");
        command.arg("-p").arg(self.directory.path()).args(["-c", "nginx.conf", "-e", "error.log"]);
        command.args(arguments);
        command
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let mut stop = self.command(&["-s", "stop"]).into_std();
        let _ = stop.stdin(Stdio::null()).stderr(Stdio::null()).status();
        // The directory goes with us; nginx removes its file there last, when its workers have ended.
        let pid = self.directory.path().join("nginx.pid");
        let mut turns = 0..100;
        while pid.exists() && turns.next().is_some() {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Pm2 {
    async fn start(program: &Path, closing: bool) -> Result<Self> {
        let home = directory();
        let log = home.path().join("app.log");
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        // From here on the daemon is ended whatever happens.
        let mut pm2 = Self { address: unknown, program: program.to_owned(), home };
        let app = root().join("crates/testkit/js/node.mjs");
        let mut start = pm2.command(&["start"]);
        start.arg(app).args(["--name", "app", "--instances", "4", "--merge-logs", "--output"]).arg(&log);
        start.args(["--error"]).arg(&log).env("PORT", "0").env("NODE_NAME", "pm2");
        if closing {
            start.args(["--kill-timeout", "10000"]).env("CLOSE_ON_SIGINT", "1");
        }
        succeed(start).await?;
        let listening = |text: &str| text.matches(LISTENING).count() >= 4;
        let text = until_file(&log, listening).await;
        // The workers share one port, as Node.js's cluster has it.
        let said = text.lines().find_map(|line| line.strip_prefix(LISTENING)).unwrap_or_default();
        pm2.address = said.parse()?;
        Ok(pm2)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env("PM2_HOME", self.home.path());
        command
    }
}

impl Drop for Pm2 {
    fn drop(&mut self) {
        let mut kill = self.command(&["kill"]).into_std();
        let _ = kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

fn tidelock_file(nodes: &[Node; 3]) -> String {
    let file = FilePlan::to(nodes).top("sticky_secret = \"a secret of 32 bytes, or of some more\"").text();
    format!("{file}[log]\naccess = \"off\"\n[drain]\nwindow = \"10s\"\n")
}

async fn verb(binary: &Path, proxy: &Tidelock, arguments: &[&str]) -> Result<()> {
    let mut command = Command::new(binary);
    command.args(arguments).env("XDG_RUNTIME_DIR", proxy.directory());
    succeed(command).await
}

/// Runs it to its end; what it printed is in the error.
async fn succeed(mut command: Command) -> Result<()> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    // What stays behind it, a daemon, would keep a pipe open for ever.
    let mut said = tempfile::tempfile()?;
    command.stdout(said.try_clone()?).stderr(said.try_clone()?);
    let status = command.status().await?;
    said.rewind()?;
    let text = io::read_to_string(said)?;
    ensure!(status.success(), "{command:?} ended with {status}: {text}");
    Ok(())
}

/// As `npm install` takes it.
pub(crate) const PM2: &str = "pm2@7.0.4";

const LISTENING: &str = "listening on ";

/// What Socket.IO's documentation says for nginx. There the hash is over the client's address; all clients on loopback
/// have one, and would be on one node, so that it is over what stands in for it. A plain request goes anywhere.
const NGINX_CONF: &str = "\
worker_processes 2;
worker_shutdown_timeout 10s;
pid nginx.pid;
error_log error.log;
events { worker_connections 4096; }
http {
    access_log off;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    map $arg_client $key { default $arg_client; '' $request_id; }
    upstream nodes {
        hash $key consistent;
        SERVERS
        keepalive 64;
    }
    server {
        listen ADDRESS;
        location / {
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
        }
    }
}
";
