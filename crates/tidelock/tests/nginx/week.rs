//! tidelock behind nginx for a week, and back again: the lines of docs/from-nginx.md with the test's own addresses.

use std::net::SocketAddr;
use std::path::Path;

use testkit::TIMEOUT;
use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::{Process, Signal};
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, directory};
use tokio::process::Command;
use tokio::time::Instant;

/// The first block of this language in the chapter.
fn block(language: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-nginx.md");
    let text = std::fs::read_to_string(path).expect("docs/from-nginx.md is there");
    let (_, chapter) = text.split_once("## tidelock behind nginx, for a week").expect("the chapter is there");
    let (_, block) = chapter.split_once(&format!("```{language}\n")).expect("it has such a block");
    block.split("```").next().unwrap_or_default().to_owned()
}

/// nginx's file around its upstream.
fn nginx_conf(upstream: &str, address: SocketAddr) -> String {
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path temp_{kind};\n"))
        .concat();
    format!(
        "user root;\ndaemon off;\nworker_processes 1;\npid nginx.pid;\nerror_log stderr notice;\nevents {{}}\n\
         http {{\naccess_log off;\n{folders}{upstream}\nserver {{\nlisten {address};\nlocation / {{\n\
         proxy_pass http://nodes;\nproxy_set_header Host $host;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\nproxy_http_version 1.1;\n\
         proxy_set_header Upgrade $http_upgrade;\nproxy_set_header Connection \"upgrade\";\n}}\n}}\n}}\n"
    )
}

/// The upstream as it was before: what is commented out in the documentation, and not tidelock.
fn before(upstream: &str) -> String {
    let kept = upstream.lines().filter(|line| !line.contains("8090"));
    kept.map(|line| format!("{}\n", line.replacen('#', "", 1))).collect()
}

async fn node() -> ScriptedOrigin {
    ScriptedOrigin::start(|request| {
        if request.header("upgrade").is_some() {
            return vec![
                Step::send(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n",
                ),
                Step::Close,
            ];
        }
        let said = ["x-forwarded-for", "x-forwarded-port"]
            .map(|name| request.header(name).unwrap_or("none").to_owned())
            .join(" ");
        let length = said.len();
        vec![Step::send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{said}"))]
    })
    .await
}

async fn ask(address: SocketAddr, lines: &str) -> Message {
    let mut client = RawConnection::connect(address).await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: chat.example.com\r\n{lines}\r\n")).await;
    if lines.is_empty() { client.read_message().await } else { client.read_head().await }
}

/// Asks until an answer says so; every answer on the way is a good one.
async fn until(nginx: &Process, address: SocketAddr, is_so: impl Fn(&str) -> bool) {
    let begun = Instant::now();
    loop {
        let answer = ask(address, "").await;
        assert_eq!(answer.status(), 200, "{}: {}", nginx.output(), answer.text());
        if is_so(&answer.text()) {
            return;
        }
        assert!(begun.elapsed() < TIMEOUT, "{}", answer.text());
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs nginx: `cargo xtask test`")]
async fn a_week_behind_nginx_and_back_again() {
    let (first, second) = (node().await, node().await);
    let at_home = |text: &str| {
        text.replace("127.0.0.1:3001", &first.address().to_string())
            .replace("127.0.0.1:3002", &second.address().to_string())
    };
    let (file, upstream) = (at_home(&block("toml")), at_home(&block("nginx")));
    let folder = directory();
    let address = testkit::port::free_address();
    let conf = folder.path().join("nginx.conf");
    std::fs::write(&conf, nginx_conf(&before(&upstream), address)).expect("a writable folder");
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-p").arg(folder.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
    let nginx = Process::spawn("nginx", command);
    nginx.wait_for_line(|line| line.contains("start worker process ") || line.contains("[emerg]")).await;
    // nginx alone says one address, and no port.
    until(&nginx, address, |text| text == "127.0.0.1 none").await;

    let mut tidelock =
        Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file.replace("127.0.0.1:8090", "127.0.0.1:0")).await;
    let mark = nginx.mark();
    let through = upstream.replace("127.0.0.1:8090", &tidelock.address().to_string());
    std::fs::write(&conf, nginx_conf(&through, address)).expect("a writable folder");
    nginx.signal(Signal::HUP);
    // The client is the one that nginx has seen, and tidelock stands between.
    until(&nginx, address, |text| text.starts_with("127.0.0.1, 127.0.0.1 ") && !text.ends_with("none")).await;
    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n";
    assert_eq!(ask(address, upgrade).await.status(), 101);

    std::fs::write(&conf, nginx_conf(&before(&upstream), address)).expect("a writable folder");
    nginx.signal(Signal::HUP);
    until(&nginx, address, |text| text == "127.0.0.1 none").await;
    // A worker of before takes connections for a moment longer.
    nginx.wait_for_lines_since(mark, 2, |line| line.contains("exited with code 0")).await;
    tidelock.process().signal(Signal::TERM);
    assert!(tidelock.process().exit().await.success());
    until(&nginx, address, |text| text == "127.0.0.1 none").await;
    nginx.signal(Signal::TERM);
}
