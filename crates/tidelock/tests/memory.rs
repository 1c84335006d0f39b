//! Goal: whatever strangers do, tidelock takes no more memory than `limits.memory`, and serves everybody when they are gone.
//! Method: nine attacks at once against a budget that they would take several times over, beside what the kernel says of the
//! process (the proportional set size).

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use testkit::TIMEOUT;
use testkit::certificates::Authority;
use testkit::origin::ScriptedOrigin;
use testkit::process::{Mark, Signal, tells};
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, directory};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const BINARY: &str = env!("CARGO_BIN_EXE_tidelock");
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
/// Of each attack.
const ATTACKERS: usize = 250;
/// Beside half as much again as the process takes at rest.
const ROOM: u64 = 8 << 20;

/// A node for attackers: it reads a little and answers without end, or takes a WebSocket and talks without end, or opens
/// sessions.
async fn accomplice() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((node, _)) = listener.accept().await {
            tokio::spawn(serve(node));
        }
    });
    address
}

async fn serve(mut node: TcpStream) {
    let mut asked = [0; 1024];
    let read = node.read(&mut asked).await.unwrap_or(0);
    let asked = String::from_utf8_lossy(&asked[..read]).into_owned();
    let chunk = [b"10000\r\n", &*vec![b'x'; 0x10000], b"\r\n"].concat();
    let frames = b"\x81\x01x".repeat(20_000);
    let (head, more) = if asked.contains("Upgrade") {
        let accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
        (format!("{head}Sec-WebSocket-Accept: {accept}\r\n\r\n"), Some(frames))
    } else if asked.starts_with("POST") {
        // Neither taken nor answered.
        (String::new(), None)
    } else {
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(), Some(chunk))
    };
    let _ = node.write_all(head.as_bytes()).await;
    match more {
        Some(more) => while node.write_all(&more).await.is_ok() {},
        None => std::future::pending().await,
    }
}

/// What each of the nine says, besides those who say nothing.
fn attacks() -> Vec<Vec<u8>> {
    let head = |line: &str, more: &str| format!("{line} HTTP/1.1\r\nHost: a\r\n{more}");
    let endless = head("GET /bad", "\r\n");
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let chunks = head("POST /bad", "Transfer-Encoding: chunked\r\n\r\n") + &"1\r\nx\r\n".repeat(20_000);
    vec![
        // A connection, and no word; over TLS a part of a hello.
        Vec::new(),
        b"\x16\x03\x01\x02\x00\x01".to_vec(),
        // Half of a long head.
        head("GET /", &format!("X: {}", "x".repeat(20_000))).into_bytes(),
        // Half of a short one.
        head("GET /", "X: ").into_bytes(),
        // A body that does not come to its end.
        (head("POST /bad", "Content-Length: 1000000\r\n\r\n") + &"x".repeat(100_000)).into_bytes(),
        // The same in chunks of a byte.
        chunks.into_bytes(),
        // An answer that nobody reads.
        endless.clone().into_bytes(),
        // And more and more requests behind it.
        endless.repeat(2000).into_bytes(),
        // A WebSocket that nobody reads, with small frames either way.
        [head("GET /bad", upgrade).as_bytes(), &b"\x81\x81\0\0\0\0x".repeat(10_000)].concat(),
    ]
}

async fn attack(address: SocketAddr, said: &[u8]) -> Option<TcpStream> {
    let connected = timeout(Duration::from_millis(200), TcpStream::connect(address)).await;
    let mut attacker = connected.ok()?.ok()?;
    // What is not taken is not waited for.
    let _ = timeout(Duration::from_millis(20), attacker.write_all(said)).await;
    Some(attacker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nine_attacks_at_once_take_no_more_memory_than_there_may_be() {
    let directory = directory();
    let files = Authority::new("test").issue(&["a.example"]).write(directory.path(), "a");
    let (origin, bad) = (ScriptedOrigin::answering(OK).await, accomplice().await);
    let config = format!(
        "workers = 2\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificate = {:?}, key = {:?} }}\n\
         [[route]]\nupstream = \"nodes\"\n[[route]]\npath = \"/bad\"\nupstream = \"bad\"\n\
         [upstream.nodes]\nnodes = [\"{}\"]\n[upstream.bad]\nnodes = [\"{bad}\"]\n",
        files.certificate,
        files.key,
        origin.address()
    );
    let mut proxy = Tidelock::start_in(directory, BINARY, &config).await;
    let [plain, secure] = [proxy.addresses()[0], proxy.addresses()[1]];
    assert_eq!(testkit::raw::get(plain, "/").await.text(), "ok");
    let budget = proxy.process().resident_memory() / 2 * 3 + ROOM;
    proxy.rewrite(&format!("{config}[limits]\nmemory = \"{budget}B\"\n"));
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_line(|line| tells(line, "reloaded")).await;
    // It is looked at now and then.
    let known = async { while proxy.status().await["memory_max"].as_u64() != Some(budget) {} };
    timeout(TIMEOUT, known).await.expect("the budget is in force");

    let (mut attackers, mut most) = (Vec::new(), 0);
    let attacks = attacks();
    for _ in 0..ATTACKERS {
        for (number, said) in attacks.iter().enumerate() {
            let address = if number == 1 { secure } else { plain };
            attackers.push(attack(address, said).await);
        }
        most = most.max(proxy.process().proportional_memory());
        let status = proxy.status().await;
        assert!(most < budget, "{most} of {budget} bytes: {status:#}");
    }
    let printed = proxy.process().lines_since(Mark::default());
    assert!(printed.iter().any(|line| line.contains("short of memory")), "{most} of {budget}");
    eprintln!("at most {} of {} KiB", most >> 10, budget >> 10);

    drop(attackers);
    let served = async {
        loop {
            let mut client = RawConnection::connect(plain).await;
            if client.try_ask(GET).await.is_ok_and(|answer| answer.text() == "ok") {
                return;
            }
        }
    };
    timeout(TIMEOUT, served).await.expect("there is room again");
    let overload = async { while proxy.status().await.get("overload").is_some() {} };
    timeout(TIMEOUT, overload).await.expect("and nothing is short any more");
}

/// A file with so many routes that tidelock takes more than the least budget there is.
fn large(node: &str, routes: usize) -> String {
    let routes: String = (0..routes)
        .map(|number| format!("[[route]]\npath = \"/{number}{}\"\nupstream = \"nodes\"\n", "x".repeat(100)))
        .collect();
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nupstream = \"nodes\"\n{routes}\
         [upstream.nodes]\nnodes = [\"{node}\"]\n"
    )
}

/// Whoever asks while the budget is used up is told so, and let go; it is counted, and seen.
#[tokio::test]
async fn while_memory_is_out_requests_are_503_and_verbs_go_on() {
    let origin = ScriptedOrigin::answering(OK).await;
    let plenty = large(&origin.address().to_string(), 12_000);
    let mut proxy = Tidelock::start(BINARY, &plenty).await;
    let mut kept = RawConnection::connect(proxy.address()).await;
    kept.send(GET).await;
    assert_eq!(kept.read_message().await.text(), "ok");
    let taken = proxy.process().resident_memory();
    proxy.rewrite(&format!("{plenty}[limits]\nmemory = \"{taken}B\"\n"));
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_line(|line| tells(line, "memory_out")).await;

    // One that rested may have been closed for want of memory; a new one comes in, slowly.
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET).await;
    let answer = client.read_message().await;
    assert_eq!((answer.status(), answer.header("connection")), (503, Some("close")), "{answer:?}");
    let status = proxy.status().await;
    assert!(status["overload"].as_str().is_some_and(|cause| cause.contains("memory")), "{status:#}");
    let refused = |worker: &Value| worker["faults"]["out of memory (`limits.memory`)"].as_u64();
    let workers = status["workers"].as_array().expect("there are workers");
    assert_eq!(workers.iter().filter_map(refused).sum::<u64>(), 1, "{status:#}");

    proxy.rewrite(&plenty);
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_line(|line| tells(line, "memory_enough")).await;
    assert_eq!(testkit::raw::get(proxy.address(), "/").await.text(), "ok");
}

#[tokio::test]
async fn a_budget_that_is_taken_at_rest_is_warned_of_at_start_and_after_a_reload() {
    let large = large("127.0.0.1:1", 6_000);
    let config = |mib: usize| format!("{large}[limits]\nmemory = \"{mib}MiB\"\n");
    let mut proxy = Tidelock::start(BINARY, &config(16)).await;
    let warned = |line: &str, mib: usize| {
        tells(line, "memory_too_little")
            && line.contains(&format!("may take {mib} MiB of memory, and takes "))
    };
    proxy.process().wait_for_line(|line| warned(line, 16)).await;
    proxy.rewrite(&config(17));
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_line(|line| warned(line, 17)).await;
    let printed = proxy.process().lines_since(Mark::default());
    assert_eq!(printed.iter().filter(|line| tells(line, "memory_too_little")).count(), 2, "{printed:#?}");
}
