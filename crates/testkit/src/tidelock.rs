//! The tidelock binary under test, on ports that the kernel picks.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::time::{interval, timeout};

use crate::TIMEOUT;
use crate::certificates::CertificateFiles;
use crate::node::Node;
use crate::process::{Mark, Process, tells};

/// A running tidelock. Dropping it kills it and removes its directory.
#[derive(Debug)]
pub struct Tidelock {
    process: Process,
    addresses: Vec<SocketAddr>,
    file: PathBuf,
    directory: TempDir,
}

impl Tidelock {
    /// Writes `config` into a directory of its own and starts `binary` (`env!("CARGO_BIN_EXE_tidelock")`) with it.
    /// Give every `[[listen]]` an address of `127.0.0.1:0`.
    pub async fn start(binary: impl AsRef<Path>, config: &str) -> Self {
        Self::start_in(directory(), binary, config).await
    }

    /// Starts it in `directory`, where certificates may lie already: paths in `config` are relative to it.
    pub async fn start_in(directory: TempDir, binary: impl AsRef<Path>, config: &str) -> Self {
        let file = directory.path().join("tidelock.toml");
        write(&file, config);
        let arguments = [file.as_os_str()];
        Self::run(directory, binary.as_ref(), &arguments.map(OsStr::to_owned), listens(config)).await
    }

    /// Starts an app without a file: `tidelock start` with `arguments`, one of which is an address to listen on. Paths
    /// in them are relative to its directory, which is empty.
    pub async fn start_app(binary: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let arguments: Vec<_> = ["start"].iter().chain(arguments).map(OsString::from).collect();
        Self::run(directory(), binary.as_ref(), &arguments, 1).await
    }

    async fn run(directory: TempDir, binary: &Path, arguments: &[OsString], listens: usize) -> Self {
        let mut command = Command::new(binary);
        command.args(arguments).current_dir(directory.path());
        // Two tidelocks of one user would share the socket that the verbs use.
        command.env("XDG_RUNTIME_DIR", directory.path()).env("NO_COLOR", "1");
        // Nor may a test find the secret of another one.
        command.env_remove("STATE_DIRECTORY").env("XDG_STATE_HOME", directory.path());
        let process = Process::spawn("tidelock", command);
        let addresses = listening(&process, Mark::default(), listens).await;
        let file = directory.path().join("tidelock.toml");
        Self { process, addresses, file, directory }
    }

    /// Where the first `[[listen]]` is bound.
    ///
    /// # Panics
    /// If the config has none.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        *self.addresses.first().expect("the config has a [[listen]]")
    }

    /// Where each `[[listen]]` is bound, in the order of the file.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// `http://` and the first address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Its config file.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The directory that it runs in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Replaces the config file in one step, as an editor does. Nothing reloads by that alone.
    pub fn rewrite(&self, config: &str) {
        let next = self.file.with_extension("next");
        write(&next, config);
        std::fs::rename(&next, &self.file).expect("a file can be renamed inside its directory");
    }

    /// Waits until so many of its connections are parked, and returns what its workers have counted then. Asks the socket
    /// of the verbs, where it is if the config does not say.
    ///
    /// # Panics
    /// After [`TIMEOUT`], with the last status.
    pub async fn until_parked(&self, count: u64) -> Vec<Value> {
        let socket = self.directory().join("tidelock/admin.sock");
        let mut seen = Value::Null;
        let looking = async {
            let mut turn = interval(LOOK_EVERY);
            loop {
                turn.tick().await;
                seen = status(&socket).await;
                let workers = seen["workers"].as_array().expect("there are workers");
                if workers.iter().filter_map(|worker| worker["parked"].as_u64()).sum::<u64>() == count {
                    return workers.clone();
                }
            }
        };
        let found = timeout(TIMEOUT, looking).await;
        found.unwrap_or_else(|_| panic!("there are not {count} parked connections: {seen:#}"))
    }

    /// What `tidelock status --json` says now. Asks the socket of the verbs, as [`Self::until_parked`] does.
    pub async fn status(&self) -> Value {
        status(&self.directory().join("tidelock/admin.sock")).await
    }

    /// What its access log says of requests that went wrong, for the message of a panic.
    #[must_use]
    pub fn faults(&self) -> String {
        let mut lines = self.process.lines_since(Mark::default());
        lines.retain(|line| line.contains("\"fault\":"));
        lines.join("\n")
    }

    /// Its process, to signal it or to wait for a line of its log.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }
}

/// A config with one plain `[[listen]]` and one `[[route]]` to an upstream of `nodes`. More sections may follow it.
#[must_use]
pub fn config_for(nodes: &[SocketAddr]) -> String {
    FilePlan::to_addresses(nodes.iter().copied()).text()
}

/// The text of an `upstreams.toml` with one listen, one route for everything and one upstream.
#[derive(Clone, Debug)]
pub struct FilePlan {
    top: String,
    listen: String,
    upstream: String,
}

impl FilePlan {
    /// Plain HTTP on a port that the kernel picks, and these nodes.
    #[must_use]
    pub fn to<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Self {
        Self::to_addresses(nodes.into_iter().map(Node::address))
    }

    /// The same for nodes that are only addresses.
    #[must_use]
    pub fn to_addresses(nodes: impl IntoIterator<Item = SocketAddr>) -> Self {
        let nodes: Vec<_> = nodes.into_iter().map(|node| node.to_string()).collect();
        Self {
            top: String::new(),
            listen: "address = \"127.0.0.1:0\"\n".to_owned(),
            upstream: format!("nodes = {nodes:?}\n"),
        }
    }

    /// Adds a line above all tables, such as `sticky_secret = "…"`.
    #[must_use]
    pub fn top(mut self, line: &str) -> Self {
        self.top = format!("{}{line}\n", self.top);
        self
    }

    /// Adds a line to the upstream, such as `sticky = "engineio-learned"`.
    #[must_use]
    pub fn upstream(mut self, line: &str) -> Self {
        self.upstream = format!("{}{line}\n", self.upstream);
        self
    }

    /// Listens where another tidelock did.
    #[must_use]
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.listen = self.listen.replace("127.0.0.1:0", &address.to_string());
        self
    }

    /// Speaks TLS with this certificate.
    #[must_use]
    pub fn tls(mut self, files: &CertificateFiles) -> Self {
        let CertificateFiles { certificate, key } = files;
        self.listen = format!("{}tls = {{ certificate = {certificate:?}, key = {key:?} }}\n", self.listen);
        self
    }

    /// The file.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { top, listen, upstream } = self;
        format!("{top}[[listen]]\n{listen}[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\n{upstream}")
    }
}

/// A fresh directory for one test.
///
/// # Panics
/// If the system's temporary directory cannot be written to.
#[must_use]
pub fn directory() -> TempDir {
    tempfile::Builder::new().prefix("tidelock-test-").tempdir().expect("the temporary directory is writable")
}

/// The addresses in the next `count` log lines after `mark` that tell of the event `listening`.
pub async fn listening(process: &Process, mark: Mark, count: usize) -> Vec<SocketAddr> {
    let says = |line: &str| tells(line, "listening") && line.contains(ADDRESS);
    let lines = process.wait_for_lines_since(mark, count, says).await;
    lines.iter().map(|line| address(line).unwrap_or_else(|| panic!("no address in {line:?}"))).collect()
}

async fn status(socket: &Path) -> Value {
    let mut stream = UnixStream::connect(socket).await.expect("verbs are taken");
    stream.write_all(b"GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n").await.expect("a question is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer is text");
    let body = answer.split_once("\r\n\r\n").expect("an answer has a head").1;
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn address(line: &str) -> Option<SocketAddr> {
    line.split_whitespace().find_map(|word| word.strip_prefix(ADDRESS)?.trim_matches('"').parse().ok())
}

fn listens(config: &str) -> usize {
    config.lines().filter(|line| line.trim_start().starts_with("[[listen]]")).count()
}

fn write(file: &Path, config: &str) {
    std::fs::write(file, config).unwrap_or_else(|error| panic!("cannot write {file:?}: {error}"));
}

/// A status that changes tells nobody.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const ADDRESS: &str = "address=";
