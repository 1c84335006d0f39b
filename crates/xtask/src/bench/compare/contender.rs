//! Who is compared: what each needs to know, how it is started, and how it ends. Measures nothing.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use testkit::certificates::CertificateFiles;
use testkit::process::{Process, Signal};
use tokio::process::Command;

use super::rows::Serves;
use crate::run::printed;

/// One column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Contender {
    Tidelock,
    /// Another tidelock, such as that of the commit before.
    Before,
    Nginx,
    /// The same once more, to see how far two equal things are apart.
    NginxAgain,
    Haproxy,
    /// No proxy: the load speaks with the origin.
    Direct,
}

/// Where the programs are that are built here.
#[derive(Debug)]
pub(crate) struct Programs {
    tidelock: PathBuf,
    before: Option<PathBuf>,
    pub(crate) load: PathBuf,
}

/// What a proxy has to know.
pub(crate) struct Site<'s> {
    pub(crate) nodes: &'s [SocketAddr],
    /// The last one is that which is asked for.
    pub(crate) routes: u32,
    pub(crate) serves: Serves,
    /// Where its files are, if it has some.
    pub(crate) folder: &'s Path,
    pub(crate) long_bodies: bool,
    pub(crate) tls: Option<&'s CertificateFiles>,
    /// The core that it is kept on.
    pub(crate) core: usize,
}

/// A running proxy. Dropping it ends it and all its processes.
pub(crate) struct Running {
    process: Process,
    which: Contender,
    address: SocketAddr,
    _directory: TempDir,
}

impl Contender {
    pub(crate) const ALL: [Self; 6] =
        [Self::Tidelock, Self::Before, Self::Nginx, Self::NginxAgain, Self::Haproxy, Self::Direct];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tidelock => "tidelock",
            Self::Before => "before",
            Self::Nginx => "nginx",
            Self::NginxAgain => "nginx-again",
            Self::Haproxy => "haproxy",
            Self::Direct => "direct",
        }
    }

    /// Starts it, and does not wait until it answers. `None` if it is no proxy.
    pub(crate) fn start(self, programs: &Programs, site: &Site<'_>) -> Result<Option<Running>> {
        let directory = testkit::tidelock::directory();
        let path = directory.path();
        fs::write(path.join("users"), USERS)?;
        // nginx and HAProxy cannot say which port the kernel gave them, so that it is chosen before and let go again.
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let mut command = Command::new("taskset");
        command.arg("--cpu-list").arg(site.core.to_string()).current_dir(path);
        // Two tidelocks of one user would share the socket that the verbs use.
        command.env("XDG_RUNTIME_DIR", path).env("NO_COLOR", "1");
        match self {
            Self::Tidelock | Self::Before => {
                let before = if self == Self::Before { programs.before.as_ref() } else { None };
                fs::write(path.join("tidelock.toml"), tidelock_file(address, site))?;
                command.arg(before.unwrap_or(&programs.tidelock)).arg("tidelock.toml");
            }
            Self::Nginx | Self::NginxAgain => {
                fs::write(path.join("nginx.conf"), nginx_conf(address, site))?;
                command.args(["nginx", "-c", "nginx.conf", "-e", "error.log", "-p"]).arg(path);
            }
            Self::Haproxy => {
                fs::write(path.join("haproxy.cfg"), haproxy_cfg(address, site, path)?)?;
                // Its log goes to its stdout: that is how it writes to a file.
                command.args(["sh", "-c", "exec haproxy -db -f haproxy.cfg > access.log"]);
            }
            Self::Direct => return Ok(None),
        }
        let process = Process::spawn(self.name(), command);
        Ok(Some(Running { process, which: self, address, _directory: directory }))
    }
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it printed, for an error.
    pub(crate) fn output(&self) -> String {
        let error_log = fs::read_to_string(self._directory.path().join("error.log")).unwrap_or_default();
        format!("{}\n{error_log}", self.process.output())
    }

    fn children(&self) -> String {
        let pid = self.process.pid();
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The others are one process each, which the guard inside kills. nginx's worker would outlive its master.
        if matches!(self.which, Contender::Nginx | Contender::NginxAgain) {
            self.process.signal(Signal::TERM);
            let mut turns = 0..500;
            while !self.children().trim().is_empty() && turns.next().is_some() {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
}

impl Programs {
    /// The binaries lie beside the profile that this program was built with, wherever Cargo builds.
    pub(crate) fn find(debug: bool, before: Option<PathBuf>) -> Result<Self> {
        let here = std::env::current_exe()?;
        let target = here.ancestors().nth(2).context("this program lies in a target directory")?;
        let directory = target.join(if debug { "debug" } else { "release" });
        let before = before.map(fs::canonicalize).transpose().context("--before")?;
        let programs =
            Self { tidelock: directory.join("tidelock"), load: directory.join("tidelock-load"), before };
        for program in [Some(&programs.tidelock), Some(&programs.load), programs.before.as_ref()] {
            ensure!(program.is_none_or(|program| program.exists()), "{program:?} is not built");
        }
        Ok(programs)
    }

    /// A line about each program that is compared.
    pub(crate) fn versions(&self) -> Vec<String> {
        let line = |program: &str, arguments: &[&str]| {
            printed(program, arguments).lines().next().unwrap_or_default().trim().to_owned()
        };
        let commit = printed("git", &["describe", "--always", "--dirty"]);
        vec![
            format!("{}, commit {commit}", line(&self.tidelock.to_string_lossy(), &["--version"])),
            line("nginx", &["-v"]).replace("nginx version: ", "Debian's "),
            format!("Debian's {}", line("haproxy", &["-v"])),
            line("openssl", &["version"]),
            line("rustc", &["--version"]),
            format!("Linux {}", line("uname", &["-r"])),
        ]
    }
}

/// Everything is on: stickiness, forwarded headers and counters always are, the log is told to be.
fn tidelock_file(address: SocketAddr, site: &Site<'_>) -> String {
    let nodes: Vec<_> = site.nodes.iter().map(ToString::to_string).collect();
    let tls = site.tls.map_or_else(String::new, |CertificateFiles { certificate, key }| {
        format!("http2 = true\ntls = {{ certificate = {certificate:?}, key = {key:?} }}\n")
    });
    let (other, folder) = (other_routes(site.routes), site.folder);
    let route = match site.serves {
        Serves::Nodes => "upstream = \"nodes\"\n".to_owned(),
        Serves::Compressed => "upstream = \"nodes\"\ncompress = { codings = [\"gzip\"] }\n".to_owned(),
        Serves::Limited => {
            "upstream = \"nodes\"\nlimit = { rate = \"1000000/s\", burst = 1000000 }\n".to_owned()
        }
        Serves::Authenticated => "upstream = \"nodes\"\nauth = { users = \"users\" }\n".to_owned(),
        // What is no file is a node's, so that there is a route to it.
        Serves::Files => format!("files = {folder:?}\nupstream = \"nodes\"\n"),
    };
    format!(
        "workers = 1\nsticky_secret = \"a secret of 32 bytes, or of some more\"\n\
         [[listen]]\naddress = \"{address}\"\n{tls}{other}[[route]]\n{route}\
         [upstream.nodes]\nnodes = {nodes:?}\n[log]\naccess = \"access.log\"\n",
    )
}

/// All routes but the last. Half of them are other hosts, half are paths of the host that is asked for, so that none of
/// them can be passed over unseen.
fn other_routes(routes: u32) -> String {
    let route = |number: u32| match number % 2 {
        0 => format!("[[route]]\nhost = \"host{number}.example\"\nupstream = \"nodes\"\n"),
        _ => {
            format!("[[route]]\nhost = \"bench.example\"\npath = \"/other{number}\"\nupstream = \"nodes\"\n")
        }
    };
    (1..routes).map(route).collect()
}

fn nginx_conf(address: SocketAddr, site: &Site<'_>) -> String {
    let servers: String = site.nodes.iter().map(|node| format!("server {node};\n")).collect();
    let (ssl, certificate) = site.tls.map_or_else(Default::default, |files| {
        let CertificateFiles { certificate, key } = files;
        let lines =
            format!("ssl_certificate {};\nssl_certificate_key {};\n", certificate.display(), key.display());
        (" ssl http2", lines)
    });
    let files = NGINX_FILES.replace("FOLDER", &site.folder.display().to_string());
    let guarded = match site.serves {
        Serves::Limited => format!("{NGINX_NODES}            limit_req zone=all burst=1000000 nodelay;\n"),
        _ => NGINX_NODES.to_owned(),
    };
    let (location, more) = match site.serves {
        Serves::Nodes => (NGINX_NODES, ""),
        Serves::Compressed => (NGINX_NODES, NGINX_GZIP),
        Serves::Files => (files.as_str(), ""),
        Serves::Limited => (guarded.as_str(), NGINX_LIMIT),
        Serves::Authenticated => (guarded.as_str(), NGINX_PASSWORDS),
    };
    NGINX_CONF
        .replace("LOCATION", location)
        .replace("GZIP", more)
        .replace("ADDRESS", &format!("{address}{ssl} reuseport"))
        .replace("CERTIFICATE", &certificate)
        .replace("BODIES", if site.long_bodies { NGINX_LONG_BODIES } else { "" })
        .replace("SERVERS", &servers)
}

fn haproxy_cfg(address: SocketAddr, site: &Site<'_>, directory: &Path) -> Result<String> {
    let servers: String = site
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| format!("    server node{index} {node}\n"))
        .collect();
    let ssl = match site.tls {
        None => String::new(),
        Some(CertificateFiles { certificate, key }) => {
            // It wants both in one file.
            let both = directory.join("both.pem");
            fs::write(&both, fs::read_to_string(certificate)? + &fs::read_to_string(key)?)?;
            format!(" ssl crt {} alpn h2,http/1.1", both.display())
        }
    };
    Ok(HAPROXY_CFG.replace("ADDRESS", &format!("{address}{ssl}")).replace("SERVERS", &servers))
}

/// For the page: what each was told, with its addresses left out.
pub(crate) const SETTINGS: [(&str, &str); 8] = [
    ("nginx.conf", NGINX_CONF),
    ("its LOCATION", NGINX_NODES),
    ("its LOCATION, where it has files", NGINX_FILES),
    ("its GZIP, where it compresses", NGINX_GZIP),
    ("its GZIP, where there is a limit", NGINX_LIMIT),
    ("its GZIP, where there are passwords", NGINX_PASSWORDS),
    ("its BODIES, where they are long", NGINX_LONG_BODIES),
    ("haproxy.cfg", HAPROXY_CFG),
];

/// One worker with a log that is buffered, and connections to the nodes that are kept for as long as they are good.
const NGINX_CONF: &str = "\
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log error.log;
events { worker_connections 20000; }
http {
    access_log access.log combined buffer=64k flush=1s;
    tcp_nodelay on;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    BODIES
    GZIP
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
    ssl_protocols TLSv1.3;
    ssl_session_cache shared:tls:50m;
    ssl_session_tickets on;
    map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
    upstream nodes {
        SERVERS
        keepalive 1024;
        keepalive_requests 100000000;
        keepalive_timeout 1h;
    }
    server {
        listen ADDRESS;
        CERTIFICATE
        location / {
            LOCATION
        }
    }
}
";

const NGINX_NODES: &str = "\
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
";

/// As its own guides have it for speed.
const NGINX_FILES: &str = "\
            root FOLDER;
            sendfile on;
            tcp_nopush on;
            gzip_static on;
            open_file_cache max=1000 inactive=20s;
            open_file_cache_valid 1s;
";

/// At the level whose answers are as long as ours, or the next longer ones.
const NGINX_GZIP: &str = "\
    gzip on;
    gzip_comp_level 5;
    gzip_types application/json;
    gzip_proxied any;
    gzip_http_version 1.1;
";

/// Its location has `limit_req zone=all burst=1000000 nodelay`.
const NGINX_LIMIT: &str = "limit_req_zone $binary_remote_addr zone=all:10m rate=1000000r/s;\n";
const NGINX_PASSWORDS: &str = "auth_basic \"Restricted\"; auth_basic_user_file users;\n";
/// The password `secret`, as `htpasswd` stores it if it is told nothing.
const USERS: &str = "apr:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n";

/// Where bodies are long, they are not collected before they are passed on, which nginx does by default, on disk if need
/// be; and they go through buffers as large as tidelock's. Elsewhere such buffers would only take memory.
const NGINX_LONG_BODIES: &str = "\
    client_body_buffer_size 64k;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_buffer_size 64k;
    proxy_buffers 8 64k;
    proxy_busy_buffers_size 128k;
";

/// One thread. It has no log file of its own: its stdout is one.
const HAPROXY_CFG: &str = "\
global
    nbthread 1
    maxconn 9500
    maxpipes 200
    log stdout format raw local0
    ssl-default-bind-options ssl-min-ver TLSv1.3
    tune.ssl.cachesize 100000
defaults
    mode http
    log global
    option httplog
    option forwardfor
    option splice-auto
    http-reuse always
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    timeout tunnel 1h
frontend clients
    bind ADDRESS
    http-request set-header X-Forwarded-Proto https if { ssl_fc }
    http-request set-header X-Forwarded-Proto http if !{ ssl_fc }
    default_backend nodes
backend nodes
    balance roundrobin
SERVERS";
