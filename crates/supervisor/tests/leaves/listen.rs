//! Where Node.js apps listen that have a port written in their code, for each way to say it. The port that is written
//! is taken by the test itself, so that an app that was not redirected fails.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use config::app::{App, Port, ReadyWhen, Socket};
use config::roster::InstanceAddress;
use supervisor::ports::{PortLease, Ports};
use supervisor::process::Process;
use supervisor::ready::until_ready;
use testkit::TIMEOUT;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

use crate::support::{Stand, in_time, listens, node, port, script};

/// A port that an app has in its code, and that nobody can listen on.
struct Written {
    lease: PortLease,
    _taken: [Option<TcpListener>; 2],
}

impl Written {
    fn taken() -> Self {
        let lease = Ports::default().take(None).unwrap();
        let taken = [
            TcpListener::bind((Ipv4Addr::LOCALHOST, lease.port())).ok(),
            TcpListener::bind(("::1", lease.port())).ok(),
        ];
        Self { lease, _taken: taken }
    }

    fn free() -> Self {
        Self { lease: Ports::default().take(None).unwrap(), _taken: [None, None] }
    }

    fn put_into(&self, listen: &str, letter: &str) -> String {
        listen.replace(letter, &self.lease.port().to_string())
    }
}

fn redirected(listen: &str) -> App {
    App { port: Port::Redirect(None), ..node(&listens(listen)) }
}

async fn answer(port: u16) -> String {
    let mut stream = in_time("a connection", TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await.unwrap();
    ask(&mut stream).await
}

async fn ask(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin)) -> String {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    in_time("the answer", stream.read_to_string(&mut answer)).await.unwrap();
    answer.rsplit('\n').find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

async fn is_ready(process: &Process) {
    until_ready(process, &ReadyWhen::Port, Instant::now() + TIMEOUT).await.unwrap();
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn every_way_to_say_it() {
    let written = Written::taken();
    let table = [
        "a.listen(NNN)",
        "a.listen('NNN')",
        "a.listen(NNN, () => console.log('called'))",
        "a.listen(NNN, '0.0.0.0', () => console.log('called'))",
        "a.listen(NNN, '::', 5, () => console.log('called'))",
        "a.listen(NNN, 5, () => console.log('called'))",
        "a.listen({ port: NNN, host: 'localhost', backlog: 5 }, () => console.log('called'))",
        "a.listen({ port: 'NNN', host: '::', ipv6Only: true, exclusive: true }, () => console.log('called'))",
        "a.listen(process.env.PORT, process.env.HOST)",
        "a.listen({ port: NNN }); a.on('listening', () => console.log('called'))",
        "b.listen(0); a.listen(NNN)",
        "b.listen(process.env.TIDELOCK_FOLDER + '/own'); a.listen(NNN)",
        // It is closed and listens again.
        "a.listen(NNN, () => a.close(() => a.listen(NNN, () => console.log('called'))))",
        "require('express')().get('/', (request, answer) => answer.send('a')).listen(NNN, () => console.log('called'))",
        "require('fastify')().get('/', async () => 'a').listen({ port: NNN, host: 'localhost' }).then(() => console.log('called'))",
        "require('http2').createServer().listen(NNN, () => console.log('called')); 'no text'",
        "require('net').createServer((socket) => socket.once('data', () => socket.end('a'))).listen(NNN)",
        // Not the main thread: it is left alone, and here it fails.
        "const { Worker } = require('worker_threads');
         new Worker(`require('net').createServer().listen(NNN)`, { eval: true })
             .on('error', (error) => { console.log(error.code); a.listen(NNN, () => console.log('called')) })",
    ];
    for listen in table {
        let _row = testkit::Row(listen.to_owned());
        let stand = Stand::new();
        let process = stand.start(redirected(&written.put_into(listen, "NNN"))).await;
        is_ready(&process).await;
        if listen.contains("called") {
            stand.line_with("called").await;
        }
        if !listen.contains("no text") {
            assert_eq!(answer(port(&process)).await, "a");
        }
        drop(process);
        stand.is_empty().await;
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn modules_are_redirected_too() {
    let stand = Stand::new();
    let app = App { command: vec!["node".into(), script("module.mjs")], ..redirected("") };
    let env = [("NODE_OPTIONS".to_owned(), "--no-warnings".to_owned())];
    let process = stand.start(App { env: env.into(), ..app }).await;
    is_ready(&process).await;
    assert_eq!(answer(port(&process)).await, "module");
    assert_eq!(stand.lines(1).await, [format!("listens {}", port(&process))]);
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_unix_socket_takes_the_place_of_the_port() {
    let written = Written::taken();
    for listen in ["a.listen(NNN, '0.0.0.0')", "a.listen({ port: NNN })", "a.listen(process.env.PORT)"] {
        let stand = Stand::new();
        let app = App { socket: Socket::Unix, ..redirected(&written.put_into(listen, "NNN")) };
        let process = stand.start(app).await;
        is_ready(&process).await;
        let InstanceAddress::Unix(path) = process.address() else { panic!("{:?}", process.address()) };
        assert_eq!(ask(&mut UnixStream::connect(path).await.unwrap()).await, "a");
        let path: PathBuf = path.clone();
        process.kill();
        process.ended().await;
        drop(process);
        stand.is_empty().await;
        assert!(!path.exists());
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn the_port_that_is_named_is_the_one() {
    let (written, other) = (Written::taken(), Written::free());
    let stand = Stand::new();
    let listen = other.put_into(&written.put_into("b.listen(MMM, () => a.listen(NNN))", "NNN"), "MMM");
    let process =
        stand.start(App { port: Port::Redirect(Some(written.lease.port())), ..redirected(&listen) }).await;
    is_ready(&process).await;
    assert_eq!(answer(port(&process)).await, "a");
    assert_eq!(answer(other.lease.port()).await, "b");
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_second_port_stays_in_the_first_instance_and_moves_in_others() {
    let (written, other) = (Written::taken(), Written::free());
    let listen = other.put_into(&written.put_into("a.listen(NNN); b.listen(MMM, '127.0.0.1')", "NNN"), "MMM");
    let stand = Stand::new();
    let first = stand.start_at(redirected(&listen), 0).await.unwrap();
    is_ready(&first).await;
    stand.line_with(&format!("listens 127.0.0.1 {}", other.lease.port())).await;
    assert_eq!(answer(other.lease.port()).await, "b");

    // Another instance, and one that takes the first one's place while that still runs.
    for (slot, why) in [(1, "belongs to the first instance"), (0, "is in use")] {
        let next = stand.start_at(redirected(&listen), slot).await.unwrap();
        is_ready(&next).await;
        assert_eq!(answer(port(&next)).await, "a");
        let said = stand.line_with(why).await;
        let at = said
            .rsplit("127.0.0.1:")
            .next()
            .and_then(|rest| rest.split(' ').next())
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(answer(at).await, "b", "{said}");
        drop(next);
    }
    drop(first);
    stand.is_empty().await;
}

/// Such as detect-port and its like: they try a port and leave it, or find it taken.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_second_port_that_comes_to_nothing_is_not_told_of() {
    for second in [
        // Closed as soon as it is open.
        "b.once('listening', () => b.close(() => console.error('over'))); b.listen(MMM, '127.0.0.1')",
        // Closed before, and a Unix socket listened on instead.
        "b.listen(MMM, '127.0.0.1'); b.close();
         b.listen(process.env.TIDELOCK_FOLDER + '/b', () => console.error('over'))",
        // Refused, because it listens already.
        "b.listen(process.env.TIDELOCK_FOLDER + '/b', () => console.error('over'));
         try { b.listen(MMM, '127.0.0.1') } catch {}",
    ] {
        let (written, other) = (Written::taken(), Written::free());
        let listen =
            other.put_into(&written.put_into(&format!("a.listen(NNN, () => {{ {second} }})"), "NNN"), "MMM");
        let stand = Stand::new();
        // In instance 1 a second port is moved.
        let process = stand.start_at(redirected(&listen), 1).await.unwrap();
        let said = stand.lines_until(|line| line.text() == "over").await;
        assert!(!said.iter().any(|line| line.contains("undefined")), "{second}: {said:#?}");
        drop(process);
        stand.is_empty().await;
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_helper_is_left_alone_and_a_successor_is_not() {
    let (written, other) = (Written::taken(), Written::free());
    let helper = "const again = () => require('child_process').spawn(process.execPath, process.execArgv,
            { env: { ...process.env, HELPER: 1 }, stdio: 'inherit' });
        if (process.env.HELPER) { b.listen(MMM, '127.0.0.1') } else { a.listen(NNN, again) }";
    let listen = other.put_into(&written.put_into(helper, "NNN"), "MMM");
    let stand = Stand::new();
    // In instance 1 a second port of the same process would be moved.
    let process = stand.start_at(redirected(&listen), 1).await.unwrap();
    is_ready(&process).await;
    stand.line_with(&format!("listens 127.0.0.1 {}", other.lease.port())).await;
    assert_eq!((answer(port(&process)).await, answer(other.lease.port()).await), ("a".into(), "b".into()));
    drop(process);
    stand.is_empty().await;

    // One after the other, as nodemon runs it.
    let stand = Stand::new();
    let once = format!("{}; setTimeout(() => {{}}, 1e6)", listens(&written.put_into("a.listen(NNN)", "NNN")));
    let env = [("ONCE".to_owned(), once), ("NODE_PATH".to_owned(), String::new())];
    let again =
        "node -e \"$ONCE\" & p=$!; trap 'kill -9 $p; wait $p; echo again; node -e \"$ONCE\" & p=$!' HUP
        while :; do sleep 0.01; done";
    let app = App { port: Port::Redirect(None), env: env.into(), ..crate::support::sh(again) };
    let process = stand.start(app).await;
    is_ready(&process).await;
    assert_eq!(answer(port(&process)).await, "a");
    process.signal(1);
    stand.line_with("again").await;
    is_ready(&process).await;
    assert_eq!(answer(port(&process)).await, "a");
    process.kill();
    process.ended().await;
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn all_workers_of_a_cluster_share_the_port() {
    let written = Written::taken();
    let listen = written.put_into(
        "const cluster = require('cluster');
         if (cluster.isPrimary) { cluster.fork(); cluster.fork() } else { a.listen(NNN, () => console.log('worker')) }",
        "NNN",
    );
    let stand = Stand::new();
    let file = stand.folder.path().join("cluster.cjs");
    std::fs::write(&file, listens(&listen)).unwrap();
    let command = vec!["node".to_owned(), file.to_str().unwrap().to_owned()];
    let process = stand.start(App { command, ..redirected("") }).await;
    let seen = std::cell::Cell::new(0);
    stand
        .lines_until(|line| {
            seen.set(seen.get() + usize::from(line.text() == "worker"));
            seen.get() == 2
        })
        .await;
    assert_eq!(answer(port(&process)).await, "a");
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn one_that_listens_elsewhere_is_explained() {
    let other = Written::free();
    let listen = other.put_into("a.listen(MMM, '127.0.0.1')", "MMM");
    let stand = Stand::new();
    let process = stand.start(App { port: Port::Env, ..redirected(&listen) }).await;
    stand.line_with("listens").await;
    let late = Instant::now() + Duration::from_millis(50);
    let said = until_ready(&process, &ReadyWhen::Port, late).await.unwrap_err().to_string();
    let (at, told) = (other.lease.port(), port(&process));
    for part in [
        "chat/0 is not ready after",
        &format!("nothing listens on 127.0.0.1:{told}"),
        &format!(
            "it listens on 127.0.0.1:{at}, not on 127.0.0.1:{told} (PORT): let the app listen on the port in PORT"
        ),
    ] {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    drop(process);
    stand.is_empty().await;
}
