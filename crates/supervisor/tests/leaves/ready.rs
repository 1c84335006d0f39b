//! When an app counts as ready.

use std::time::Duration;

use config::app::{App, Port, ReadyWhen};
use supervisor::ready::until_ready;
use testkit::TIMEOUT;
use tokio::time::Instant;

use crate::support::{Stand, in_time, listens, node};

fn serves(listen: &str) -> App {
    App { port: Port::Redirect(None), ..node(&listens(listen)) }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn http_is_ready_when_the_status_is_the_wanted_one() {
    let stand = Stand::new();
    let listen = "let asked = 0; a.removeAllListeners('request').on('request', (request, answer) => {
        answer.statusCode = ++asked < 3 ? 503 : 204; console.log(request.url, answer.statusCode); answer.end() }).listen(3000)";
    let process = stand.start(serves(listen)).await;
    let http = |status| ReadyWhen::Http { path: "/health?x=1".to_owned(), status };
    until_ready(&process, &http(None), Instant::now() + TIMEOUT).await.unwrap();
    assert_eq!(stand.lines(4).await[1..], ["/health?x=1 503", "/health?x=1 503", "/health?x=1 204"]);
    until_ready(&process, &http(Some(204)), Instant::now() + TIMEOUT).await.unwrap();
    let soon = Instant::now() + Duration::from_millis(100);
    let said = until_ready(&process, &http(Some(200)), soon).await.unwrap_err().to_string();
    assert!(said.ends_with("GET /health?x=1 was answered 204"), "{said}");
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn engine_io_is_ready_when_a_session_opens_and_it_is_closed_again() {
    let stand = Stand::new();
    let listen = "const io = new (require('socket.io').Server)(a);
        io.engine.on('connection', (socket) => socket.on('close', (why) => console.log('closed', why)));
        a.listen(3000)";
    let process = stand.start(serves(listen)).await;
    let when = ReadyWhen::EngineIo { path: "/socket.io/".to_owned() };
    until_ready(&process, &when, Instant::now() + TIMEOUT).await.unwrap();
    assert_eq!(stand.line_with("closed").await, "closed transport close");
    drop(process);
    stand.is_empty().await;
}

/// An app is not asked to end a connection before its answer counts: there are servers that never do.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_answer_counts_when_it_is_whole() {
    let stand = Stand::new();
    let listen = r#"a.close(); require('net').createServer((socket) => socket.on('data', () =>
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'))).listen(3000)"#;
    let process = stand.start(serves(listen)).await;
    let when = ReadyWhen::Http { path: "/".to_owned(), status: None };
    // The connection stays open: the attempt that waits for its end is given up, and so is each after it.
    until_ready(&process, &when, Instant::now() + TIMEOUT).await.unwrap();
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_app_without_engine_io_is_told_so() {
    let stand = Stand::new();
    let process = stand.start(serves("a.listen(3000)")).await;
    stand.line_with("listens").await;
    let when = ReadyWhen::EngineIo { path: "/socket.io/".to_owned() };
    let said = until_ready(&process, &when, Instant::now() + Duration::from_millis(100))
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("was answered 200, and not by an Engine.IO handshake"), "{said}");
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn told_is_ready_when_it_says_so() {
    let stand = Stand::new();
    let app = |script: &str| App {
        ready: config::app::Ready { when: ReadyWhen::Message, deadline: TIMEOUT },
        ..node(script)
    };
    let silent = stand
        .start(app("setTimeout(() => {}, 1e6); process.send('readily'); process.send({ ready: 1 })"))
        .await;
    let soon = Instant::now() + Duration::from_millis(100);
    let said = until_ready(&silent, &ReadyWhen::Message, soon).await.unwrap_err().to_string();
    assert!(said.ends_with("it has not said process.send('ready')"), "{said}");
    let says = stand
        .start(app("process.send('ready', () => process.disconnect()); setTimeout(() => {}, 1e6)"))
        .await;
    in_time("ready", until_ready(&says, &ReadyWhen::Message, Instant::now() + TIMEOUT)).await.unwrap();
    drop((silent, says));
    stand.is_empty().await;
}
