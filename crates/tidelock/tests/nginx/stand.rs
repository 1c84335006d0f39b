//! nginx and tidelock side by side, and the twenty requests.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use testkit::certificates::{Authority, CertificateFiles};
use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::Process;
use testkit::raw::RawConnection;
use testkit::tidelock::Tidelock;
use testkit::tls_front::TlsFront;
use tokio::process::Command;

use crate::alike::told;
use crate::asks::{Ask, asks};
use crate::disk;
use crate::mapped::{Found, each, found, port};

/// What became of a file.
pub(crate) enum Outcome {
    Moved,
    /// What the importer says it left out.
    NotWhole(Vec<String>),
    Differs(Vec<String>),
}

const NGINX: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const TIDELOCK: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
/// What nodes that speak TLS are called in their certificates.
const NODE_NAME: &str = "nodes.internal";
/// What Docker would tell a template.
const TEMPLATE: [(&str, &str); 4] =
    [("APP_HOST", "app"), ("APP_PORT", "3000"), ("NGINX_PORT", "80"), ("SERVER_NAME", "x.example.com")];

/// Imports the file, and asks both if it is whole.
pub(crate) async fn try_file(file: &Path) -> Outcome {
    // What is left out is told of the file as it is, with its own names.
    let as_it_is = import(file).await;
    if as_it_is.0 == 2 {
        return Outcome::NotWhole(brief(&as_it_is.2));
    }
    assert_eq!(as_it_is.0, 0, "{}: {}", file.display(), as_it_is.2);
    let stand = Stand::of(file).await;
    Outcome::of(stand.compare().await)
}

impl Outcome {
    fn of(differences: Vec<String>) -> Self {
        if differences.is_empty() { Self::Moved } else { Self::Differs(differences) }
    }
}

/// The reasons in what the importer says, each once.
fn brief(stderr: &str) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for line in stderr.lines() {
        let Some(rest) = line.strip_prefix("not translated: ") else { continue };
        // file:line: what: why: what to do
        let mut parts = rest.rsplitn(3, ": ");
        let (_, why) = (parts.next(), parts.next().unwrap_or_default());
        let what = parts.next().unwrap_or_default().split_once(": ").map_or("", |(_, what)| what);
        let word = what.split_whitespace().next().unwrap_or_default();
        let reason = format!("`{word}`: {why}");
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    reasons
}

pub(crate) async fn import(file: &Path) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
    command.arg("import").arg(file.file_name().expect("a file has a name"));
    command.current_dir(file.parent().expect("a file is in a folder")).envs(TEMPLATE);
    let output = command.output().await.expect("tidelock runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

struct Stand {
    found: Found,
    /// Theirs and the test's.
    ports: HashMap<u16, u16>,
    authority: Authority,
    nginx: Process,
    tidelock: Tidelock,
    _folder: TempDir,
    _origins: Vec<ScriptedOrigin>,
    _fronts: Vec<TlsFront>,
}

impl Stand {
    async fn of(file: &Path) -> Self {
        let folder = testkit::tidelock::directory();
        let mut texts = texts(file);
        for text in texts.values_mut() {
            for (name, value) in TEMPLATE {
                *text = text.replace(&format!("${{{name}}}"), value);
            }
        }
        let found = found(&texts.values().cloned().collect::<Vec<_>>().join("\n"));
        let ports: HashMap<u16, u16> =
            found.ports.iter().map(|port| (*port, testkit::port::free())).collect();
        let authority = Authority::new("the test's");
        let (mut origins, mut nodes, mut fronts) = (Vec::new(), HashMap::new(), Vec::new());
        for (node, pool) in &found.nodes {
            let origin = echoing(pool.clone()).await;
            let mut address = origin.address();
            if [node, pool].into_iter().any(|name| found.tls_nodes.contains(name)) {
                let front = TlsFront::to(address, &authority.issue(&[NODE_NAME, "127.0.0.1"])).await;
                address = front.address();
                fronts.push(front);
            }
            nodes.insert(node.clone(), address);
            origins.push(origin);
        }
        let _ = authority.write(folder.path());
        let names: Vec<&str> = found.hosts.iter().map(|host| host.trim_start_matches('.')).collect();
        let names: Vec<&str> =
            names.into_iter().filter(|host| !host.starts_with('~') && *host != "_").collect();
        let certificate =
            authority.issue(&[&names[..], &["unknown.example"]].concat()).write(folder.path(), "all");
        disk::fill(folder.path(), &found);
        let mapping = Mapping {
            folder: folder.path(),
            ports: &ports,
            hosts: &found.hosts,
            nodes: &nodes,
            certificate: &certificate,
        };
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let main = mapping.write(&texts, &name);
        let nginx = start_nginx(&main, folder.path(), &mapping).await;
        let tidelock = start_tidelock(&folder.path().join("tidelock").join(&name), found.ports.len()).await;
        Self { found, ports, authority, nginx, tidelock, _folder: folder, _origins: origins, _fronts: fronts }
    }

    async fn compare(&self) -> Vec<String> {
        let mut differences = Vec::new();
        for ask in asks(&self.found) {
            let theirs = self.ask(NGINX, &ask).await;
            let ours = self.ask(TIDELOCK, &ask).await;
            let (theirs, ours) = told(&ask, theirs, ours);
            if theirs != ours {
                let Ask { port, host, start, .. } = &ask;
                differences
                    .push(format!("  {start} at {host}, {port}\n    nginx    {theirs}\n    tidelock {ours}"));
            }
        }
        if !differences.is_empty() && std::env::var("ONLY").is_ok_and(|only| !only.is_empty()) {
            differences.push(std::fs::read_to_string(self.tidelock.file()).unwrap_or_default());
            differences.push(self.nginx.output());
        }
        differences
    }

    async fn ask(&self, ip: IpAddr, ask: &Ask) -> Result<Message, String> {
        let address = SocketAddr::new(ip, self.ports[&ask.port]);
        let mut client = if self.found.tls_ports.contains(&ask.port) {
            RawConnection::connect_tls(address, &ask.host, self.authority.client(&["http/1.1"]))
                .await
                .map_err(|error| error.to_string())?
        } else {
            RawConnection::connect(address).await
        };
        let Ask { start, host, more, body, .. } = ask;
        // As a client says it that was told of this port.
        let host = format!("{host}:{}", address.port());
        let head = format!(
            "{start} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: test/1\r\nAccept: */*\r\nCookie: a=b\r\nX-Custom: 1\r\n{more}\r\n"
        );
        let request = [head.as_bytes(), &vec![b'x'; *body]].concat();
        if start.starts_with("HEAD ") {
            return client.try_ask(&head).await;
        }
        // A body that is refused may be refused before it was sent.
        let _ = client.try_send(&request).await;
        client.try_ask("").await
    }
}

async fn echoing(pool: String) -> ScriptedOrigin {
    ScriptedOrigin::start(move |request| {
        if request.header("upgrade").is_some() {
            return vec![Step::send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n"), Step::Close];
        }
        let target = request.start.rsplit_once(' ').map_or(request.start.as_str(), |(start, _)| start);
        let mut body = format!("seen\npool={pool}\nstart={target}\nbody={}\n", request.body.len());
        for (name, value) in &request.headers {
            body.push_str(&format!("{}={value}\n", name.to_ascii_lowercase()));
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Powered-By: test\r\nContent-Length: {}\r\n\r\n", body.len());
        let body = if request.start.starts_with("HEAD ") { String::new() } else { body };
        vec![Step::send(&(head + &body))]
    })
    .await
}

/// The file and those in its folder, by their names.
fn texts(file: &Path) -> BTreeMap<String, String> {
    let mut texts = BTreeMap::new();
    let root = file.parent().expect("a file is in a folder");
    let mut open = vec![file.to_owned(), file.with_extension("d")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(
                std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()),
            );
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let name = path.strip_prefix(root).expect("it is below").display().to_string();
            texts.insert(name, text);
        }
    }
    texts
}

struct Mapping<'m> {
    folder: &'m Path,
    ports: &'m HashMap<u16, u16>,
    hosts: &'m [String],
    nodes: &'m HashMap<String, SocketAddr>,
    certificate: &'m CertificateFiles,
}

impl Mapping<'_> {
    /// Writes all files twice, below `nginx` and `tidelock`, and returns nginx's.
    fn write(&self, texts: &BTreeMap<String, String>, main: &str) -> PathBuf {
        for (kind, ip) in [("nginx", NGINX), ("tidelock", TIDELOCK)] {
            let root = self.folder.join(kind);
            for (name, text) in texts {
                let mut text = self.mapped(text, ip);
                if kind == "nginx" && name == main {
                    text = framed(&text, ip, self.ports.get(&80).copied());
                }
                if kind == "tidelock"
                    && name == main
                    && text.trim_start().starts_with("location") | text.contains("\nlocation")
                {
                    // A piece goes into a server, of which it says nothing.
                    let port = self.ports.get(&80).copied().unwrap_or_default();
                    text = format!("server {{ listen {ip}:{port};\n{text}\n}}");
                }
                let path = root.join(name);
                std::fs::create_dir_all(path.parent().expect("it is below")).expect("folders can be made");
                std::fs::write(path, text).expect("files can be written");
            }
            for (name, text) in SHIPPED {
                std::fs::write(root.join(name), text).expect("files can be written");
            }
        }
        self.folder.join("nginx").join(main)
    }

    fn mapped(&self, text: &str, ip: IpAddr) -> String {
        let CertificateFiles { certificate, key } = self.certificate;
        let mut text = each(text, "listen", |arguments| {
            let port = port(arguments)?;
            let rest: Vec<&str> =
                arguments.split_whitespace().skip(1).filter(|word| *word != "spdy").collect();
            // Words that this nginx knows no longer are the importer's affair.
            let rest = if ip == NGINX { rest } else { arguments.split_whitespace().skip(1).collect() };
            Some(format!("{ip}:{} {}", self.ports[&port], rest.join(" ")))
        });
        if ip == NGINX && text.contains("ssl on;") {
            text = text.replace("ssl on;", "");
            text = each(&text, "listen", |arguments| Some(format!("{} ssl", arguments.replace(" ssl", ""))));
        }
        text = each(&text, "ssl_certificate", |_| Some(certificate.display().to_string()));
        text = each(&text, "ssl_certificate_key", |_| Some(key.display().to_string()));
        text = each(&text, "ssl_trusted_certificate", |_| Some(certificate.display().to_string()));
        text = each(&text, "proxy_ssl_certificate", |_| Some(certificate.display().to_string()));
        text = each(&text, "proxy_ssl_certificate_key", |_| Some(key.display().to_string()));
        let ca = self.folder.join("ca.pem").display().to_string();
        text = each(&text, "proxy_ssl_trusted_certificate", |_| Some(ca.clone()));
        for gone in ["ssl_dhparam", "user", "pid", "error_log"] {
            text = each(&text, gone, |_| None);
        }
        text = each(&text, "access_log", |arguments| {
            Some(if arguments == "off" {
                "off".to_owned()
            } else {
                self.folder.join("access.log").display().to_string()
            })
        });
        for word in ["root", "alias"] {
            text = each(&text, word, |arguments| {
                let path = self.folder.join("disk").join(arguments.trim_start_matches('/'));
                Some(path.display().to_string())
            });
        }
        text = each(&text, "include", |arguments| {
            let last = arguments.rsplit('/').next().unwrap_or_default();
            Some(match (arguments.contains(".d/"), last.contains('*')) {
                (true, _) => arguments.to_owned(),
                (false, false) => last.to_owned(),
                // Of a machine that has none of them.
                (false, true) => format!("none/{last}"),
            })
        });
        text = each(&text, "server", |arguments| {
            let (address, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
            Some(format!("{} {rest}", self.nodes.get(address)?))
        });
        let lone = |to: &str| {
            let mut nodes: Vec<_> = self.nodes.iter().collect();
            nodes.sort_by_key(|(node, _)| std::cmp::Reverse(node.len()));
            nodes.into_iter().find(|(node, _)| to.contains(node.as_str())).map_or_else(
                || to.to_owned(),
                |(node, address)| to.replace(node.as_str(), &address.to_string()),
            )
        };
        text = each(&text, "set", |arguments| Some(lone(arguments)));
        // Rows of a table.
        for host in self.hosts.iter().map(String::as_str).chain(["default"]) {
            text = each(&text, host, |arguments| Some(lone(arguments)));
        }
        each(&text, "proxy_pass", |arguments| Some(lone(arguments)))
    }
}

/// A whole file for nginx around what may be a piece of one.
fn framed(text: &str, ip: IpAddr, port_80: Option<u16>) -> String {
    let temporary = TEMPORARY.map(|kind| format!("{kind}_temp_path temp_{kind};")).concat();
    // As in the nginx.conf that includes such pieces.
    let own = format!("\naccess_log off;\n{temporary}\ninclude mime.types;\n");
    let has_block =
        |word: &str| text.lines().any(|line| line.trim_start().starts_with(&format!("{word} {{")));
    let text = match (has_block("http"), has_block("server"), port_80) {
        (true, ..) => text.replacen("http {", &format!("http {{\n{temporary}\n"), 1),
        (false, true, _) => format!("http {{{own}{text}\n}}"),
        (false, false, port) => {
            format!("http {{{own}server {{ listen {ip}:{};\n{text}\n}}\n}}", port.unwrap_or_default())
        }
    };
    // An upstream may have that name, too.
    let has_events = text
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("events"))
        .any(|rest| rest.trim_start().starts_with('{'));
    if has_events { text } else { format!("events {{}}\n{text}") }
}

async fn start_nginx(main: &Path, folder: &Path, mapping: &Mapping<'_>) -> Process {
    let root = folder.join("nginx");
    let mut command = Command::new("/usr/sbin/nginx");
    let pid = folder.join("nginx.pid");
    let globals = format!("daemon off; master_process off; pid {}; error_log stderr notice;", pid.display());
    command.arg("-p").arg(&root).arg("-c").arg(main).arg("-e").arg("stderr").arg("-g").arg(globals);
    let nginx = Process::spawn("nginx", command);
    nginx.wait_for_line(|line| line.contains("OS: Linux") || line.contains("[emerg]")).await;
    assert!(!nginx.output().contains("[emerg]"), "{}\n{:?}", nginx.output(), std::fs::read_to_string(main));
    for port in mapping.ports.values() {
        drop(RawConnection::connect(SocketAddr::new(NGINX, *port)).await);
    }
    nginx
}

async fn start_tidelock(file: &Path, count: usize) -> Tidelock {
    let (code, text, said) = import(file).await;
    assert_eq!(code, 0, "{said}");
    assert_eq!(text.matches("[[listen]]").count(), count, "{text}");
    Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &text).await
}

const TEMPORARY: [&str; 5] = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
const SHIPPED: [(&str, &str); 4] = [
    (
        "mime.types",
        "types { text/html html; text/css css; application/javascript js; text/plain txt; image/x-icon ico; }\n",
    ),
    // What they ship is said in some files once more, which nginx does not take.
    ("options-ssl-nginx.conf", "ssl_prefer_server_ciphers off;\n"),
    ("ssl-params.conf", ""),
    (
        "proxy_params",
        "proxy_set_header Host $http_host;\nproxy_set_header X-Real-IP $remote_addr;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\nproxy_set_header X-Forwarded-Proto $scheme;\n",
    ),
];
