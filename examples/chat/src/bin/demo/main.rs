//! `cargo demo`: a whole deployment on this machine. Three chat nodes in one fleet, two in Rust and one in Node.js, one
//! tidelock in front of them, and nothing left running afterwards.

mod binaries;
mod child;
mod js;

use std::fmt::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use broker::Broker;
use clap::Parser;
use tempfile::NamedTempFile;
use tokio::process::Command;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::binaries::Binaries;
use crate::child::{Child, end_all};

/// Three chat nodes in one fleet and one tidelock in front of them, on this machine.
///
/// The third node is in Node.js if that is here. The nodes share their rooms through the Redis at REDIS_URL; if that is
/// not set, through a broker inside this program.
#[derive(Debug, Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo")]
struct Demo {
    /// The port of tidelock, where the chat is.
    #[arg(long, default_value_t = PORT)]
    port: u16,

    /// How many nodes stand behind it; they listen on 3001 and the ports that follow. All but the third are in Rust.
    #[arg(long, default_value_t = NODES, value_parser = clap::value_parser!(u16).range(1..=16))]
    nodes: u16,
}

/// What `configs/demo.toml` says.
const PORT: u16 = 8080;
const NODES: u16 = 3;
const NODE_PORT_BEFORE_FIRST: u16 = 3000;
const NODE_JS: u16 = 3;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match Demo::parse().run().await {
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
        self.check_ports()?;
        let root = root();
        let binaries = tokio::select! {
            binaries = binaries::build(&root) => binaries?,
            () = interrupts.next() => return Ok(()),
        };
        let config = self.config()?;
        let between = Between::choose().await?;

        let mut children = Vec::new();
        let lived = tokio::select! {
            lived = self.live(&binaries, config.path(), between.url(), &mut children) => lived,
            () = interrupts.next() => Ok(()),
        };
        println!("demo: ending");
        tokio::select! {
            () = end_all(&mut children) => {}
            // Whoever presses Ctrl-C twice does not want to wait; dropping the children kills them.
            () = interrupts.next() => {}
        }
        lived
    }

    /// Starts everything and watches over it. Comes back only when something has gone wrong.
    async fn live(
        &self,
        binaries: &Binaries,
        config: &Path,
        redis_url: &str,
        children: &mut Vec<Child>,
    ) -> Result<()> {
        let mut child_ended = signal(SignalKind::child())?;
        let has_js = self.nodes >= NODE_JS && can_run_js().await;
        for number in 1..=self.nodes {
            let (name, mut node) = if has_js && number == NODE_JS {
                let mut node = child::leashed("node").await;
                node.arg("index.js").current_dir(node_chat());
                (format!("js-{number}"), node)
            } else {
                (format!("rust-{number}"), Command::new(&binaries.node))
            };
            node.env("NODE_NAME", &name).env("HOST", "127.0.0.1").env("PORT", node_port(number).to_string());
            node.env("REDIS_URL", redis_url);
            children.push(Child::start(&name, node)?);
        }
        for node in children.iter_mut() {
            node.ready().await?;
        }
        let mut tidelock = child::leashed(&binaries.tidelock).await;
        tidelock.arg(config).current_dir(root());
        children.push(Child::start(TIDELOCK, tidelock)?);
        if let Some(tidelock) = children.last_mut() {
            tidelock.ready().await?;
        }
        println!("{}", self.welcome(children));

        loop {
            child_ended.recv().await;
            for ended in child::take_ended(children)? {
                println!("demo: {ended}");
                if ended.name == TIDELOCK {
                    bail!("without tidelock there is nothing to see");
                }
                if children.len() == 1 {
                    bail!("the last node is gone");
                }
                println!("demo: its clients come back on the other nodes");
            }
        }
    }

    /// A taken port is the usual trouble, and a child could only say so in its own words.
    fn check_ports(&self) -> Result<()> {
        for port in (1..=self.nodes).map(node_port).chain([self.port]) {
            if let Err(error) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                let way_out =
                    if port == self.port { ", or choose another with `cargo demo --port`" } else { "" };
                bail!(
                    "port {port} cannot be used ({error}); `ss -ltnp 'sport = :{port}'` shows who has it: end that{way_out}"
                );
            }
        }
        Ok(())
    }

    fn config(&self) -> Result<Config> {
        if (self.port, self.nodes) == (PORT, NODES) {
            return Ok(Config::Shipped(root().join("configs/demo.toml")));
        }
        let nodes: Vec<_> =
            (1..=self.nodes).map(|number| format!("\"127.0.0.1:{}\"", node_port(number))).collect();
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:{}\"\n\n[[route]]\nupstream = \"chat\"\n\n[upstream.chat]\nnodes = [{}]\n",
            self.port,
            nodes.join(", ")
        );
        let file = tempfile::Builder::new().prefix("tidelock-demo-").suffix(".toml").tempfile();
        let file = file.context("the temporary directory cannot be written to")?;
        std::fs::write(file.path(), text).context("the configuration cannot be written")?;
        Ok(Config::Written(file))
    }

    fn welcome(&self, children: &[Child]) -> String {
        let url = format!("http://127.0.0.1:{}", self.port);
        let mut text = format!(
            "\n  The chat is at {url}\n\n  Try this:\n\
             \x20   - Open {url}/?room=lobby&name=Ada in one tab and …&name=Grace in another. Each shows the node it is on,\n\
             \x20     and how it went from polling to WebSocket. The app knows nothing of tidelock.\n\
             \x20   - Say something. Each message shows the way it took, from node to node, and the list shows who is in\n\
             \x20     the room, on whichever node.\n\
             \x20   - Take a node away while you watch, and see its clients come back on another:\n"
        );
        for node in children.iter().filter(|child| child.name() != TIDELOCK) {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "          kill {}    # {}", node.pid(), node.name());
        }
        text.push_str("\n  Ctrl-C ends everything.\n");
        text
    }
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
        let broker = Broker::loopback(0).await.context("the broker cannot listen")?;
        println!(
            "demo: the nodes share their rooms through a broker in this program, at {}: one host, in memory. \
             With REDIS_URL set it is Redis",
            broker.url()
        );
        Ok(Self::Broker(broker))
    }

    fn url(&self) -> &str {
        match self {
            Self::Redis(url) => url,
            Self::Broker(broker) => broker.url(),
        }
    }
}

enum Config {
    Shipped(PathBuf),
    /// Removed when the demo ends.
    Written(NamedTempFile),
}

impl Config {
    fn path(&self) -> &Path {
        match self {
            Self::Shipped(path) => path,
            Self::Written(file) => file.path(),
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

fn node_port(number: u16) -> u16 {
    NODE_PORT_BEFORE_FIRST + number
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

fn node_chat() -> PathBuf {
    root().join("examples/node-chat")
}

/// The root of the repository.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

const TIDELOCK: &str = "tidelock";
