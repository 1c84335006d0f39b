//! `cargo demo`: a whole deployment on this machine. One tidelock, which runs three chat nodes, two in Rust and one in Node.js,
//! and a page that shows them all; nothing is left running afterwards.
//!
//! What is shown is the product: tidelock itself starts, drains, rolls and replaces the nodes, and the page presses the verbs
//! that a person would type. This program writes the file, serves the page and keeps what was said.

mod child;
mod file;
mod fleet;
mod history;
mod js;
mod node;
mod page;
mod verbs;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail, ensure};
use broker::Broker;
use clap::{Parser, Subcommand};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::child::Child;
use crate::fleet::Fleet;
use crate::history::History;
use crate::page::Page;

/// One tidelock and three chat nodes on this machine, and a page that shows what becomes of their clients.
///
/// The third node is in Node.js if that is here. The nodes share their rooms through the Redis at REDIS_URL; if that is
/// not set, through a broker inside this program.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo")]
struct Demo {
    /// The port of tidelock, where the page is; 0 for one that is free.
    #[arg(long, default_value_t = 8080)]
    port: u16,

    /// How many nodes stand behind it. All but the third are in Rust.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: u16,

    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// What tidelock runs: becomes the node of its instance.
    #[command(hide = true)]
    Node,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let demo = Demo::parse();
    let ended = match demo.part {
        Some(Part::Node) => node::become_one(),
        None => demo.run().await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Demo {
    async fn run(&self) -> Result<()> {
        let mut interrupts = Interrupts::new()?;
        self.check_port()?;
        let folder = tempfile::Builder::new().prefix("tidelock-demo-").tempdir();
        let folder = folder.context("the temporary directory cannot be written to")?;

        let mut tidelock = None;
        let lived = tokio::select! {
            lived = self.live(&folder, &mut tidelock) => lived,
            () = interrupts.next() => Ok(()),
        };
        if let Some(tidelock) = tidelock {
            println!("demo: ending");
            tokio::select! {
                () = tidelock.end() => {}
                // Whoever presses Ctrl-C twice does not want to wait; dropping it kills it.
                () = interrupts.next() => {}
            }
        }
        lived
    }

    /// Starts everything and watches over it. Comes back only when something has gone wrong.
    async fn live(&self, folder: &TempDir, tidelock: &mut Option<Child>) -> Result<()> {
        let has_js = self.nodes > node::JS_SLOT && can_run_js().await;
        let between = Between::choose().await?;
        let history = History::listen(between.url()).await?;
        let admin = folder.path().join("admin.sock");
        let fleet = Fleet::new(beside(TIDELOCK)?, admin.clone(), has_js);
        let page_socket = folder.path().join("page.sock");
        let page = Page::serve(&page_socket, fleet, history)?;

        let file = folder.path().join("upstreams.toml");
        let demo = std::env::current_exe().context("this program does not know where it is")?;
        let plan =
            file::Plan { port: self.port, nodes: self.nodes, demo: &demo, page: &page_socket, admin: &admin };
        std::fs::write(&file, plan.text()).context("the file cannot be written")?;
        let mut command = child::leashed(beside(TIDELOCK)?).await;
        command.arg(&file).env("REDIS_URL", between.url()).env("XDG_STATE_HOME", folder.path());
        command.env("NO_COLOR", "1");
        if has_js {
            command.env(node::JS_FOLDER, node_chat());
        }
        let tidelock = tidelock.insert(Child::start(command)?);
        let at = tidelock.listening().await?;
        page.is_at(at.port());
        tidelock.ready().await?;
        for path in ["/", "/health"] {
            ensure!(answers(at, path).await?, "{path} is not answered at {at}; what tidelock says is above");
        }
        println!("{}", welcome(at, &file));
        let status = tidelock.ended().await?;
        bail!("tidelock has ended ({status}), and without it there is nothing to see");
    }

    /// A taken port is the usual trouble, and tidelock could only say so in its own words.
    fn check_port(&self) -> Result<()> {
        if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)) {
            bail!(
                "port {0} cannot be used ({error}); `ss -ltnp 'sport = :{0}'` shows who has it: end that, or choose another with \
                 `cargo demo --port`",
                self.port
            );
        }
        Ok(())
    }
}

fn welcome(at: SocketAddr, file: &Path) -> String {
    format!(
        "\n  http://{at}\n\n  \
         shows three chat nodes behind one tidelock, and who is on which. Drain one, roll it, kill it, and see what becomes of its\n  \
         sessions. The chat alone is at http://{at}/chat, and what tidelock was told is in\n  {}\n\n  \
         Ctrl-C ends everything.\n",
        file.display()
    )
}

/// Whether a request is answered as it should be.
async fn answers(at: SocketAddr, path: &str) -> Result<bool> {
    let mut stream = TcpStream::connect(at).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 200 "))
}

/// What the nodes share their rooms through.
enum Between {
    Redis(String),
    /// Ends with this.
    Broker(Broker),
}

impl Between {
    async fn choose() -> Result<Self> {
        if let Some(url) = std::env::var("REDIS_URL").ok().filter(|url| !url.is_empty()) {
            println!("demo: the nodes share their rooms through the Redis at REDIS_URL");
            return Ok(Self::Redis(url));
        }
        Ok(Self::Broker(Broker::loopback(0).await.context("the broker cannot listen")?))
    }

    fn url(&self) -> &str {
        match self {
            Self::Redis(url) => url,
            Self::Broker(broker) => broker.url(),
        }
    }
}

/// Ctrl-C, and the signal by which everybody else ends a program.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

async fn can_run_js() -> bool {
    match js::prepare(&node_chat()).await {
        Ok(()) => true,
        Err(error) => {
            println!("demo: all nodes are in Rust: {error:#}");
            false
        }
    }
}

/// Another program of the workspace: all lie in one folder.
fn beside(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("this program does not know where it is")?;
    let program = here.with_file_name(name);
    ensure!(program.is_file(), "{} is not there: `cargo demo` builds it", program.display());
    Ok(program)
}

fn node_chat() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.with_file_name("node-chat")
}

const TIDELOCK: &str = "tidelock";
