//! One measurement: origin, proxy and load, each on its core, from their start to their end.

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use load::destination::Destination;
use load::meter::Report;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;
use tempfile::TempDir;
use testkit::certificates::{Authority, CertificateFiles};
use testkit::process::Process;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use super::contender::{Contender, Programs, Running, Site};
use super::rows::{self, BROWSER, CAPACITY_LOAD, Cell, PASSWORD, ROWS, Row, Serves};

/// Where everything happens.
pub(crate) struct Stage<'p> {
    programs: &'p Programs,
    cores: Cores,
    /// To warm up, and to measure.
    seconds: [f64; 2],
    connections_max: Option<usize>,
    files: CertificateFiles,
    ca: std::path::PathBuf,
    folder: std::path::PathBuf,
    _directory: TempDir,
}

/// Which core is whose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cores {
    proxy: usize,
    load: usize,
    origin: usize,
}

/// What one measurement found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) report: Report,
    /// From the start of the proxy to its first good answer, in milliseconds.
    pub(crate) start_ms: f64,
    /// The load's command line.
    pub(crate) command: String,
}

impl Cores {
    /// The first cores that this process may use. Where there are only two, origin and load share the second; where
    /// there is one, everything shares it, and the numbers mean little.
    fn choose() -> Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let mut free = (0..CpuSet::MAX_CPU).filter(|&core| allowed.is_set(core));
        let proxy = free.next().context("no core")?;
        let load = free.next().unwrap_or(proxy);
        let origin = free.next().unwrap_or(load);
        Ok(Self { proxy, load, origin })
    }
}

impl<'p> Stage<'p> {
    pub(crate) fn new(
        programs: &'p Programs,
        seconds: [f64; 2],
        connections_max: Option<usize>,
    ) -> Result<Self> {
        let cores = Cores::choose()?;
        // This process too keeps away from the proxy's core, with all that it starts unless it says otherwise.
        let mut own = CpuSet::new();
        own.set(cores.load);
        sched_setaffinity(None, &own)?;
        let directory = testkit::tidelock::directory();
        let authority = Authority::new("bench");
        let ca = authority.write(directory.path());
        let files = authority.issue(&[HOST]).write(directory.path(), "bench");
        let folder = directory.path().join("files");
        fs::create_dir_all(folder.join("bytes"))?;
        for (name, bytes) in [("1k.js", 1 << 10), ("1m.bin", 1 << 20), ("bytes/128", 128)] {
            fs::write(folder.join(name), vec![b'x'; bytes])?;
        }
        Ok(Self { programs, cores, seconds, connections_max, files, ca, folder, _directory: directory })
    }

    /// What nginx reaches with requests of 128 bytes, in requests a second.
    pub(crate) async fn capacity_of_nginx(&self) -> Result<f64> {
        let measured = self.measure(&ROWS[0], rows::plain(CAPACITY_LOAD), Contender::Nginx, None).await?;
        Ok(measured.report.per_second())
    }

    /// Starts an origin and the proxy afresh, runs the load of `cell`, and ends all of them.
    pub(crate) async fn measure(
        &self,
        row: &Row,
        cell: Cell,
        which: Contender,
        per_second: Option<f64>,
    ) -> Result<Measured> {
        let (origin, nodes) = self.origin(cell.nodes).await?;
        let tls = cell.tls.then_some(&self.files);
        let Cell { routes, long_bodies, serves, .. } = cell;
        let folder = &self.folder;
        let site = Site { nodes: &nodes, routes, serves, folder, long_bodies, tls, core: self.cores.proxy };
        let started = Instant::now();
        let running = which.start(self.programs, &site)?;
        let address = running.as_ref().map_or(nodes[0], Running::address);
        let tls = cell.tls && running.is_some();
        let lines = match serves {
            Serves::Authenticated => format!("{PASSWORD}\r\n"),
            _ => String::new(),
        };
        self.until_it_answers(address, tls, &lines, running.as_ref()).await?;
        let start_ms = started.elapsed().as_secs_f64() * 1e3;
        let arguments = self.arguments(cell, address, tls, per_second);
        let command = arguments.join(" ");
        let report = match cell.load {
            "" => Report::default(),
            _ => {
                let watched = running.as_ref().map_or(origin.pid(), Running::pid);
                let said = self.load(&arguments, watched).await;
                said.with_context(|| running.as_ref().map_or_else(String::new, Running::output))?
            }
        };
        // Some failures may come from the end of a connection that the proxy may end; more of them are a mistake.
        if report.failed * 1000 > report.done {
            let why = report.first_failure.as_deref().unwrap_or_default();
            bail!("{}: {} of {} failed: {why}", row.name, report.failed, report.done);
        }
        if cell.load.contains("--resume") && report.resumed * 2 < report.done {
            bail!("{}: {} of {} resumed a session", row.name, report.resumed, report.done);
        }
        if cell.serves == Serves::Compressed && report.received_each() > COMPRESSED_BYTES_MAX {
            bail!("{}: {:.0} bytes each are not compressed", row.name, report.received_each());
        }
        Ok(Measured { report, start_ms, command })
    }

    async fn origin(&self, nodes: u32) -> Result<(Process, Vec<SocketAddr>)> {
        let mut command = Command::new("taskset");
        command.arg("--cpu-list").arg(self.cores.origin.to_string()).arg(&self.programs.load);
        command.args(["origin", "--lifeline", "--listen", "127.0.1.1:0", "--addresses", &nodes.to_string()]);
        let process = Process::spawn("origin", command);
        let line = process.wait_for_line(|line| line.starts_with(LISTENING)).await;
        let first: SocketAddr = line.trim_start_matches(LISTENING).parse()?;
        let SocketAddr::V4(v4) = first else { bail!("{first} is not what was asked for") };
        let node = |index: u32| SocketAddr::from(((u32::from(*v4.ip()) + index).to_be_bytes(), v4.port()));
        Ok((process, (0..nodes).map(node).collect()))
    }

    async fn until_it_answers(
        &self,
        address: SocketAddr,
        tls: bool,
        header_lines: &str,
        running: Option<&Running>,
    ) -> Result<()> {
        let destination = match tls {
            false => Destination::plain(address, HOST),
            true => Destination::tls(address, HOST, &self.ca, false)?,
        };
        let asking = async {
            while load::http::ask_once(&destination, "/bytes/128", header_lines).await.is_err() {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let answered = timeout(START_MAX, asking).await;
        answered.with_context(|| running.map_or_else(String::new, Running::output))
    }

    async fn load(&self, arguments: &[String], watched: u32) -> Result<Report> {
        let mut command = Command::new("taskset");
        command.arg("--cpu-list").arg(self.cores.load.to_string()).arg(&self.programs.load);
        command.args(arguments).args(["--watch", &watched.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = timeout(LOAD_MAX, command.output()).await.context("the load does not end")??;
        let error = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(said.trim()).with_context(|| format!("{}: {error}", arguments.join(" ")))
    }

    fn arguments(&self, cell: Cell, address: SocketAddr, tls: bool, per_second: Option<f64>) -> Vec<String> {
        let mut words = cell.load.split(' ');
        let mut arguments: Vec<String> =
            vec![words.next().unwrap_or_default().to_owned(), address.to_string()];
        let mut was_count = false;
        for word in words {
            match (word, self.connections_max) {
                ("BROWSER", _) => {
                    arguments.extend(BROWSER.iter().flat_map(|line| ["--header", line]).map(str::to_owned));
                }
                ("PASSWORD", _) => arguments.extend(["--header", PASSWORD].map(str::to_owned)),
                ("GZIP", _) => arguments.extend(["--header", "Accept-Encoding: gzip"].map(str::to_owned)),
                (count, Some(max)) if was_count => {
                    let count: usize = count.parse().unwrap_or(max);
                    arguments.push(count.min(max).to_string());
                }
                (word, _) => arguments.push(word.to_owned()),
            }
            was_count = word == "-c" || word == "--sessions";
        }
        let [warm, seconds] = self.seconds.map(|seconds| seconds.to_string());
        arguments.extend(["--warm".to_owned(), warm, "--seconds".to_owned(), seconds]);
        if tls {
            arguments.extend(["--tls".to_owned(), self.ca.display().to_string()]);
        }
        if let Some(per_second) = per_second {
            arguments.extend(["--rate".to_owned(), format!("{per_second:.0}")]);
        }
        arguments
    }
}

/// The name that certificates, routes and requests share.
const HOST: &str = "bench.example";
/// Of the 64 KiB that are asked for.
const COMPRESSED_BYTES_MAX: f64 = 32768.0;
const LISTENING: &str = "listening on ";
const START_MAX: Duration = Duration::from_secs(20);
const LOAD_MAX: Duration = Duration::from_secs(180);
