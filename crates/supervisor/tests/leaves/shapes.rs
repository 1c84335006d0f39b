//! Shapes of apps as people have them: with several ports, helpers, threads, a port in the code or none. Whichever they
//! open first, what is served is the app; what else they open is where it belongs. Where tidelock cannot know, it says what
//! decides.

use std::net::Ipv4Addr;

use config::app::{App, Instances, Port, Ready, ReadyWhen};
use config::roster::InstanceAddress;
use supervisor::ports::{PortLease, Ports};
use supervisor::process::Process;
use supervisor::ready::{until_better, until_ready};
use testkit::TIMEOUT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use crate::support::{Stand, app, in_time, listens, node};

/// What becomes of a shape.
enum Served {
    /// `a` is what is served.
    A,
    /// And `b` answers at its own port, or another of the instance's own processes says that it does, as `self b`.
    AandB,
    /// It is said, in these words, why nothing is.
    Not(&'static str),
}

use Served::{A, AandB, Not};

/// NNN, MMM: ports that nobody has. `metrics` is a server of metrics, `redirects` one that sends everybody to https.
const SHAPES: [(&str, &str, Served); 29] = [
    ("obeys PORT", "a.listen(process.env.PORT)", A),
    ("port in the code", "a.listen(NNN)", A),
    ("port in the code, for this machine", "a.listen(NNN, 'localhost')", A),
    ("metrics first, then PORT", "b.listen(MMM, () => a.listen(process.env.PORT))", AandB),
    ("metrics first, then the app much later", "b.listen(MMM, () => setTimeout(() => a.listen(process.env.PORT), 700))", A),
    ("metrics first, then the app when they have long been served", "b.listen(MMM, () => setTimeout(() => a.listen(process.env.PORT), 2000))", AandB),
    ("metrics first, on a machine that is busy", "slowNotes(); b.listen(MMM, () => a.listen(process.env.PORT))", AandB),
    ("metrics first, a port in the code", "metrics.listen(MMM, () => a.listen(NNN))", A),
    ("metrics after it, a port in the code", "a.listen(NNN, () => metrics.listen(MMM))", A),
    ("metrics for this machine first", "b.listen(MMM, '127.0.0.1', () => a.listen(NNN))", AandB),
    ("metrics for this machine alone", "metrics.listen(MMM, '127.0.0.1')", Not("serves metrics alone")),
    ("a redirector first", "redirects.listen(MMM, () => a.listen(NNN))", A),
    ("a redirector first, then PORT", "redirects.listen(MMM, () => a.listen(process.env.PORT))", A),
    (
        "an exporter as OpenTelemetry has it, and an API that refuses /",
        "a.removeAllListeners('request').on('request', (request, answer) => { answer.statusCode = 404; answer.end('a\\n') });
         require('http').createServer((request, answer) => request.url === '/metrics' ? metrics.emit('request', request, answer)
             : (answer.statusCode = 404, answer.end())).listen(MMM, () => a.listen(NNN))",
        A,
    ),
    ("gRPC beside HTTP", "require('http2').createServer().listen(MMM, () => a.listen(NNN))", A),
    ("another port for WebSockets", "require('http').createServer((request, answer) => (answer.statusCode = 426, answer.end())).listen(MMM, () => a.listen(NNN))", A),
    ("two ports in the code", "a.listen(NNN, () => b.listen(MMM))", Not("nothing says which is the app's")),
    ("it calls itself", "a.listen(NNN, () => fetch('http://localhost:NNN').then((it) => it.text()).then((text) => console.log('self', text)))", A),
    ("it calls itself at PORT, behind metrics", "b.listen(MMM, () => a.listen(process.env.PORT, () => fetch('http://localhost:' + process.env.PORT).then((it) => it.text()).then((text) => console.log('self', text))))", A),
    (
        "a worker thread that listens",
        "new (require('worker_threads').Worker)(`require('net').createServer().listen(MMM, '127.0.0.1')`, { eval: true }).on('online', () => a.listen(NNN))",
        A,
    ),
    (
        "a helper that listens first, then PORT",
        "if (process.env.HELPER) b.listen(MMM, () => process.send('up'));
         else require('child_process').spawn(process.execPath, process.execArgv, { env: { ...process.env, HELPER: 1 }, stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })
             .on('message', () => a.listen(process.env.PORT))",
        AandB,
    ),
    (
        "a helper that listens first, on a machine that is busy, then PORT long after it",
        "slowNotes();
         if (process.env.HELPER) b.listen(MMM, () => process.send('up'));
         else require('child_process').spawn(process.execPath, process.execArgv, { env: { ...process.env, HELPER: 1 }, stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })
             .on('message', () => setTimeout(() => a.listen(process.env.PORT), 2000))",
        AandB,
    ),
    (
        "a helper that listens first, a port in the code",
        "if (process.env.HELPER) metrics.listen(MMM, () => process.send('up'));
         else require('child_process').spawn(process.execPath, process.execArgv, { env: { ...process.env, HELPER: 1 }, stdio: ['inherit', 'inherit', 'inherit', 'ipc'] })
             .on('message', () => a.listen(NNN))",
        A,
    ),
    ("tried, closed, and opened again", "b.listen(MMM, () => b.close(() => a.listen(MMM)))", A),
    ("ends at the end of its input", "process.stdin.on('end', () => process.exit()).resume(); setTimeout(() => a.listen(NNN), 200)", A),
    ("a port that it says to itself by dotenv", "process.env.PORT ||= 'NNN'; a.listen(Number(process.env.PORT), process.env.HOST)", A),
    ("a Unix socket first", "b.listen(process.env.TIDELOCK_FOLDER + '/b', () => a.listen(NNN))", A),
    ("speaks TLS itself", "require('https').createServer().listen(NNN)", Not("it speaks TLS at")),
    ("speaks TLS itself at PORT", "require('https').createServer().listen(process.env.PORT)", Not("it speaks TLS at")),
];

/// `slowNotes` has what the script writes be long in coming, as on a busy machine.
const MORE: &str = "const slowNotes = () => { const fs = require('fs'), { appendFileSync } = fs;
    fs.appendFileSync = (...args) => { for (const until = Date.now() + 1000; Date.now() < until; ); appendFileSync(...args); } };
const metrics = require('http').createServer((request, answer) => {
    answer.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8'); answer.end('up 1\\n') });
const redirects = require('http').createServer((request, answer) => {
    answer.writeHead(301, { location: 'https://example.org' + request.url }); answer.end() });\n";

fn of_node(listen: &str, ports: &[PortLease; 2]) -> App {
    let listen =
        listen.replace("NNN", &ports[0].port().to_string()).replace("MMM", &ports[1].port().to_string());
    App { port: Port::Redirect(None), ..node(&listens(&format!("{MORE}{listen}"))) }
}

fn two_ports() -> [PortLease; 2] {
    let ports = Ports::default();
    [ports.take(None).unwrap(), ports.take(None).unwrap()]
}

async fn answer(address: &InstanceAddress) -> Option<String> {
    let ask = "GET / HTTP/1.0\r\n\r\n";
    let mut text = String::new();
    match address {
        InstanceAddress::Tcp(to) => {
            let mut stream = TcpStream::connect(to).await.ok()?;
            stream.write_all(ask.as_bytes()).await.ok()?;
            stream.read_to_string(&mut text).await.ok()?;
        }
        InstanceAddress::Unix(path) => {
            let mut stream = UnixStream::connect(path).await.ok()?;
            stream.write_all(ask.as_bytes()).await.ok()?;
            stream.read_to_string(&mut text).await.ok()?;
        }
    }
    Some(text.trim_end().rsplit('\n').next().unwrap_or_default().to_owned())
}

/// Waits until `a` is what is served: at once, or when it has opened its port.
async fn serves_a(process: &Process, when: &ReadyWhen) {
    let until = Instant::now() + TIMEOUT;
    let mut found = until_ready(process, when, until).await.unwrap();
    while answer(&found.address).await.as_deref() != Some("a") {
        found = until_better(process, when, &found, until).await.expect("the app");
    }
}

async fn serves_b_at(port: u16) {
    let at = InstanceAddress::Tcp((Ipv4Addr::LOCALHOST, port).into());
    in_time("`b` at its own port", async {
        while answer(&at).await.as_deref() != Some("b") {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn check(listen: &str, served: &Served) {
    let (stand, ports) = (Stand::new(), two_ports());
    let process = stand.start(of_node(listen, &ports)).await;
    match served {
        A => serves_a(&process, &ReadyWhen::Port).await,
        AandB => {
            serves_a(&process, &ReadyWhen::Port).await;
            serves_b_at(ports[1].port()).await;
        }
        Not(why) => {
            let deadline = std::time::Duration::from_secs(4);
            let said = until_ready(&process, &ReadyWhen::Port, Instant::now() + deadline)
                .await
                .unwrap_err()
                .to_string();
            assert!(said.contains(why), "{why:?} is not in {said:?}");
        }
    }
    if listen.contains("'self'") {
        assert_eq!(stand.line_with("self").await, "self a");
    }
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn the_app_is_found_whatever_it_opens_first() {
    for (shape, listen, served) in &SHAPES {
        let _row = testkit::Row((*shape).to_owned());
        check(listen, served).await;
    }
}

/// The question that is asked decides too: of two ports the one that answers it.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn the_one_that_answers_the_question_is_the_app() {
    let (stand, ports) = (Stand::new(), two_ports());
    let listen = "new (require('socket.io').Server)(a); b.listen(MMM, () => a.listen(NNN))";
    let process = stand.start(of_node(listen, &ports)).await;
    serves_a(&process, &ReadyWhen::EngineIo { path: "/socket.io/".to_owned() }).await;
    drop(process);
    stand.is_empty().await;
}

/// In instances but the first, ports that belong to it are elsewhere, and the instance itself finds them there.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_second_instance_finds_its_own_ports() {
    let (stand, ports) = (Stand::new(), two_ports());
    let listen = "b.listen(MMM, () => a.listen(process.env.PORT, () => fetch('http://127.0.0.1:MMM').then((it) => it.text()).then((text) => console.log('self', text))))";
    let process = stand.start_at(of_node(listen, &ports), 1).await.unwrap();
    serves_a(&process, &ReadyWhen::Port).await;
    assert_eq!(stand.line_with("self").await, "self b");
    stand.line_with("belongs to the first instance").await;
    drop(process);
    stand.is_empty().await;
}

/// HOST is the app's, where it says so, and PORT stands in its command.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn host_and_port() {
    let stand = Stand::new();
    let script = "console.log(process.env.HOST, process.argv[1] === process.env.PORT, process.argv[2] === `--port=${process.env.PORT}`, process.argv[3])";
    let command = ["node", "-e", script, "--", "$PORT", "--port=${PORT}", "$PORTS"];
    let folder = stand.folder.path();
    let here = App { cwd: folder.to_owned(), ..app(&command) };
    let _first = stand.start(here.clone()).await;
    stand.line_with("127.0.0.1 true true $PORTS").await;
    std::fs::write(folder.join(".env"), "A=1\nHOST = db.internal\n").unwrap();
    let _second = stand.start(here.clone()).await;
    stand.line_with("undefined true true").await;
    let _third = stand.start(App { env: [("HOST".to_owned(), "0.0.0.0".to_owned())].into(), ..here }).await;
    stand.line_with("0.0.0.0 true true").await;
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn the_permission_model_lets_the_script_be_loaded() {
    let (stand, ports) = (Stand::new(), two_ports());
    let file = stand.folder.path().join("app.cjs");
    std::fs::write(&file, listens(&format!("a.listen({})", ports[0].port()))).unwrap();
    let file = file.to_str().unwrap();
    let read = format!("--allow-fs-read={file}");
    let command = ["node", "--experimental-permission", &read, file];
    let process = stand.start(App { port: Port::Redirect(None), ..app(&command) }).await;
    serves_a(&process, &ReadyWhen::Port).await;
    drop(process);
    stand.is_empty().await;
}

/// Where npm runs the app, nobody hears `process.send('ready')`; an app that serves by the deadline is ready.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_app_that_cannot_say_ready_is_ready_at_the_deadline() {
    let (stand, ports) = (Stand::new(), two_ports());
    let deadline = std::time::Duration::from_secs(2);
    let ready = Ready { when: ReadyWhen::Message, deadline };
    let process = stand.start(App { ready, ..of_node("a.listen(NNN)", &ports) }).await;
    stand.line_with("listens").await;
    let found = until_ready(&process, &ReadyWhen::Message, Instant::now() + deadline).await.unwrap();
    assert_eq!(answer(&found.address).await.as_deref(), Some("a"));
    drop(process);
    stand.is_empty().await;
}

/// Another runtime has nobody to redirect it: the only instance is served where it listens, several are told.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_port_in_the_code_of_another_runtime() {
    let script = "import http.server,sys
class A(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'a')
class Six(http.server.HTTPServer):
    address_family = 10 if ':' in sys.argv[1] else 2
Six((sys.argv[1], int(sys.argv[2])), A).serve_forever()";
    let many = Instances::Count(std::num::NonZeroU32::new(2).unwrap());
    for (host, port, instances, said) in [
        ("0.0.0.0", None, Instances::ONE, None),
        ("127.0.0.1", None, Instances::ONE, None),
        ("::1", Some("$PORT"), many, None),
        ("0.0.0.0", None, many, Some("and on the host in HOST")),
    ] {
        let (stand, [lease, _]) = (Stand::new(), two_ports());
        let at = port.map_or_else(|| lease.port().to_string(), str::to_owned);
        let process = stand.start(App { instances, ..app(&["python3", "-c", script, host, &at]) }).await;
        let found = timeout(TIMEOUT, until_ready(&process, &ReadyWhen::Port, Instant::now() + 2 * TIMEOUT))
            .await
            .unwrap();
        match (found, said) {
            (Ok(found), None) => {
                assert_eq!(answer(&found.address).await.as_deref(), Some("a"), "{host} {at}");
            }
            (Err(why), Some(said)) => assert!(why.to_string().contains(said), "{why}"),
            (found, said) => panic!("{host} {at}: {found:?}, {said:?}"),
        }
        drop(process);
        stand.is_empty().await;
    }
}
