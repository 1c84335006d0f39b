//! Goal: nobody can take all places. Method: attackers on one loopback address, honest clients on another, a tidelock with
//! few places, and its own counts of whom it has sent away.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use testkit::TIMEOUT;
use testkit::certificates::Authority;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::{FilePlan, Tidelock, config_for, directory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::Command;
use tokio::time::timeout;

const BINARY: &str = env!("CARGO_BIN_EXE_tidelock");
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// Where attackers come from; honest clients have 127.0.0.1.
const ATTACKER: [u8; 4] = [127, 0, 0, 2];

async fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::from(from), 0))).expect("all of 127.0.0.0/8 is here");
    socket.connect(to).await.expect("the kernel lets it in")
}

/// Asks, and gives the first bytes of the answer; none if it is closed instead.
async fn ask(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 1024];
    if stream.write_all(GET.as_bytes()).await.is_err() {
        return String::new();
    }
    let read = timeout(TIMEOUT, stream.read(&mut answer)).await.expect("an answer or an end");
    String::from_utf8_lossy(&answer[..read.unwrap_or(0)]).into_owned()
}

async fn verb(proxy: &Tidelock, words: &[&str]) -> Output {
    let mut verb = Command::new(BINARY);
    verb.args(words).env("XDG_RUNTIME_DIR", proxy.directory()).kill_on_drop(true);
    timeout(TIMEOUT, verb.output()).await.expect("the verb ends").expect("tidelock can be run")
}

/// The sum over all workers of a count that has several parts.
async fn count(proxy: &Tidelock, name: &str) -> Vec<u64> {
    let status: Value =
        serde_json::from_slice(&verb(proxy, &["status", "--json"]).await.stdout).expect("JSON");
    let workers = status["workers"].as_array().expect("there are workers");
    let of = |worker: &Value| {
        let parts = worker[name].as_array().unwrap_or_else(|| panic!("{name} in {worker:#}"));
        parts.iter().map(|part| part.as_u64().expect("a number")).collect::<Vec<_>>()
    };
    let sum = |sum: Vec<u64>, next: Vec<u64>| sum.iter().zip(next).map(|(a, b)| a + b).collect();
    workers.iter().map(of).reduce(sum).expect("there are workers")
}

async fn honest_clients_are_served(proxy: &Tidelock, clients: usize) {
    for number in 0..clients {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(GET).await;
        assert_eq!(client.read_message().await.text(), "ok", "client {number}");
    }
}

/// Whoever says nothing has to go when somebody comes who does.
#[tokio::test]
async fn silent_connections_keep_nobody_out() {
    for workers in [1, 4] {
        let origin = ScriptedOrigin::answering(OK).await;
        let more = format!("workers = {workers}\n{}", config_for(&[origin.address()]));
        let proxy = Tidelock::start(BINARY, &format!("{more}[limits]\nconnections_max = 60\n")).await;
        let mut silent = Vec::new();
        for _ in 0..200 {
            silent.push(connect_from(ATTACKER, proxy.address()).await);
        }
        honest_clients_are_served(&proxy, 20).await;
        let displaced = count(&proxy, "displaced").await;
        assert!(displaced[1] > 0, "{displaced:?}");
    }
}

/// Whoever rests between two requests goes first.
#[tokio::test]
async fn resting_connections_keep_nobody_out() {
    let origin = ScriptedOrigin::answering(OK).await;
    let config = format!("{}[limits]\nconnections_max = 60\n", config_for(&[origin.address()]));
    let proxy = Tidelock::start(BINARY, &format!("workers = 2\n{config}")).await;
    let mut resting = Vec::new();
    for _ in 0..100 {
        let mut client = connect_from(ATTACKER, proxy.address()).await;
        assert!(ask(&mut client).await.ends_with("ok"));
        resting.push(client);
    }
    honest_clients_are_served(&proxy, 20).await;
    let displaced = count(&proxy, "displaced").await;
    assert!(displaced[0] > 0 && displaced[1] == 0, "{displaced:?}");
}

/// Over TLS they cannot be parked, and a handshake that does not go on is no different from silence.
#[tokio::test]
async fn over_tls_neither() {
    let directory = directory();
    let authority = Authority::new("test");
    let files = authority.issue(&["a.example"]).write(directory.path(), "a");
    let origin = ScriptedOrigin::answering(OK).await;
    let config = FilePlan::to_addresses([origin.address()]).tls(&files).text();
    let config = format!("workers = 2\n{config}[limits]\nconnections_max = 20\n");
    let proxy = Tidelock::start_in(directory, BINARY, &config).await;
    let ask = async || {
        let mut client =
            RawConnection::connect_tls(proxy.address(), "a.example", authority.client(&[])).await.unwrap();
        client.send(GET).await;
        assert_eq!(client.read_message().await.text(), "ok");
        client
    };
    let mut attackers = Vec::new();
    for _ in 0..60 {
        attackers.push(connect_from(ATTACKER, proxy.address()).await);
    }
    // Nor do those who rest after an answer.
    let mut resting = Vec::new();
    for _ in 0..40 {
        resting.push(ask().await);
    }
    let displaced = count(&proxy, "displaced").await;
    assert!(displaced.iter().all(|&displaced| displaced > 0), "{displaced:?}");
}

/// A bound that the file sets holds for each address by itself, and not for proxies that are trusted.
#[tokio::test]
async fn a_client_has_so_many_connections_and_a_trusted_proxy_any_number() {
    let origin = ScriptedOrigin::answering(OK).await;
    let config = format!(
        "trusted_proxies = [\"127.0.0.3\"]\n{}[limits]\nconnections_per_client_max = 3\n",
        config_for(&[origin.address()])
    );
    let proxy = Tidelock::start(BINARY, &config).await;
    let mut inside = Vec::new();
    for (from, connections, answered) in [(ATTACKER, 5, 3), ([127, 0, 0, 3], 10, 10), ([127, 0, 0, 4], 3, 3)]
    {
        let mut answers = 0;
        for _ in 0..connections {
            let mut client = connect_from(from, proxy.address()).await;
            answers += usize::from(ask(&mut client).await.ends_with("ok"));
            inside.push(client);
        }
        assert_eq!(answers, answered, "{from:?}");
    }
    assert_eq!(count(&proxy, "refused").await, [2, 0, 0]);
    // Who has gone makes room for another one of the same address.
    inside.clear();
    let room = async {
        let mut client = connect_from(ATTACKER, proxy.address()).await;
        while !ask(&mut client).await.ends_with("ok") {
            client = connect_from(ATTACKER, proxy.address()).await;
        }
    };
    timeout(TIMEOUT, room).await.expect("there is room again");
}

#[tokio::test]
async fn a_client_connects_and_shakes_hands_only_so_fast() {
    let directory = directory();
    let authority = Authority::new("test");
    let files = authority.issue(&["a.example"]).write(directory.path(), "a");
    let origin = ScriptedOrigin::answering(OK).await;
    let config = FilePlan::to_addresses([origin.address()]).tls(&files).text();
    let limits = "[limits]\nclient_connections_per_second_max = 20\nclient_handshakes_per_second_max = 10\n";
    let proxy = Tidelock::start_in(directory, BINARY, &format!("{config}{limits}")).await;
    let mut clients = Vec::new();
    for _ in 0..200 {
        clients.push(connect_from(ATTACKER, proxy.address()).await);
    }
    let refused = async {
        loop {
            let refused = count(&proxy, "refused").await;
            if refused[1] > 0 && refused[2] > 0 {
                return;
            }
        }
    };
    timeout(TIMEOUT, refused).await.expect("both are counted");
    // Another address has its own.
    let honest = RawConnection::connect_tls(proxy.address(), "a.example", authority.client(&[])).await;
    assert!(honest.is_ok());
}

/// Bodies that nobody reads lend the pipes they are poured through, and each client has two files.
#[tokio::test]
async fn with_few_files_and_many_clients_verbs_still_work() {
    let body = "x".repeat(4 << 20);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let origin = ScriptedOrigin::answering(&answer).await;
    let directory = directory();
    let wrapped = directory.path().join("wrapped");
    std::fs::write(&wrapped, format!("#!/bin/sh\nulimit -n 200\nexec {BINARY} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&wrapped, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = format!("workers = 2\n{}", config_for(&[origin.address()]));
    let proxy = Tidelock::start_in(directory, Path::new(&wrapped), &config).await;
    let mut clients = Vec::new();
    for _ in 0..500 {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(GET).await;
        clients.push(client);
    }
    // As many as it takes have their answers begun.
    origin.until_requests(40).await;
    for _ in 0..5 {
        let status = verb(&proxy, &["status"]).await;
        assert!(status.status.success(), "{status:?}");
        let reloaded = verb(&proxy, &["reload"]).await;
        assert!(reloaded.status.success(), "{reloaded:?}");
    }
}

/// What was refused, and why, is counted.
#[tokio::test]
async fn refusals_are_counted_by_their_reason() {
    let origin = ScriptedOrigin::answering(OK).await;
    let proxy = Tidelock::start(BINARY, &format!("workers = 1\n{}", config_for(&[origin.address()]))).await;
    for (request, times) in
        [("GET / HTTP/1.1\r\n\r\n", 2), ("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 1), (GET, 3)]
    {
        for _ in 0..times {
            let mut client = RawConnection::connect(proxy.address()).await;
            client.send(request).await;
            client.read_message().await;
        }
    }
    let status = proxy.status().await;
    let faults = &status["workers"][0]["faults"];
    assert_eq!(*faults, serde_json::json!({ "Host is missing": 2, "HTTP version not supported": 1 }));
    let shown = String::from_utf8(verb(&proxy, &["status"]).await.stdout).expect("text");
    assert!(shown.contains("since the start: 2 Host is missing, 1 HTTP version not supported"), "{shown}");
}

/// Whoever looks sees what there is too little of, for as long as that is so.
#[tokio::test]
async fn an_overload_is_told_with_its_cause_and_goes_away() {
    let held = ScriptedOrigin::start(|_| vec![Step::Hold, Step::send(OK)]).await;
    let config = format!("workers = 2\n{}[limits]\nconnections_max = 6\n", config_for(&[held.address()]));
    let proxy = Tidelock::start(BINARY, &config).await;
    let table = async || String::from_utf8(verb(&proxy, &["status"]).await.stdout).expect("text");
    assert_eq!(proxy.status().await.get("overload"), None);
    assert!(!table().await.contains("OVERLOADED"));

    let mut busy = Vec::new();
    for _ in 0..6 {
        let mut client = RawConnection::connect(proxy.address()).await;
        client.send(GET).await;
        busy.push(client);
    }
    held.until_requests(6).await;
    let status = proxy.status().await;
    let cause = status["overload"].as_str().unwrap_or_else(|| panic!("a cause in {status:#}"));
    assert!(cause.starts_with("all 6 places for connections are taken"), "{cause}");
    assert!(table().await.contains(&format!("OVERLOADED: {cause}\n")));

    drop(busy);
    let gone = async { while proxy.status().await.get("overload").is_some() {} };
    timeout(TIMEOUT, gone).await.expect("it is over once they have gone");
    assert!(!table().await.contains("OVERLOADED"));
}
