//! Goal: a folder's files are answered as nginx answers them, but for listed reasons, and nothing outside of it ever is.
//! Method: the real binary and a real nginx over one folder, asked the same; and the tricks of path traversal.

mod app;
mod beside_nginx;
mod tricks;

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;
use testkit::TIMEOUT;
use testkit::message::Message;
use testkit::tidelock::{Tidelock, directory};

/// A folder as build tools leave it, with a neighbour that nobody may see.
fn tree() -> TempDir {
    let root = directory();
    let dist = root.path().join("dist");
    for folder in ["dist/assets", "dist/docs", "dist/empty", "dist/.git", "dist/.well-known"] {
        fs::create_dir_all(root.path().join(folder)).expect("a folder of the test's own");
    }
    let write = |name: &str, bytes: &[u8]| {
        let path = root.path().join(name);
        fs::write(&path, bytes).expect("a file of the test's own");
        // Long ago, at a whole second.
        let file = fs::File::options().write(true).open(&path).expect("it is there");
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(784_111_777))
            .expect("times can be set");
    };
    let long: Vec<u8> = (0..300_000_u32).map(|at| b'a' + (at % 26) as u8).collect();
    write("secret.txt", b"secret");
    write("dist/index.html", b"<p>index");
    write("dist/hello.txt", b"hello");
    write("dist/empty.txt", b"");
    write("dist/a b.txt", b"blank");
    write("dist/caf\u{e9}.txt", b"accent");
    write("dist/100%.txt", b"percent");
    write("dist/long.txt", &long);
    write("dist/pixel.png", b"\x89PNG");
    write("dist/data.json", b"{}");
    write("dist/assets/app.3f2a9c1b.js", b"let a = 1;");
    write("dist/assets/app.3f2a9c1b.js.gz", b"gz");
    write("dist/assets/app.3f2a9c1b.js.br", b"br");
    write("dist/docs/index.html", b"<p>docs");
    write("dist/.env", b"secret");
    write("dist/.git/config", b"secret");
    write("dist/.well-known/acme", b"token");
    symlink("../secret.txt", dist.join("out.txt")).expect("a link of the test's own");
    symlink("/etc/passwd", dist.join("passwd")).expect("a link of the test's own");
    symlink("..", dist.join("up")).expect("a link of the test's own");
    symlink("hello.txt", dist.join("in.txt")).expect("a link of the test's own");
    root
}

/// tidelock over `dist` in `root`, with more keys of its route.
async fn serve(root: TempDir, route: &str) -> Tidelock {
    let file = format!("[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nfiles = \"dist\"\n{route}");
    Tidelock::start_in(root, env!("CARGO_BIN_EXE_tidelock"), &file).await
}

/// One request on a connection of its own, which its answer ends. Asked by a thread, so that another server's Unix socket
/// can be asked the same way.
fn ask(address: SocketAddr, request: &str) -> Message {
    let mut stream = TcpStream::connect(address).expect("it listens");
    converse(&mut stream, request)
}

fn converse(stream: &mut (impl Read + Write), request: &str) -> Message {
    stream.write_all(request.as_bytes()).expect("it takes a request");
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("it answers");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("it answers with a head") + 4;
    let body = bytes.split_off(end);
    let mut message = Message::from_head(bytes);
    message.body = body;
    message
}

fn get(path: &str, lines: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n{lines}\r\n")
}

/// Asks again and again, for as long as anything may take.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = tokio::time::Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < TIMEOUT, "never: {what}");
        std::thread::yield_now();
    }
}

fn nginx_is_there() -> bool {
    Path::new("/usr/sbin/nginx").exists()
}
