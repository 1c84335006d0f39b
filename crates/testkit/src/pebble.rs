//! An ACME authority of the test's own: pebble, with the DNS that it asks. Every name leads to 127.0.0.1.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::timeout;

use crate::TIMEOUT;
use crate::certificates::Authority;
use crate::process::Process;
use crate::raw::RawConnection;
use crate::tidelock::directory;

/// What an authority is like.
#[derive(Clone, Debug)]
pub struct PebblePlan {
    /// The port that it looks at over HTTP.
    pub http_port: u16,
    /// The port that it looks at over TLS.
    pub tls_port: u16,
    /// The accounts that it takes, by their key ids: all if there are none.
    pub accounts: Vec<(String, String)>,
    /// How many of a hundred nonces it refuses although they are good.
    pub nonces_refused: u8,
}

impl PebblePlan {
    /// One that takes everybody, and looks at these ports.
    #[must_use]
    pub fn looking_at(http: SocketAddr, tls: SocketAddr) -> Self {
        Self { http_port: http.port(), tls_port: tls.port(), accounts: Vec::new(), nonces_refused: 5 }
    }
}

/// A running authority. Dropping it kills it.
#[derive(Debug)]
pub struct Pebble {
    process: Process,
    /// Answers everybody who asks for an address.
    _dns: Process,
    plan: PebblePlan,
    addresses: Addresses,
    /// Who has certified the directory itself.
    authority: Authority,
    directory: TempDir,
}

/// None of the programs can be told to take any port, so that another process may be quicker.
#[derive(Clone, Copy, Debug)]
struct Addresses {
    acme: SocketAddr,
    management: SocketAddr,
    dns: SocketAddr,
    dns_management: SocketAddr,
}

impl Pebble {
    /// Starts one.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(plan: PebblePlan) -> Self {
        for _ in 0..10 {
            let [acme, management, dns, dns_management] =
                std::array::from_fn(|_| crate::port::free_address());
            let addresses = Addresses { acme, management, dns, dns_management };
            if let Some(pebble) = Self::try_start(plan.clone(), addresses).await {
                return pebble;
            }
        }
        panic!("pebble finds no free ports");
    }

    async fn try_start(plan: PebblePlan, addresses: Addresses) -> Option<Self> {
        let (authority, directory) = (Authority::new("of the directory"), directory());
        let files = authority.issue(&["localhost", "127.0.0.1"]).write(directory.path(), "pebble");
        let keys: serde_json::Map<_, _> =
            plan.accounts.iter().map(|(id, key)| (id.clone(), key.clone().into())).collect();
        let config = json!({ "pebble": {
            "listenAddress": addresses.acme, "managementListenAddress": addresses.management,
            "certificate": files.certificate, "privateKey": files.key,
            "httpPort": plan.http_port, "tlsPort": plan.tls_port, "ocspResponderURL": "",
            "externalAccountBindingRequired": !plan.accounts.is_empty(), "externalAccountMACKeys": keys,
        } });
        let file = directory.path().join("pebble.json");
        std::fs::write(&file, config.to_string()).expect("a file can be written");
        let mut dns = Command::new("pebble-challtestsrv");
        dns.args(["-defaultIPv6", "", "-http01", "", "-https01", "", "-tlsalpn01", ""]);
        dns.args([
            "-dns01",
            &addresses.dns.to_string(),
            "-management",
            &addresses.dns_management.to_string(),
        ]);
        let dns = Process::spawn("pebble-challtestsrv", dns);
        let line = dns
            .wait_for_line(|line| line.contains("Starting management server") || line.contains("in use"))
            .await;
        let process = Self::run(&plan, addresses, &file);
        let begun = |line: &str| line.contains("Root CA certificate available at");
        let ended = |line: &str| line.contains("in use");
        let other = process.wait_for_line(|line| begun(line) || ended(line)).await;
        let is_there = !ended(&line) && begun(&other);
        if is_there {
            until_taken(addresses).await;
        }
        is_there.then_some(Self { process, _dns: dns, plan, addresses, authority, directory })
    }

    fn run(plan: &PebblePlan, addresses: Addresses, file: &Path) -> Process {
        let mut command = Command::new("pebble");
        command.args(["-config".as_ref(), file.as_os_str()]);
        command.args(["-strict", "-dnsserver", &addresses.dns.to_string()]);
        command.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        command.env("PEBBLE_WFE_NONCEREJECT", plan.nonces_refused.to_string());
        Process::spawn("pebble", command)
    }

    /// Kills it, and starts one that knows nothing of what was before, in the same place.
    pub async fn replace(&mut self) {
        self.process.kill().await;
        self.process = Self::run(&self.plan, self.addresses, &self.directory.path().join("pebble.json"));
        self.process.wait_for_line(|line| line.contains("Root CA certificate available at")).await;
        until_taken(self.addresses).await;
    }

    /// Kills it.
    pub async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Its process, to look at what it says.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `[acme]` for it, with `more` lines under it.
    #[must_use]
    pub fn section(&self, more: &str) -> String {
        let ca = self.authority.write(self.directory.path());
        format!("[acme]\ndirectory = \"https://{}/dir\"\nca = {ca:?}\n{more}\n", self.addresses.acme)
    }

    /// A program that puts records into its DNS.
    ///
    /// # Panics
    /// If it cannot be written.
    #[must_use]
    pub fn dns_program(&self) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let (file, at) = (self.directory.path().join("dns"), self.addresses.dns_management);
        let script = format!(
            "#!/bin/sh\ncase $1 in set) verb=set-txt ;; remove) verb=clear-txt ;; esac\n\
             exec curl -sSf -d \"{{\\\"host\\\": \\\"$2.\\\", \\\"value\\\": \\\"$3\\\"}}\" http://{at}/$verb\n"
        );
        std::fs::write(&file, script).expect("a file can be written");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("it can be run");
        file
    }

    /// Those who trust its certificates: a new authority each time that it is started.
    ///
    /// # Panics
    /// If it does not say.
    pub async fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let pem = self.root_pem().await;
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM")).expect("a root");
        roots
    }

    /// The same in PEM.
    ///
    /// # Panics
    /// If it does not say.
    pub async fn root_pem(&self) -> String {
        let client = self.authority.client(&["http/1.1"]);
        let mut asks = RawConnection::connect_tls(self.addresses.management, "localhost", client)
            .await
            .expect("it answers");
        asks.send("GET /roots/0 HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        asks.read_message().await.text()
    }
}

/// It says that it is there before it listens.
async fn until_taken(addresses: Addresses) {
    let listening = async {
        for address in [addresses.acme, addresses.management, addresses.dns_management] {
            while TcpStream::connect(address).await.is_err() {
                tokio::task::yield_now().await;
            }
        }
    };
    timeout(TIMEOUT, listening).await.expect("pebble listens");
}
