//! A unit of systemd serves the file from boot on: what ends is started as that, and not beside it. Here systemd is a script
//! that does what `systemctl` is told; `cargo xtask boot` asks a real one.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::Signal;
use testkit::raw::get;

use crate::{Home, TIDELOCK, address};

/// Starts the service as systemd does: with a runtime folder, apart from whoever asks.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "$*" >> "$HOME/asked"
case "$*" in
*UnitFileState*)
    echo "UnitFileState=$(cat "$HOME/enabled")"
    echo "ExecStart={ path=TIDELOCK ; argv[]=TIDELOCK $XDG_CONFIG_HOME/tidelock/upstreams.toml ; ignore_errors=no }" ;;
*ActiveState*)
    kill -0 "$(cat "$HOME/state/tidelock/running.lock")" 2> /dev/null && echo ActiveState=active || echo ActiveState=failed ;;
*" start "* | start*)
    RUNTIME_DIRECTORY="$XDG_RUNTIME_DIR/tidelock" setsid TIDELOCK "$XDG_CONFIG_HOME/tidelock/upstreams.toml" > "$HOME/service.log" 2>&1 &
    echo $! > "$HOME/state/tidelock/running.lock" ;;
*" stop "* | stop*)
    kill "$(cat "$HOME/state/tidelock/running.lock")" 2> /dev/null ;;
esac
true
"#;

/// The lines of the service, which systemd's journal would have.
const JOURNALCTL: &str = "#!/bin/sh\ncat \"$HOME/service.log\"\n";

impl Home {
    fn with_systemd(is_enabled: bool) -> (Self, String) {
        let home = Self::new();
        std::fs::create_dir(home.path().join("bin")).expect("a folder");
        for (name, text) in [("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)] {
            let path = home.script(&format!("bin/{name}"), &text.replace("TIDELOCK", TIDELOCK));
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        }
        std::fs::write(home.path().join("enabled"), if is_enabled { "enabled" } else { "disabled" })
            .expect("written");
        let path = std::env::var("PATH").expect("a PATH");
        let path = format!("{}:{path}", home.path().join("bin").display());
        (home, path)
    }

    fn asked(&self) -> String {
        std::fs::read_to_string(self.path().join("asked")).unwrap_or_default()
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_was_ended_is_started_as_the_service() {
    let (home, path) = Home::with_systemd(true);
    let chat = address();
    let say = async |words: &[&str]| home.say_with(words, &[("PATH", &path)]).await;
    let said = say(&["start", "--background", &home.app("chat.js"), "-l", &chat.to_string()]).await;
    assert!(said.success && said.text.contains("starts as the service"), "{}", said.text);
    assert!(home.path().join("run/tidelock/admin.sock").exists(), "{}", said.text);
    assert_eq!(get(chat, "/").await.text(), "no word");
    // What runs is changed as ever.
    let said = say(&["scale", "chat", "2"]).await;
    assert!(said.success && said.stdout.contains("chat/1  ready"), "{}", said.text);
    for words in [&["resurrect"][..], &["start", "chat"]] {
        assert!(say(&["kill"]).await.success);
        let said = say(words).await;
        assert!(said.success && said.text.contains("starts as the service"), "{words:?}: {}", said.text);
        assert_eq!(get(chat, "/").await.text(), "no word", "{words:?}");
    }
    // With the last app it ends, and with the next it is there again.
    assert!(say(&["delete", "all"]).await.success);
    let said = say(&["start", "--background", &home.app("chat.js"), "-l", &chat.to_string()]).await;
    assert!(said.success && said.text.contains("starts as the service"), "{}", said.text);
    assert!(say(&["kill"]).await.success);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_service_that_does_not_start_is_stopped_and_says_why() {
    let (home, path) = Home::with_systemd(true);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = taken.local_addr().expect("an address").to_string();
    let words = ["start", "--background", &home.app("chat.js"), "-l", &at];
    let said = home.say_with(&words, &[("PATH", &path)]).await;
    assert!(!said.success && said.text.contains("in use"), "{}", said.text);
    assert!(said.text.contains("systemctl"), "it is said where to look: {}", said.text);
    assert!(home.asked().contains("stop tidelock.service"), "{}", home.asked());
    assert!(!home.file().exists(), "{}", said.text);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_unit_that_is_not_enabled_is_left_alone() {
    let (home, path) = Home::with_systemd(false);
    let chat = address();
    let words = ["start", "--background", &home.app("chat.js"), "-l", &chat.to_string()];
    let said = home.say_with(&words, &[("PATH", &path)]).await;
    assert!(said.success && !said.text.contains("service"), "{}", said.text);
    assert!(!home.asked().contains("start tidelock.service"), "{}", home.asked());
    home.end(Signal::TERM);
}
