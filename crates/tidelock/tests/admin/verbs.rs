//! What each verb does, and what it says.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;
use testkit::certificates::Authority;
use testkit::origin::{Absent, Origin, ScriptedOrigin, Step};
use testkit::process::{Process, Signal, tells};
use testkit::raw::{RawConnection, get};
use testkit::tidelock::{Tidelock, directory, listening};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::{
    ADMIN, LISTEN, NOT_APPLIED, TIDELOCK, Tunnel, applied, file, origin_that_says, run, said, socket_of, verb,
};

#[tokio::test]
async fn status_shows_every_node() {
    let (origin, gone) = (origin_that_says("a").await, Absent::bind());
    let nodes = [origin.address(), gone.address()];
    // One worker asks the nodes in turn.
    let mut proxy = Tidelock::start(TIDELOCK, &format!("workers = 1\n{}", file(&nodes, ADMIN))).await;
    for _ in 0..2 {
        assert_eq!(get(proxy.address(), "/").await.status(), 200);
    }
    let said = verb(&proxy, &["status", "--json"]).await;
    let status: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"));
    assert_eq!((said.code, &*said.stderr), (0, ""));
    assert_eq!(status["pid"], proxy.process().pid());
    assert_eq!(status["leaving"], false);
    assert_eq!(status["upstreams"][0]["name"], "nodes");
    let shown = &status["upstreams"][0]["nodes"];
    assert_eq!((&shown[0]["node"], &shown[0]["state"]), (&nodes[0].to_string().into(), &"up".into()));
    assert_eq!((&shown[1]["node"], &shown[1]["state"]), (&nodes[1].to_string().into(), &"down".into()));
    for count in ["sessions", "tunnels", "in_flight"] {
        assert_eq!(shown[0][count], 0, "{count}: {status}");
    }
    let exchanges: u64 =
        status["workers"].as_array().unwrap().iter().filter_map(|worker| worker["exchanges"].as_u64()).sum();
    assert_eq!(exchanges, 2);

    let table = verb(&proxy, &["status"]).await;
    let lines: Vec<Vec<&str>> = table.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(table.code, 0);
    assert_eq!(lines[2][..4], ["UPSTREAM", "NODE", "STATE", "CAUSE"], "{table:?}");
    assert_eq!(lines[3][..3], ["nodes", &*nodes[0].to_string(), "up"], "{table:?}");
    assert_eq!(lines[4][..3], ["nodes", &*nodes[1].to_string(), "down"], "{table:?}");
}

#[tokio::test]
async fn a_reload_touches_only_what_the_file_changes() {
    let (held, other, late) =
        (Origin::bind().await, origin_that_says("other").await, origin_that_says("late").await);
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let folder = directory();
    let _ = old.issue(&["localhost"]).write(folder.path(), "site");
    // The node that comes is to get the next session, and not only its share of those that follow.
    let at_once = "[upstream.nodes.health]\nslow_start = \"0s\"\n";
    let tls = format!("{at_once}{LISTEN}tls = {{ certificate = \"site.pem\", key = \"site.key\" }}\n{ADMIN}");
    let held_node = held.address();
    let mut proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[held_node], &tls)).await;
    let mut tunnel = Tunnel::open(&proxy, &held).await;
    tunnel.is_alive().await;
    let secure = proxy.addresses()[1];
    assert!(RawConnection::connect_tls(secure, "localhost", old.client(&[])).await.is_ok());

    // A listen, a route, an upstream, a node and a certificate come.
    let _ = new.issue(&["localhost"]).write(proxy.directory(), "site");
    let route = format!(
        "[[route]]\npath = \"/other\"\nupstream = \"other\"\n[upstream.other]\nnodes = [\"{}\"]\n",
        other.address(),
    );
    let nodes = [held_node, late.address()];
    let mark = proxy.process().mark();
    proxy.rewrite(&file(&nodes, &format!("{tls}{route}{LISTEN}")));
    let expected = format!(
        "listen + 127.0.0.1:0 (http)\nupstream + other ({})\nupstream nodes: + {}\nroute + 2 (path /other)",
        other.address(),
        late.address(),
    );
    assert_eq!(verb(&proxy, &["reload"]).await, applied(&proxy, &expected));
    let added = listening(proxy.process(), mark, 1).await[0];
    assert_eq!(get(added, "/other").await.text(), "other");
    assert_eq!(get(proxy.address(), "/other").await.text(), "other");
    // The other node has a session already, so that this one begins on the new node.
    assert_eq!(get(proxy.address(), "/socket.io/?EIO=4&transport=polling").await.text(), "late");
    assert!(RawConnection::connect_tls(secure, "localhost", new.client(&[])).await.is_ok());
    assert!(RawConnection::connect_tls(secure, "localhost", old.client(&[])).await.is_err());
    tunnel.is_alive().await;

    // All of them go.
    proxy.rewrite(&file(&[held_node], &tls));
    let expected = format!(
        "listen - 127.0.0.1:0 (http)\nupstream - other ({})\nupstream nodes: - {}\nroute - 2 (path /other)",
        other.address(),
        late.address(),
    );
    assert_eq!(verb(&proxy, &["reload"]).await, applied(&proxy, &expected));
    assert!(TcpStream::connect(added).await.is_err(), "nobody listens there any more");
    tunnel.is_alive().await;

    // The tunnel's own node goes, and the tunnel politely with it.
    proxy.rewrite(&file(&[late.address()], &format!("{tls}[drain]\nwindow = \"0s\"\n")));
    let reloaded = verb(&proxy, &["reload"]).await;
    assert_eq!(reloaded.code, 0, "{reloaded:?}");
    tunnel.is_closed_with(1012).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "late");
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_told_as_check_tells_it() {
    let origin = origin_that_says("a").await;
    let good = file(&[origin.address()], ADMIN);
    let mut proxy = Tidelock::start(TIDELOCK, &good).await;
    let broken = "[[listen]]\nadress = \":80\"\n[[route]]\nupstream = \"nobody\"\n";
    proxy.rewrite(broken);
    let path = proxy.file().display().to_string();
    let check = run(&["check", &path], proxy.directory()).await;
    assert_eq!(check.code, 1);
    assert!(check.stdout.contains("adress") && check.stdout.contains("nobody"), "{check:?}");
    let mark = proxy.process().mark();
    let reload = verb(&proxy, &["reload"]).await;
    assert_eq!(reload, said(1, "", &format!("{}{NOT_APPLIED}", check.stdout)));
    // The same is on the proxy's own standard error.
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reload_failed")).await;
    let printed = proxy.process().lines_since(mark).join("\n");
    assert!(printed.contains(check.stdout.trim_end()), "{printed}");
    assert_eq!(get(proxy.address(), "/").await.text(), "a");

    // A key that cannot be read is found before anything is changed.
    let torn = Authority::new("ca").issue(&["localhost"]).write(proxy.directory(), "site");
    std::fs::write(&torn.key, "-----BEGIN PRIVATE KEY-----\n").expect("ours");
    let tls = "tls = { certificate = \"site.pem\", key = \"site.key\" }\n";
    proxy.rewrite(&format!("{good}{LISTEN}{tls}"));
    let check = run(&["check", &path], proxy.directory()).await;
    let reload = verb(&proxy, &["reload"]).await;
    assert_eq!(reload, said(1, "", &format!("{}{NOT_APPLIED}", check.stdout)));
    assert_eq!(get(proxy.address(), "/").await.text(), "a");

    proxy.rewrite(&good);
    let nothing = format!("{path}: nothing changed; certificates were read again\n");
    assert_eq!(verb(&proxy, &["reload"]).await, said(0, &nothing, ""));
}

#[tokio::test]
async fn what_needs_a_restart_is_said() {
    let absent = Absent::bind();
    let nodes = [absent.address()];
    let proxy = Tidelock::start(TIDELOCK, &file(&nodes, ADMIN)).await;
    proxy.rewrite(&format!("workers = 3\n{}", file(&nodes, "[admin]\nsocket = \"other.sock\"\n")));
    let expected = applied(&proxy, "needs a restart: workers, admin.socket");
    assert_eq!(verb(&proxy, &["reload"]).await, expected);
}

#[tokio::test]
async fn sighup_reloads() {
    let (before, after) = (origin_that_says("before").await, origin_that_says("after").await);
    let mut proxy = Tidelock::start(TIDELOCK, &file(&[before.address()], ADMIN)).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "before");
    proxy.rewrite(&file(&[after.address()], ADMIN));
    let mark = proxy.process().mark();
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "after");
}

#[tokio::test]
async fn a_watched_file_is_applied_when_it_is_replaced() {
    let texts = ["a", "b", "c", "d"];
    let mut origins = Vec::new();
    for text in texts {
        origins.push(origin_that_says(text).await);
    }
    let watched = |index: usize| {
        let more = format!("{ADMIN}watch = true\n");
        file(&[origins[index].address()], &more)
    };
    // As Kubernetes has it: the file is a link through a link, and the second one is replaced.
    let folder = directory();
    for version in ["1", "2"] {
        fs::create_dir(folder.path().join(version)).unwrap();
    }
    symlink("1", folder.path().join("..data")).unwrap();
    symlink("..data/tidelock.toml", folder.path().join("tidelock.toml")).unwrap();
    let mut proxy = Tidelock::start_in(folder, TIDELOCK, &file(&[origins[0].address()], ADMIN)).await;
    // The file itself says that it is watched, from the reload on that a person asked for.
    fs::write(proxy.file(), watched(0)).unwrap();
    assert_eq!(verb(&proxy, &["reload"]).await, applied(&proxy, "changed: admin (watch false to true)"));
    assert_eq!(get(proxy.address(), "/").await.text(), "a");

    let mark = proxy.process().mark();
    let inside = |name: &str| proxy.directory().join(name);
    fs::write(inside("2/tidelock.toml"), watched(1)).unwrap();
    symlink("2", inside("..next")).unwrap();
    fs::rename(inside("..next"), inside("..data")).unwrap();
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "b");

    // As an editor does it, with a mistake first.
    let mark = proxy.process().mark();
    proxy.rewrite("nonsense");
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reload_failed")).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "b");
    let mark = proxy.process().mark();
    proxy.rewrite(&watched(2));
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "c");

    // As a shell does it, in place.
    let mark = proxy.process().mark();
    fs::write(proxy.file(), watched(3)).unwrap();
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
    assert_eq!(get(proxy.address(), "/").await.text(), "d");
}

#[tokio::test]
async fn a_drain_waits_until_the_node_is_empty() {
    let (held, other) = (Origin::bind().await, origin_that_says("other").await);
    let node = held.address();
    let nodes = [node, other.address()];
    let more = format!("{ADMIN}[drain]\nwindow = \"0s\"\n");
    let proxy = Tidelock::start(TIDELOCK, &file(&nodes, &more)).await;
    let mut tunnel = Tunnel::open(&proxy, &held).await;
    tunnel.is_alive().await;

    let mut command = Command::new(TIDELOCK);
    command.args(["drain", &node.to_string(), "--socket", &socket_of(&proxy)]);
    let mut drain = Process::spawn("drain", command);
    drain.wait_for_line(|line| *line == format!("1 left (nodes/{node}: 1)")).await;
    tunnel.is_closed_with(1012).await;
    drop(tunnel);
    let empty = format!("nodes/{node}: empty, with nothing new until `tidelock undrain`");
    drain.wait_for_line(|line| line == empty).await;
    assert_eq!(drain.exit().await.code(), Some(0));

    let table = verb(&proxy, &["status"]).await;
    assert!(table.stdout.contains("up, draining"), "{table:?}");
    for _ in 0..4 {
        assert_eq!(get(proxy.address(), "/").await.text(), "other");
    }
    // One that is empty already is at once.
    assert_eq!(verb(&proxy, &["drain", &format!("nodes/{node}")]).await.stdout, format!("{empty}\n"));

    let expected = said(0, &format!("nodes/{node}: taking part again\n"), "");
    assert_eq!(verb(&proxy, &["undrain", &node.to_string()]).await, expected);
    let table = verb(&proxy, &["status"]).await;
    assert!(!table.stdout.contains("draining"), "{table:?}");
    assert_eq!(verb(&proxy, &["drain", &other.address().to_string()]).await.code, 0);
    Tunnel::open(&proxy, &held).await.is_alive().await;
}

#[tokio::test]
async fn a_drain_that_does_not_end_in_time_fails() {
    let origin = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let node = origin.address();
    let more = format!("{ADMIN}[drain]\ndeadline = \"0s\"\n");
    let proxy = Tidelock::start(TIDELOCK, &file(&[node], &more)).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.until_requests(1).await;
    let expected = said(0, &format!("nodes/{node}: draining, 1 left\n"), "");
    assert_eq!(verb(&proxy, &["drain", "nodes", "--no-wait"]).await, expected);
    let late = format!(
        "nodes/{node}: 1 request under way left after 0ns, the drain.deadline; nothing new comes. To wait on, say \
         `tidelock drain nodes/{node}` again; what still runs when the node is stopped is cut\n"
    );
    let expected = said(1, "", &format!("1 left (nodes/{node}: 1)\n{late}"));
    assert_eq!(verb(&proxy, &["drain", "nodes"]).await, expected);
}

#[tokio::test]
async fn whoever_waits_for_a_drain_hears_that_it_was_called_off() {
    let origin = ScriptedOrigin::start(|_| vec![Step::Hold]).await;
    let node = origin.address();
    let proxy = Tidelock::start(TIDELOCK, &file(&[node], ADMIN)).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.until_requests(1).await;
    let mut command = Command::new(TIDELOCK);
    command.args(["drain", "nodes", "--socket", &socket_of(&proxy)]);
    let mut drain = Process::spawn("drain", command);
    drain.wait_for_line(|line| line.starts_with("1 left")).await;
    assert_eq!(verb(&proxy, &["undrain", "nodes"]).await.code, 0);
    drain
        .wait_for_line(|line| {
            *line == format!("nodes/{node}: told to take part again, 1 request under way left")
        })
        .await;
    assert_eq!(drain.exit().await.code(), Some(1));
}

#[tokio::test]
async fn one_that_leaves_is_still_looked_at() {
    let answer = Step::send("HTTP/1.1 204 No Content\r\n\r\n");
    let origin = ScriptedOrigin::start(move |_| vec![Step::Hold, answer.clone()]).await;
    let mut proxy = Tidelock::start(TIDELOCK, &file(&[origin.address()], ADMIN)).await;
    let mut client = RawConnection::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    origin.until_requests(1).await;
    proxy.process().signal(Signal::TERM);
    proxy.process().wait_for_line(|line| tells(line, "leaving")).await;
    let status: Value = serde_json::from_str(&verb(&proxy, &["status", "--json"]).await.stdout).unwrap();
    assert_eq!(
        (&status["leaving"], &status["upstreams"][0]["nodes"][0]["in_flight"]),
        (&true.into(), &1.into())
    );
    let refused = said(1, "", "tidelock is leaving, and reads no file any more\n");
    assert_eq!(verb(&proxy, &["reload"]).await, refused);
    origin.release();
    assert_eq!(client.read_message().await.status(), 204);
    assert!(proxy.process().exit().await.success());
}

#[tokio::test]
async fn an_unknown_node_is_told_what_there_is() {
    let (a, b) = (Absent::bind(), Absent::bind());
    let nodes = [a.address(), b.address()];
    let proxy = Tidelock::start(TIDELOCK, &file(&nodes, ADMIN)).await;
    let expected = said(
        1,
        "",
        &format!("no node or upstream is called c; there is nodes, {}, {}\n", nodes[0], nodes[1]),
    );
    assert_eq!(verb(&proxy, &["drain", "c"]).await, expected);
    assert_eq!(verb(&proxy, &["undrain", "c"]).await, expected);
}

#[tokio::test]
async fn a_verb_that_nobody_answers_fails() {
    let folder = directory();
    let path = folder.path().join("none.sock").display().to_string();
    let expected =
        said(1, "", &format!("no tidelock answers at {path} (nothing is there); is it running?\n"));
    for arguments in [&["reload"] as &[_], &["drain", "a"], &["undrain", "a"], &["status"]] {
        assert_eq!(run(&[arguments, &["--socket", &path]].concat(), folder.path()).await, expected);
    }
    let wrong = run(&["drain"], folder.path()).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
}

/// What would wait for a writer, or never end, is refused before it is read.
#[tokio::test]
async fn check_reads_regular_files_only() {
    let folder = directory();
    let fifo = folder.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let path = fifo.display().to_string();
    for (path, what) in [(path.as_str(), "a FIFO"), ("/dev/zero", "a device")] {
        let said_no = run(&["check", path], folder.path()).await;
        let expected = format!("the file cannot be read: it is {what}, and no regular file");
        assert!(said_no.code == 1 && said_no.stdout.contains(&expected), "{said_no:?}");
    }
    let with_fifo = format!("{LISTEN}tls = {{ certificate = \"fifo\", key = \"fifo\" }}\n");
    let config = file(&[Absent::bind().address()], "").replace(LISTEN, &with_fifo);
    let path = folder.path().join("tidelock.toml");
    fs::write(&path, config).unwrap();
    let said_no = run(&["check", &path.display().to_string()], folder.path()).await;
    assert!(said_no.code == 1 && said_no.stdout.contains("is a FIFO, and no regular file"), "{said_no:?}");
}

/// The kernel had let them in when the listen was still there. A stopped process accepts nothing, and meets the changed
/// file and its full queues at once when it goes on.
#[tokio::test]
async fn who_waits_at_a_listen_that_is_removed_is_answered() {
    for workers in [1, 4] {
        let origin = origin_that_says("a").await;
        let two = format!("{LISTEN}{LISTEN}");
        let config = |listens: &str| {
            let config = file(&[origin.address()], ADMIN).replace(LISTEN, listens);
            format!("workers = {workers}\n{config}")
        };
        let mut proxy = Tidelock::start(TIDELOCK, &config(&two)).await;
        let (stays, goes) = (proxy.addresses()[0], proxy.addresses()[1]);
        proxy.rewrite(&config(LISTEN));
        proxy.process().signal(Signal::STOP);
        let mut clients = Vec::new();
        for number in 0..40 {
            let mut client = RawConnection::connect(goes).await;
            // Whoever has given up meanwhile is no reason to send away the others.
            if number % 8 == 0 {
                client.reset();
                continue;
            }
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            clients.push(client);
        }
        proxy.process().signal(Signal::HUP);
        proxy.process().signal(Signal::CONT);
        for mut client in clients {
            assert_eq!(client.read_message().await.text(), "a");
        }
        proxy.process().wait_for_line(|line| tells(line, "listen_closed")).await;
        assert!(RawConnection::try_connect(goes).await.is_err());
        assert_eq!(get(stays, "/").await.text(), "a");
    }
}
