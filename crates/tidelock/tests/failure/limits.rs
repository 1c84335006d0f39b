//! Files and connections run out, and come back; connections are spread evenly over workers; and an address is one
//! tidelock's.

use std::process::Stdio;

use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::tells;
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, config_for};

use crate::{GET, OK, WEBSOCKET, answering, start, switched};

/// Without a route no node is needed, and a connection costs one file.
const ROUTELESS: &str = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nhost = \"nowhere\"\nupstream = \"nodes\"\n\
                         [upstream.nodes]\nnodes = [\"127.0.0.1:1\"]\n";

async fn asking(proxy: &Tidelock) -> RawConnection {
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET).await;
    client
}

#[tokio::test]
async fn running_out_of_files_harms_nobody_who_is_in() {
    let mut proxy =
        Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &format!("workers = 1\n{ROUTELESS}")).await;
    let mut inside = asking(&proxy).await;
    assert_eq!(inside.read_message().await.status(), 404);
    proxy.process().limit_files(3);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(asking(&proxy).await);
    }
    proxy.process().wait_for_line(|line| tells(line, "accept_failed")).await;
    for _ in 0..3 {
        inside.send(GET).await;
        assert_eq!(inside.read_message().await.status(), 404);
    }
    // Who got in is answered; when one leaves, the next gets in.
    for mut client in clients {
        assert_eq!(client.read_message().await.status(), 404);
    }
    let complaints = proxy.process().lines_since(Default::default());
    let complaints = complaints.iter().filter(|line| tells(line, "accept_failed")).count();
    assert!(complaints <= 2, "{complaints} complaints: one in ten seconds is enough");
}

/// A node that cannot be connected to for want of a file is not at fault.
#[tokio::test]
async fn without_a_file_for_the_node_a_request_is_a_503() {
    let origin = answering().await;
    let config = config_for(&[origin.address()]).replace("[[route]]", "[[route]]\nhost = \"a\"");
    let mut proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &format!("workers = 1\n{config}")).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send(GET.replace("Host: a", "Host: elsewhere")).await;
    assert_eq!(client.read_message().await.status(), 404, "it is in, and needed no node for that");
    proxy.process().limit_files(0);
    client.send(GET).await;
    let answer = client.read_message().await;
    assert_eq!((answer.status(), answer.text().as_str()), (503, "503 Service Unavailable\n"));
    proxy.process().limit_files(100);
    client.send(GET).await;
    assert_eq!(client.read_message().await.text(), "ok");
    assert!(!proxy.process().output().contains("node down"));
}

/// A shell and systemd give a soft limit of 1024 and a hard one far above it, which is ours to use.
#[tokio::test]
async fn the_soft_limit_of_files_is_raised_to_the_hard_one() {
    let directory = testkit::tidelock::directory();
    let wrapped = directory.path().join("wrapped");
    let script = format!("#!/bin/sh\nulimit -S -n 256\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_tidelock"));
    std::fs::write(&wrapped, script).unwrap();
    std::fs::set_permissions(&wrapped, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let origin = answering().await;
    let proxy = Tidelock::start(&wrapped, &config_for(&[origin.address()])).await;
    let mut clients = Vec::new();
    for _ in 0..150 {
        let mut client = asking(&proxy).await;
        assert_eq!(client.read_message().await.status(), 200);
        clients.push(client);
    }
}

#[tokio::test]
async fn beyond_the_bound_a_connection_waits_for_another_to_end() {
    let origin = ScriptedOrigin::start(|request| match request.start.contains("/ws") {
        true => vec![switched(), Step::Echo],
        false => vec![Step::send(OK)],
    })
    .await;
    let proxy = start(&[origin.address()], "[limits]\nconnections_max = 2\n").await;
    let mut first = RawConnection::connect(proxy.address()).await;
    first.send(WEBSOCKET).await;
    assert_eq!(first.read_head().await.status(), 101);
    let mut second = asking(&proxy).await;
    assert_eq!(second.read_message().await.status(), 200);
    let mut third = asking(&proxy).await;
    second.send(GET).await;
    assert_eq!(second.read_message().await.status(), 200);
    assert_eq!(origin.requests().len(), 3, "the third is not in");
    // A tunnel counts as long as it lives.
    drop(first);
    assert_eq!(third.read_message().await.status(), 200);
}

/// Each worker accepts on a socket of its own, and takes no place from the others while it waits on it.
#[tokio::test]
async fn all_places_can_be_had_whichever_worker_a_connection_meets() {
    let config = format!("workers = 4\n{ROUTELESS}[limits]\nconnections_max = 3\n");
    let proxy = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &config).await;
    let mut inside = Vec::new();
    for _ in 0..20 {
        while inside.len() < 3 {
            inside.push(asking(&proxy).await);
        }
        for client in &mut inside {
            assert_eq!(client.read_message().await.status(), 404);
        }
        inside.clear();
    }
}

/// With several workers an address has several sockets, which must not make it one that anybody can have.
#[tokio::test]
async fn a_second_tidelock_on_the_same_address_is_refused() {
    for workers in [1, 4] {
        let file = format!("workers = {workers}\n{ROUTELESS}");
        let first = Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &file).await;
        let directory = testkit::tidelock::directory();
        let path = directory.path().join("tidelock.toml");
        std::fs::write(&path, file.replace("127.0.0.1:0", &first.address().to_string())).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tidelock"));
        command.arg(&path).env("XDG_RUNTIME_DIR", directory.path()).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(testkit::TIMEOUT, command.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot listen") && said.contains("another process has it"), "{said}");
        assert_eq!(asking(&first).await.read_message().await.status(), 404);
    }
}

/// Tunnels live for hours, so that an uneven spread would stay. Each worker's runtime has an epoll of its own, which
/// the kernel shows from outside.
#[tokio::test]
async fn a_thousand_sockets_spread_evenly_over_eight_workers() {
    let mut proxy =
        Tidelock::start(env!("CARGO_BIN_EXE_tidelock"), &format!("workers = 8\n{ROUTELESS}")).await;
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.push(RawConnection::connect(proxy.address()).await);
    }
    for client in &mut clients {
        client.send(GET).await;
    }
    for client in &mut clients {
        assert_eq!(client.read_message().await.status(), 404);
    }
    let mut spread = proxy.process().watched_by_epolls();
    // The control thread's own, which watches no client.
    spread.retain(|&watched| watched > 20);
    assert_eq!(spread.len(), 8, "{spread:?}");
    let (least, most) = (spread.iter().min().unwrap(), spread.iter().max().unwrap());
    assert!(*most <= least + least / 16 + 2, "{spread:?}");
}
