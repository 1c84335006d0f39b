//! Without what a login has: after the logout, and where there never was one.

use testkit::process::tells;
use testkit::raw::get;

use crate::{Home, TIDELOCK, address, said};

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn it_outlives_the_terminal_that_it_was_started_from() {
    let home = Home::new();
    let chat = address();
    // A terminal of its own, which ends with the shell in it: everybody who is still there gets SIGHUP.
    let line = format!("{TIDELOCK} start {} --listen {chat}; kill -HUP -- -$$", home.app("chat.js"));
    let mut command = home.command("script");
    command.args(["--quiet", "--command", &line, "/dev/null"]).env("SHELL", "/bin/sh");
    let said = said(command).await;
    assert!(said.text.contains(&format!("chat is ready at http://{chat}")), "{}", said.text);
    // As systemd does it at the end of a login.
    std::fs::remove_dir_all(home.path().join("run")).expect("a folder");
    assert_eq!(get(chat, "/").await.text(), "no word");
    let list = home.say(&["list"]).await;
    assert!(list.success && list.stdout.contains("chat/0  ready"), "{}", list.text);
    let said = home.say(&["scale", "chat", "2"]).await;
    assert!(said.success && said.stdout.contains("chat/1  ready"), "{}", said.text);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_service_has_the_folders_that_systemd_gives_it() {
    let home = Home::new();
    let service = |command: &mut tokio::process::Command| {
        command.env_remove("XDG_RUNTIME_DIR").env_remove("XDG_STATE_HOME");
        for name in ["RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY"] {
            command.env(name, home.path().join(name));
        }
    };
    let mut command = home.command(TIDELOCK);
    service(&mut command);
    // There is no terminal.
    command.args(["start", &home.app("chat.js"), "--listen", "127.0.0.1:0"]);
    let process = testkit::process::Process::spawn("tidelock", command);
    process.wait_for_line(|line| tells(line, "apps_ready") && line.contains(" at ")).await;
    let mut list = home.command(TIDELOCK);
    service(&mut list);
    list.arg("list");
    let list = said(list).await;
    assert!(list.success && list.stdout.contains("chat/0  ready"), "{}", list.text);
    for there in ["RUNTIME_DIRECTORY/admin.sock", "RUNTIME_DIRECTORY/apps", "STATE_DIRECTORY/sticky_secret"] {
        assert!(home.path().join(there).exists(), "{there}");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn verbs_reach_it_from_cron() {
    let home = Home::new();
    let chat = address();
    home.start(&[&home.app("chat.js"), "-l", &chat.to_string()]).await;
    let mut command = home.command(TIDELOCK);
    command.args(["reload", "chat"]).env_remove("XDG_RUNTIME_DIR").env_remove("LANG");
    let said = said(command).await;
    assert!(said.success, "{}", said.text);
}
