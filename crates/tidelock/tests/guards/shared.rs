//! Limits that several tidelocks share in a Redis, which dies, hangs and comes back.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use testkit::certificates::{Authority, CertificateFiles};
use testkit::origin::{ScriptedOrigin, Step};
use testkit::process::{Mark, Process, Signal, tells};
use testkit::tidelock::{Tidelock, directory};
use tokio::process::Command;

use super::limits::{from, open, statuses};
use super::{TIDELOCK, UPGRADE, UPGRADED, ask, counted};

/// A real redis-server on a Unix socket, so that another one can be started in its place.
struct Redis {
    process: Process,
    socket: PathBuf,
}

impl Redis {
    async fn start(folder: &Path, name: &str, more: &[&str]) -> Self {
        let socket = folder.join(format!("{name}.sock"));
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--unixsocket"]).arg(&socket).args(more);
        command.current_dir(folder);
        let process = Process::spawn("redis-server", command);
        let is_ready = |line: &str| line.to_lowercase().contains("ready to accept connections");
        process.wait_for_line(is_ready).await;
        Self { process, socket }
    }

    fn url(&self) -> String {
        format!("unix:{}", self.socket.display())
    }

    /// At a port, over TCP or, with a certificate, over TLS, beside the socket.
    async fn start_at(folder: &Path, name: &str, port: u16, tls: Option<&CertificateFiles>) -> Self {
        let port = port.to_string();
        let path = |path: &PathBuf| path.display().to_string();
        let more = match tls {
            None => vec!["--bind".to_owned(), "127.0.0.1".to_owned(), "--port".to_owned(), port],
            Some(files) => [
                ["--bind".to_owned(), "127.0.0.1".to_owned()],
                ["--tls-port".to_owned(), port],
                ["--tls-cert-file".to_owned(), path(&files.certificate)],
                ["--tls-key-file".to_owned(), path(&files.key)],
                ["--tls-auth-clients".to_owned(), "no".to_owned()],
            ]
            .concat(),
        };
        Self::start(folder, name, &more.iter().map(String::as_str).collect::<Vec<_>>()).await
    }

    /// What it answers to a command.
    async fn says(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("redis-cli");
        let said = command.arg("-s").arg(&self.socket).args(arguments).output().await;
        String::from_utf8(said.expect("redis-cli is installed").stdout).expect("text")
    }
}

async fn node() -> ScriptedOrigin {
    ScriptedOrigin::start(|request| match request.header("upgrade") {
        Some(_) => vec![Step::send(UPGRADED), Step::Echo],
        None if request.start.contains("transport=polling") && !request.start.contains("sid=") => {
            vec![Step::send(&open())]
        }
        None => vec![Step::send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")],
    })
    .await
}

/// A file with a limit that is counted in the Redis at `url`. No test is so slow that one more could come by the rate.
fn file(node: &ScriptedOrigin, limit: &str, redis: &str) -> String {
    format!(
        "trusted_proxies = [\"127.0.0.1\"]\nsticky_secret = \"{SECRET}\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\npath = \"/limited\"\nlimit = {limit}\nupstream = \"nodes\"\n\
         [upstream.nodes]\nnodes = [\"{}\"]\n[redis]\n{redis}\n",
        node.address()
    )
}

/// So that a slow machine is not taken for a Redis that is away.
fn patient(redis: &Redis) -> String {
    format!("url = \"{}\"\ntimeout = \"10s\"", redis.url())
}

async fn two(file: &str) -> [Tidelock; 2] {
    [Tidelock::start(TIDELOCK, file).await, Tidelock::start(TIDELOCK, file).await]
}

/// How many of so many requests are let pass, which both are asked at once, in turns.
async fn passed(proxies: &[Tidelock; 2], lines: &str, count: usize) -> usize {
    let mut statuses = Vec::new();
    for _ in 0..count {
        let [one, two] = proxies;
        let (one, two) = tokio::join!(ask(one, "GET /limited", lines), ask(two, "GET /limited", lines));
        statuses.extend([one.status(), two.status()]);
    }
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    statuses.iter().filter(|status| **status == 200).count()
}

fn events(proxy: &mut Tidelock, event: &str) -> usize {
    let lines = proxy.process().lines_since(Mark::default());
    lines.iter().filter(|line| tells(line, event)).count()
}

async fn until_back(proxies: &mut [Tidelock; 2], times: usize) {
    for proxy in proxies {
        proxy.process().wait_for_lines_since(Mark::default(), times, |line| tells(line, "redis_back")).await;
    }
}

#[cfg_attr(not(feature = "programs"), ignore = "needs redis-server: `cargo xtask test`")]
#[tokio::test]
async fn two_tidelocks_have_one_budget() {
    let (folder, node) = (directory(), node().await);
    let redis = Redis::start(folder.path(), "one", &[]).await;
    let limit = "{ rate = \"1/h\", burst = 9, name = \"slow\", shared = true }";
    let proxies = two(&file(&node, limit, &patient(&redis))).await;
    assert_eq!(passed(&proxies, &from("192.0.2.1"), 15).await, 10);
    assert_eq!(passed(&proxies, &from("192.0.2.2"), 15).await, 10);
    let refused = ask(&proxies[1], "GET /limited", &from("192.0.2.1")).await;
    assert_eq!(refused.status(), 429);
    let after: u64 = refused.header("retry-after").and_then(|text| text.parse().ok()).expect("seconds");
    assert!((1..=3600).contains(&after), "{after}");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"slow\";q=10;w=36000"));
    assert_eq!(refused.header("ratelimit"), Some(&*format!("\"slow\";r=0;t={after}")));
    // Those of the handshakes, which both count together, too.
    let handshake = "GET /limited/?EIO=4&transport=polling";
    let mut sids = Vec::new();
    for proxy in proxies.iter().cycle().take(9) {
        let opened = ask(proxy, handshake, &from("192.0.2.1")).await;
        sids.push(testkit::engineio::sid(&opened.text()).expect("a session"));
    }
    let lines = format!("{}{UPGRADE}", from("192.0.2.1"));
    assert_eq!(ask(&proxies[0], "GET /limited", &lines).await.status(), 101);
    assert_eq!(ask(&proxies[1], "GET /limited", &lines).await.status(), 429);
    assert_eq!(statuses(&proxies[0], handshake, &from("192.0.2.1"), 2).await, [429, 429]);
    // And sessions go on.
    for (sid, proxy) in sids.iter().zip(proxies.iter().cycle()) {
        let poll = format!("GET /limited/?EIO=4&transport=polling&sid={sid}");
        assert_eq!(statuses(proxy, &poll, &from("192.0.2.1"), 2).await, [200, 200]);
    }
    let keys = redis.says(&["keys", "*"]).await;
    assert_eq!(keys.lines().count(), 3, "{keys}");
    for key in keys.lines() {
        assert!(key.starts_with("tidelock:") && key.len() == "tidelock:".len() + 32, "{key}");
        let left: i64 = redis.says(&["pttl", key]).await.trim().parse().expect("a number");
        assert!(left > 0, "{key} goes by itself, in {left} ms");
    }
    for proxy in &proxies {
        let status = proxy.status().await;
        assert_eq!((&status["redis"]["state"], &status["redis"]["alone"]), (&"up".into(), &0.into()));
    }
}

#[cfg_attr(not(feature = "programs"), ignore = "needs redis-server: `cargo xtask test`")]
#[tokio::test]
async fn each_counts_for_itself_while_redis_is_away() {
    let (folder, node) = (directory(), node().await);
    let mut redis = Redis::start(folder.path(), "one", &[]).await;
    let limit = "{ rate = \"1/h\", burst = 2, shared = true }";
    let mut proxies = two(&file(&node, limit, &patient(&redis))).await;
    assert_eq!(passed(&proxies, "", 4).await, 3);
    redis.process.kill().await;
    for proxy in &proxies {
        assert_eq!(statuses(proxy, "GET /limited", "", 5).await, [200, 200, 200, 429, 429]);
        let status = proxy.status().await;
        assert_eq!((&status["redis"]["state"], &status["redis"]["alone"]), (&"away".into(), &5.into()));
        assert!(status["redis"]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{status}");
    }
    for proxy in &mut proxies {
        assert_eq!(events(proxy, "redis_away"), 1);
    }
    // The one that comes has forgotten everybody.
    let redis = Redis::start(folder.path(), "one", &[]).await;
    until_back(&mut proxies, 1).await;
    assert_eq!(passed(&proxies, "", 4).await, 3);
    assert_eq!(proxies[0].status().await["redis"]["state"], "up");
    // It closes connections that say nothing, and forgets scripts: both are no reason to be taken for away.
    redis.says(&["script", "flush"]).await;
    redis.says(&["client", "kill", "type", "normal", "skipme", "yes"]).await;
    assert_eq!(passed(&proxies, &from("192.0.2.1"), 4).await, 3);
    for proxy in &mut proxies {
        assert_eq!(events(proxy, "redis_away"), 1);
    }
}

/// If each of these requests waited for its timeout, the test would.
#[cfg_attr(not(feature = "programs"), ignore = "needs redis-server: `cargo xtask test`")]
#[tokio::test]
async fn a_redis_that_hangs_is_waited_for_once() {
    let (folder, node) = (directory(), node().await);
    let redis = Redis::start(folder.path(), "one", &[]).await;
    let limit = "{ rate = \"1/h\", burst = 99, by = \"all\", shared = true }";
    let mut proxies = two(&file(&node, limit, &patient(&redis).replace("10s", "3s"))).await;
    assert_eq!(passed(&proxies, "", 2).await, 4);
    redis.process.signal(Signal::STOP);
    assert_eq!(passed(&proxies, "", 100).await, 200, "each has a budget of its own");
    for proxy in &mut proxies {
        assert_eq!(events(proxy, "redis_away"), 1);
    }
    redis.process.signal(Signal::CONT);
    until_back(&mut proxies, 1).await;
    // Those that were counted alone are not in it; those that were asked for before it hung are.
    let left = passed(&proxies, "", 60).await;
    assert!((94..=96).contains(&left), "{left}");
}

#[cfg_attr(not(feature = "programs"), ignore = "needs redis-server: `cargo xtask test`")]
#[tokio::test]
async fn a_reload_takes_another_redis() {
    let (folder, node) = (directory(), node().await);
    let one = Redis::start(folder.path(), "one", &[]).await;
    let other = Redis::start(folder.path(), "other", &["--requirepass", "hunter2"]).await;
    let limit = "{ rate = \"1/h\", burst = 2, shared = true }";
    let mut proxies = two(&file(&node, limit, &patient(&one))).await;
    assert_eq!(passed(&proxies, "", 4).await, 3);
    let password = |said: &str| {
        format!(
            "{}?db=2\"\ntimeout = \"10s\"\npassword = \"{said}\"",
            patient(&other).split("\"\n").next().unwrap()
        )
    };
    for proxy in &mut proxies {
        reload(proxy, &file(&node, limit, &password("hunter2"))).await;
    }
    assert_eq!(passed(&proxies, "", 4).await, 3);
    let keys = other.says(&["--no-auth-warning", "-a", "hunter2", "-n", "2", "dbsize"]).await;
    assert_eq!(keys.trim(), "1");
    // It refuses to talk, which is as if it were not there.
    for proxy in &mut proxies {
        reload(proxy, &file(&node, limit, &password("hunter1"))).await;
        assert_eq!(statuses(proxy, "GET /limited", "", 4).await, [200, 200, 200, 429]);
        let away = proxy.process().wait_for_line(|line| tells(line, "redis_away")).await;
        assert!(away.contains("other.sock") && !away.contains("hunter"), "{away}");
    }
    // Without one each counts for itself, and has not forgotten anybody.
    for proxy in &mut proxies {
        let text = file(&node, &limit.replace(", shared = true", ""), "");
        reload(proxy, text.split("[redis]").next().unwrap()).await;
        assert_eq!(statuses(proxy, "GET /limited", "", 1).await, [429]);
        assert!(proxy.status().await["redis"].is_null());
    }
}

async fn reload(proxy: &mut Tidelock, file: &str) {
    let mark = proxy.process().mark();
    proxy.rewrite(file);
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reloaded")).await;
}

/// A Redis on another machine: at a port, with TLS or without, that a name or an address leads to.
#[cfg_attr(not(feature = "programs"), ignore = "needs redis-server: `cargo xtask test`")]
#[tokio::test]
async fn redis_is_at_a_port_with_tls_or_without() {
    let (folder, node, authority) = (directory(), node().await, Authority::new("of a Redis"));
    let files = authority.issue(&["localhost", "127.0.0.1"]).write(folder.path(), "redis");
    let (ca, other) =
        (authority.write(folder.path()), Authority::new("another").write(&sub(&folder, "other")));
    let [plain, tls] = [testkit::port::free(), testkit::port::free()];
    let _plain = Redis::start_at(folder.path(), "plain", plain, None).await;
    let secure = Redis::start_at(folder.path(), "secure", tls, Some(&files)).await;
    let limit = "{ rate = \"1/h\", burst = 2, shared = true }";
    let said = |url: &str, ca: &Path| {
        file(&node, limit, &format!("url = \"{url}\"\nca = \"{}\"\ntimeout = \"10s\"", ca.display()))
    };
    let without_ca = said(&format!("redis://127.0.0.1:{plain}"), &ca).replace("\nca = ", "\n#ca = ");
    assert_eq!(passed(&two(&without_ca).await, "", 4).await, 3);
    for host in ["localhost", "127.0.0.1"] {
        let proxies = two(&said(&format!("rediss://{host}:{tls}"), &ca)).await;
        assert_eq!(passed(&proxies, "", 4).await, 3, "{host}");
        secure.says(&["flushall"]).await;
    }
    // Whom nobody vouches for is told nothing: not if another authority is trusted, nor by those of the system.
    let url = format!("rediss://localhost:{tls}");
    for text in [said(&url, &other), said(&url, &ca).replace("\nca = ", "\n#ca = ")] {
        let mut proxies = two(&text).await;
        assert_eq!(passed(&proxies, "", 4).await, 6, "each counts for itself");
        for proxy in &mut proxies {
            let away = proxy.process().wait_for_line(|line| tells(line, "redis_away")).await;
            assert!(away.contains("certificate"), "{away}");
        }
    }
    assert_eq!(secure.says(&["dbsize"]).await.trim(), "0");
    // A reload reads the file again, and one that is no certificate changes nothing.
    let mut proxy = Tidelock::start(TIDELOCK, &said(&url, &ca)).await;
    assert_eq!(statuses(&proxy, "GET /limited", "", 4).await, [200, 200, 200, 429]);
    let mark = proxy.process().mark();
    proxy.rewrite(&said(&url, &files.key));
    proxy.process().signal(Signal::HUP);
    proxy.process().wait_for_lines_since(mark, 1, |line| tells(line, "reload_failed")).await;
    let said = proxy.process().lines_since(mark);
    assert!(said.iter().any(|line| line.contains("redis.key")), "{said:#?}");
    assert_eq!(statuses(&proxy, "GET /limited", "", 1).await, [429]);
    assert_eq!(secure.says(&["dbsize"]).await.trim(), "1");
}

/// One that is refused by one of several has counted for none, wherever each is counted.
#[cfg_attr(not(feature = "programs"), ignore = "needs redis-server: `cargo xtask test`")]
#[tokio::test]
async fn several_limits_hold_together() {
    let (folder, node) = (directory(), node().await);
    let redis = Redis::start(folder.path(), "one", &[]).await;
    let limits = "[{ rate = \"1/h\", burst = 4, by = \"all\", shared = true }, { rate = \"1/h\", burst = 1, shared = true }]";
    let proxies = two(&file(&node, limits, &patient(&redis))).await;
    assert_eq!(passed(&proxies, &from("192.0.2.1"), 4).await, 2);
    assert_eq!(passed(&proxies, &from("192.0.2.2"), 4).await, 2);
    assert_eq!(passed(&proxies, &from("192.0.2.3"), 4).await, 1);
    // What is counted here is taken back.
    let limits = "[{ rate = \"1/h\", burst = 4, by = \"all\" }, { rate = \"1/h\", burst = 1, shared = true, name = \"b\" }]";
    let proxy = Tidelock::start(TIDELOCK, &file(&node, limits, &patient(&redis))).await;
    assert_eq!(statuses(&proxy, "GET /limited", &from("192.0.2.1"), 6).await, [200, 200, 429, 429, 429, 429]);
    assert_eq!(statuses(&proxy, "GET /limited", &from("192.0.2.2"), 3).await, [200, 200, 429]);
    assert_eq!(statuses(&proxy, "GET /limited", &from("192.0.2.3"), 2).await, [200, 429]);
    // One that only looks stands in nobody's way.
    let limits = "[{ rate = \"1/h\", burst = 1, dry_run = true, shared = true, name = \"c\" }, { rate = \"1/h\", burst = 3, shared = true, name = \"d\" }]";
    let proxies = two(&file(&node, limits, &patient(&redis))).await;
    assert_eq!(passed(&proxies, "", 4).await, 4);
    let mut would = 0;
    for proxy in &proxies {
        would += counted(proxy, "guarded", "would be refused by a limit in its dry run").await;
    }
    assert_eq!(would, 2);
}

fn sub(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir(&path).expect("a writable folder");
    path
}

const SECRET: &str = "a-secret-that-both-of-them-have-0123456789";
