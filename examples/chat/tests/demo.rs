//! Goal: whoever types `cargo demo` sees sessions move, by buttons that are tidelock's own verbs, and nobody else can press them.
//! Method: the demo as it is built, and its page in headless Chromium.

use std::path::Path;

use testkit::page::{press_buttons, use_by_keyboard};
use testkit::process::{Process, Signal};
use testkit::raw::RawConnection;
use tokio::process::Command;

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Chromium: `cargo xtask test`")]
async fn sessions_move_and_no_message_is_lost_or_doubled() {
    let mut demo = Demo::start().await;
    let shown = press_buttons(&demo.url).await;
    let names: Vec<&str> = shown.before.keys().map(String::as_str).collect();
    assert_eq!(names, ["chat/0", "chat/1", "chat/2"]);

    assert_eq!(shown.drained["chat/0"], 0, "{shown:#?}");
    assert_eq!(shown.drained.values().sum::<usize>(), 9, "{shown:#?}");

    assert_eq!(shown.rolled["chat/0"], shown.before["chat/0"], "a drain ends no process");
    assert_ne!(shown.rolled["chat/1"], shown.before["chat/1"], "a roll does");
    assert_eq!(shown.rolled["chat/2"], shown.before["chat/2"], "and that of no other node");

    for nothing in ["lost", "doubled", "failed"] {
        assert_eq!(shown.figures[nothing], 0, "{nothing}: {shown:#?}");
    }
    assert_eq!(shown.errors, [""; 0]);
    assert!(shown.figures["moved"] > 0 && shown.figures["said"] > 0, "{shown:#?}");

    assert_ne!(shown.killed["chat/2"], shown.before["chat/2"]);
    let killed = format!("kill -9 {}", shown.before["chat/2"]);
    assert_eq!(
        shown.typed,
        ["tidelock drain chat/0", "tidelock undrain chat/0", "tidelock reload chat/1", &killed]
    );

    demo.process.signal(Signal::INT);
    assert!(demo.process.exit().await.success());
    for pid in shown.killed.values() {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and Chromium: `cargo xtask test`")]
async fn its_page_needs_neither_a_mouse_nor_eyes() {
    let demo = Demo::start().await;
    let used = use_by_keyboard(&demo.url).await;
    assert_eq!(used.first, "Skip to the nodes");
    // A button that has been pressed keeps the focus, whatever it is called then.
    assert_eq!(used.after, ["Undrain chat/0", "Drain chat/0", "Roll chat/1", "Roll chat/1"]);
    assert_eq!(used.unseen, [""; 0], "stops at which nobody sees where they are");
    assert_eq!(used.violations, [""; 0]);
    for told in [
        "heading \"tidelock\" [level=1]",
        "heading \"chat/0\" [level=3]",
        "button \"Drain chat/0\"",
        "button \"Kill chat/2\"",
        "list \"Clients, each with its transport and its node\"",
        "log \"Messages\"",
        "textbox \"Message\"",
    ] {
        assert!(used.tree.contains(told), "a screen reader does not say {told}:\n{}", used.tree);
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn another_page_cannot_press_its_buttons() {
    let demo = Demo::start().await;
    let here = demo.url.strip_prefix("http://").expect("a URL").to_owned();
    let handshake = "/fleet/live/?EIO=4&transport=websocket";
    for (what, host, target, origin, status) in [
        ("the page", &*here, "/", None, 200),
        ("the page by a name that points here", "evil.example", "/", None, 403),
        ("a handshake of the page", &here, handshake, Some(&*demo.url), 101),
        ("one of another page", &here, handshake, Some("http://evil.example"), 403),
        ("one of no page", &here, handshake, None, 403),
    ] {
        let mut request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
        if let Some(origin) = origin {
            request += &format!("Origin: {origin}\r\n");
        }
        if target == handshake {
            request += "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        }
        let mut connection = RawConnection::connect(here.parse().expect("an address")).await;
        connection.send(format!("{request}\r\n")).await;
        assert_eq!(connection.read_head().await.status(), status, "{what}");
    }
}

/// A running demo, on a port that is free.
struct Demo {
    process: Process,
    url: String,
}

impl Demo {
    async fn start() -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_demo"));
        let tidelock = program.with_file_name("tidelock");
        assert!(tidelock.is_file(), "{tidelock:?} is not there: run `cargo build -p tidelock --bins`");
        let mut command = Command::new(program);
        command.args(["--port", "0"]).env_remove("REDIS_URL");
        let process = Process::spawn("demo", command);
        let line = process.wait_for_line(|line| line.starts_with("  http://")).await;
        Self { url: line.trim().to_owned(), process }
    }
}
