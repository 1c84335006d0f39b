//! A DNS resolver of the test's own: dnsmasq, on a port of 127.0.0.1, that knows what the test tells it and asks
//! nobody.

use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;
use tokio::process::Command;

use crate::process::{Mark, Process, Signal};
use crate::tidelock::directory;

/// What a resolver knows.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    options: Vec<String>,
}

impl Zone {
    /// Adds a host that keeps its address, with a TTL in seconds.
    #[must_use]
    pub fn host(self, name: &str, address: &str, ttl: u32) -> Self {
        self.with(format!("--host-record={name},{address},{ttl}"))
    }

    /// Adds an SRV record: priority, weight, port and host, as zone files have it. The host needs an address too.
    ///
    /// # Panics
    /// If it is not four words.
    #[must_use]
    pub fn service(self, name: &str, record: &str) -> Self {
        let words: Vec<_> = record.split(' ').collect();
        let [priority, weight, port, host] = words[..] else { panic!("no SRV record: {record}") };
        self.with(format!("--srv-host={name},{host},{port},{priority},{weight}"))
    }

    fn with(mut self, option: String) -> Self {
        self.options.push(option);
        self
    }
}

/// A running resolver. Dropping it kills it.
#[derive(Debug)]
pub struct Dns {
    process: Process,
    address: SocketAddr,
    hosts: PathBuf,
    _directory: TempDir,
}

impl Dns {
    /// Starts one that knows `zone`, and `hosts`: names and their addresses, which can be changed and have a TTL of
    /// one second.
    pub async fn start(zone: &Zone, hosts: &[(&str, &str)]) -> Self {
        for _ in 0..10 {
            if let Some(dns) = Self::try_start(crate::port::free_address(), zone, hosts).await {
                return dns;
            }
        }
        panic!("dnsmasq finds no free port");
    }

    /// Starts one where another one was.
    ///
    /// # Panics
    /// If the address is taken.
    pub async fn start_at(address: SocketAddr, zone: &Zone, hosts: &[(&str, &str)]) -> Self {
        Self::try_start(address, zone, hosts).await.expect("the address is free again")
    }

    async fn try_start(address: SocketAddr, zone: &Zone, hosts: &[(&str, &str)]) -> Option<Self> {
        let directory = directory();
        let file = directory.path().join("hosts");
        write(&file, hosts);
        let mut command = Command::new("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=", "--user=root"]);
        command.args(["--no-resolv", "--no-hosts", "--log-queries", "--log-facility=-", "--local-ttl=1"]);
        command.args(["--local=/test/", "--bind-interfaces", "--listen-address=127.0.0.1"]);
        command.arg(format!("--port={}", address.port()));
        command.arg(format!("--addn-hosts={}", file.display())).args(&zone.options);
        let process = Process::spawn("dnsmasq", command);
        let begun = |line: &str| line.contains("read ") && line.contains("names");
        let line = process.wait_for_line(|line| begun(line) || line.contains("failed to")).await;
        begun(&line).then_some(Self { process, address, hosts: file, _directory: directory })
    }

    /// Where it is asked.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces its `hosts`, and waits until it knows.
    pub async fn change(&self, hosts: &[(&str, &str)]) {
        write(&self.hosts, hosts);
        let mark = self.process.mark();
        self.process.signal(Signal::HUP);
        self.process.wait_for_lines_since(mark, 1, |line| line.contains("read ")).await;
    }

    /// Waits until it was asked `count` more times for the address of `name`.
    pub async fn until_asked(&self, name: &str, count: usize) {
        let asked = |line: &str| is_question(line, name);
        self.process.wait_for_lines_since(self.process.mark(), count, asked).await;
    }

    /// How many times it was asked for the IPv4 address of `name`.
    #[must_use]
    pub fn asked(&self, name: &str) -> usize {
        self.process.lines_since(Mark::default()).iter().filter(|line| is_question(line, name)).count()
    }

    /// Kills it and waits until it is gone.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }
}

fn is_question(line: &str, name: &str) -> bool {
    line.contains(&format!("query[A] {name} "))
}

fn write(file: &PathBuf, hosts: &[(&str, &str)]) {
    let lines: String = hosts.iter().map(|(name, address)| format!("{address} {name}\n")).collect();
    std::fs::write(file, lines).unwrap_or_else(|error| panic!("cannot write {file:?}: {error}"));
}
