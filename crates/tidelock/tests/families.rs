//! Goal: where every interface is meant, clients come in by IPv4 and by IPv6, and nodes see their addresses as they are.
//! Method: the real binary with a port on every interface, asked at 127.0.0.1 and at ::1.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use testkit::origin::{ScriptedOrigin, Step};
use testkit::port;
use testkit::raw::get;
use testkit::tidelock::Tidelock;
use tokio::process::Command;

#[tokio::test]
async fn every_interface_is_those_of_both_families() {
    let origin = ScriptedOrigin::start(|request| {
        let client = request.header("X-Forwarded-For").unwrap_or_default().to_owned();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", client.len());
        vec![Step::send(&(head + &client))]
    })
    .await;
    for written in [":0", "*:0", "[::]:0"] {
        let file = format!(
            "[[listen]]\naddress = \"{written}\"\n[[route]]\nupstream = \"nodes\"\n[upstream.nodes]\nnodes = [\"{}\"]\n",
            origin.address()
        );
        let tidelock = Tidelock::start(TIDELOCK, &file).await;
        let port = tidelock.address().port();
        for ip in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
            let answer = get(SocketAddr::new(ip, port), "/").await;
            assert_eq!((answer.status(), answer.text()), (200, ip.to_string()), "{written} at {ip}");
        }
    }
}

#[tokio::test]
async fn a_reload_moves_between_addresses_that_overlap_and_refuses_nobody() {
    let port = port::free();
    for workers in [1, 2] {
        let file = |addresses: &[&str]| {
            let listen = |ip: &&str| format!("[[listen]]\naddress = \"{ip}:{port}\"\n");
            let listens: String = addresses.iter().map(listen).collect();
            format!("workers = {workers}\n{listens}[[route]]\nrespond = \"health\"\n")
        };
        let tidelock = Tidelock::start(TIDELOCK, &file(&["127.0.0.1"])).await;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let is_over = Arc::new(AtomicBool::new(false));
        let connecting = thread::spawn({
            let is_over = is_over.clone();
            move || {
                while !is_over.load(Relaxed) {
                    TcpStream::connect(address)?;
                }
                Ok::<(), std::io::Error>(())
            }
        });
        for ip in ["", "0.0.0.0", "127.0.0.1", "0.0.0.0", "[::]", "127.0.0.1"] {
            tidelock.rewrite(&file(&[ip]));
            let said = reload(&tidelock).await;
            assert!(said.status.success(), "to {ip}: {said:?}");
            assert_eq!(get(address, "/").await.status(), 200, "{ip}");
        }
        // What does not go together at a start does not at a reload.
        tidelock.rewrite(&file(&["0.0.0.0", "127.0.0.1"]));
        assert_eq!(reload(&tidelock).await.status.code(), Some(1));
        assert_eq!(get(address, "/").await.status(), 200);
        is_over.store(true, Relaxed);
        connecting.join().expect("it does not panic").expect("nobody is refused");
    }
}

async fn reload(tidelock: &Tidelock) -> Output {
    let mut command = Command::new(TIDELOCK);
    command.arg("reload").env("XDG_RUNTIME_DIR", tidelock.directory()).kill_on_drop(true);
    command.output().await.expect("the binary can be run")
}

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");
