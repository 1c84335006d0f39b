//! What goes on at once, ends in the midst, or has no room.

use rustix::process::Signal;
use testkit::raw::get;

use crate::{Home, TIDELOCK, address, said};

/// Answers at once, and at /slow when it is told by SIGUSR2.
const SLOW: &str =
    "const waiting = []; process.on('SIGUSR2', () => waiting.forEach((a) => a.end('at last')));
    require('http').createServer((q, a) => {
        if (q.url === '/slow') { waiting.push(a); console.log('somebody waits'); } else a.end('at once');
    }).listen(3000)";

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn two_that_start_at_once_both_get_what_they_want() {
    let home = Home::new();
    let (one, two) = (address(), address());
    let (app_one, app_two) = (home.app("one.js"), home.app("two.js"));
    let start = async |app: &str, at: std::net::SocketAddr| {
        home.say_with(&["start", "--background", app, "-l", &at.to_string()], &[("WORD", app)]).await
    };
    let (first, second) = tokio::join!(start(&app_one, one), start(&app_two, two));
    assert!(first.success && second.success, "{}{}", first.text, second.text);
    assert_eq!((get(one, "/").await.text(), get(two, "/").await.text()), (app_one, app_two));
    let list = home.say(&["list"]).await;
    assert!(list.stdout.contains("one/0  ready") && list.stdout.contains("two/0  ready"), "{}", list.text);
}

/// `tidelock kill` in one window, and `start` or `resurrect` in another: these wait for the end.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_start_beside_a_kill_waits_for_its_end() {
    let home = Home::new();
    let (slow, more) = (address(), address());
    home.start(&[&home.script("slow.js", SLOW), "-n", "slow", "-l", &slow.to_string()]).await;
    let before = home.pid();
    let mut answer = tokio::spawn(async move { get(slow, "/slow").await.text() });
    home.until_written("slow", "somebody waits").await;
    home.end(Signal::TERM);
    home.until_leaving().await;
    let app = home.app("more.js");
    let words = ["start", "--background", &app, "-l", &more.to_string()];
    let start = home.say(&words);
    let let_go = async {
        home.until_leaving().await;
        assert!(!answer.is_finished(), "it is waited for");
        home.signal("slow", Signal::USR2).await;
        (&mut answer).await.expect("an answer")
    };
    let (said, text) = tokio::join!(start, let_go);
    assert!(said.success && said.text.contains("more is ready"), "{}", said.text);
    assert_eq!(text, "at last");
    assert_ne!(home.pid(), before, "another serves both now");
    assert_eq!(
        (get(slow, "/").await.text(), get(more, "/").await.text()),
        ("at once".into(), "no word".into())
    );
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn one_that_is_killed_in_the_midst_of_a_start_leaves_the_file_as_it_was() {
    let home = Home::new();
    let chat = address();
    home.start(&[&home.app("chat.js"), "-l", &chat.to_string()]).await;
    let before = home.text();
    let never =
        home.script("never.js", "console.log('not yet'); require('http'); setInterval(() => {}, 1000)");
    let kill = async {
        home.until_written("never", "not yet").await;
        home.end(Signal::KILL);
    };
    let words = ["start", "--background", &never, "-l", "127.0.0.1:0"];
    let (said, ()) = tokio::join!(home.say(&words), kill);
    assert!(!said.success && said.text.contains("`tidelock resurrect` starts it again"), "{}", said.text);
    assert_eq!(home.text(), before);
    // Nothing of it is in the way.
    let said = home.say(&["resurrect"]).await;
    assert!(said.success && said.text.contains("chat is ready"), "{}", said.text);
    assert_eq!(get(chat, "/").await.text(), "no word");
}

/// Whatever it was about to do, nothing half done is left, and the next one starts.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn one_that_is_killed_at_any_step_is_in_nobodys_way() {
    for step in [
        "",
        "sticky secret",
        "\"listening\"",
        "\"ready\"",
        "\"admin_listening\"",
        "chat/0: started",
        "chat/0: ready",
    ] {
        let home = Home::new();
        let chat = address();
        let words = ["start", "--background", &home.app("chat.js"), "-l", &chat.to_string()];
        let kill = async {
            if step.is_empty() {
                home.until_in(&home.path().join("state/tidelock/running.lock"), "\n").await;
            } else {
                home.until_in(&home.path().join("state/tidelock/tidelock.log"), step).await;
            }
            home.end(Signal::KILL);
        };
        let (said, ()) = tokio::join!(home.say(&words), kill);
        // It may have been done by then, with somebody to say so or not. Otherwise nothing is left of it.
        let is_told = said.success || said.text.contains("`tidelock resurrect` starts what has ended");
        assert_eq!(is_told, home.file().exists(), "{step}: {}", said.text);
        home.start(&words[2..]).await;
        assert_eq!(get(chat, "/").await.text(), "no word", "{step}");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_verb_that_is_killed_is_in_nobodys_way() {
    let home = Home::new();
    let chat = address();
    let never =
        home.script("never.js", "console.log('not yet'); require('http'); setInterval(() => {}, 1000)");
    let mut command = home.command(TIDELOCK);
    command.args(["start", "--background", &never, "-l", "127.0.0.1:0"]).stderr(std::process::Stdio::null());
    let mut start = command.stdout(std::process::Stdio::null()).spawn().expect("it runs");
    home.until_written("never", "not yet").await;
    start.kill().await.expect("it runs");
    // What it began goes on, and can be taken back.
    home.start(&[&home.app("chat.js"), "-l", &chat.to_string()]).await;
    assert!(home.say(&["delete", "never"]).await.success);
    assert_eq!(get(chat, "/").await.text(), "no word");
    assert!(!home.text().contains("never"), "{}", home.text());
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn an_app_may_be_deleted_while_it_is_replaced() {
    let home = Home::new();
    let (chat, stays) = (address(), address());
    home.start(&[&home.app("stays.js"), "-l", &stays.to_string()]).await;
    home.start(&[&home.app("chat.js"), "-l", &chat.to_string(), "-i", "3"]).await;
    let (reload, delete) = tokio::join!(home.say(&["reload", "chat"]), home.say(&["delete", "chat"]));
    assert!(delete.success, "{}", delete.text);
    // Either is right, as long as it ends and says how.
    assert!(!reload.text.is_empty(), "{}", reload.text);
    let list = home.say(&["list"]).await;
    assert!(list.stdout.contains("stays/0  ready") && !list.stdout.contains("chat"), "{}", list.text);
    assert!(testkit::raw::RawConnection::try_connect(chat).await.is_err(), "nobody listens there");
    assert_eq!(get(stays, "/").await.text(), "no word");
}

/// `tidelock env chat | head -1`, and `> /dev/full`.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn nobody_has_to_read_what_a_verb_prints() {
    let home = Home::new();
    let chat = address();
    home.start(&[&home.app("chat.js"), "-l", &chat.to_string()]).await;
    let shell = async |line: &str| {
        let mut command = home.command("sh");
        command.args(["-c", line]).env("TIDELOCK", TIDELOCK);
        said(command).await
    };
    for verb in ["env chat", "list", "describe chat", "scale chat 2", "stop chat", "start chat"] {
        let told = shell(&format!("{{ \"$TIDELOCK\" {verb}; echo \"ended with $?\" >&2; }} | true")).await;
        assert!(
            !told.text.contains("panicked") && told.text.contains("ended with "),
            "{verb}: {}",
            told.text
        );
        let told = shell(&format!("\"$TIDELOCK\" {verb} > /dev/full; echo \"ended with $?\"")).await;
        assert!(
            !told.text.contains("panicked") && told.text.contains("ended with 1"),
            "{verb}: {}",
            told.text
        );
        let told =
            shell(&format!("\"$TIDELOCK\" {verb} 2> /dev/full > /dev/null; echo \"ended with $?\"")).await;
        assert!(!told.text.contains("ended with 101"), "{verb}: {}", told.text);
    }
    let list = home.say(&["list"]).await;
    assert!(list.stdout.contains("chat/1  ready"), "what was asked for is done: {}", list.text);
}

/// A disk of a few pages at the first argument, which is full where `fill` is the second; then the rest.
const ON_A_SMALL_DISK: &str = "set -e; mount -t tmpfs -o size=16k,mode=700 tmpfs \"$1\"
    mkdir \"$1/tidelock\"; chmod 700 \"$1/tidelock\"
    head -c 99999 /dev/zero > \"$1/fill\" 2>/dev/null || true; shift; exec \"$@\"";

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_full_disk_is_named_and_changes_nothing() {
    for full in ["config", "state"] {
        let home = Home::new();
        let disk = home.path().join(full);
        std::fs::create_dir_all(&disk).expect("a folder");
        let mut command = home.command("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh"]).arg(&disk);
        command.args([TIDELOCK, "start", "--background", &home.app("chat.js"), "-l", &address().to_string()]);
        let told = said(command).await;
        assert!(!told.success && !told.text.contains("panicked"), "{full}: {}", told.text);
        let is_named =
            ["No space left on device", "the disk is full"].iter().any(|why| told.text.contains(why));
        assert!(is_named, "{full}: {}", told.text);
        assert!(!home.file().exists(), "{full}: {}", told.text);
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn odd_names_are_names() {
    let home = Home::new();
    let work = "console.log('at work'); setInterval(() => {}, 1000)";
    std::fs::create_dir(home.path().join("a folder's \"name\" $HOME ${A}\n")).expect("a folder");
    for (file, name) in [
        ("all.js", "app-all"),
        ("my bot.js", "my-bot"),
        ("q'u\"o.js", "q-u-o"),
        ("ü.js", "app"),
        ("${A}.js", "A-"),
        ("new\nline.js", "new-line"),
        ("-x.js", "x"),
        ("..js", "."),
        ("0.js", "0"),
        ("a folder's \"name\" $HOME ${A}\n/in.js", "in"),
    ] {
        let path = home.script(file, work);
        let said = home.start(&[&path, "--worker"]).await;
        assert!(said.stdout.contains(&format!("{name} runs")), "{file:?}: {}", said.text);
        home.until_written(name, "at work").await;
        for verb in ["restart", "delete"] {
            let said = home.say(&[verb, name]).await;
            assert!(said.success, "{verb} {file:?}: {}", said.text);
        }
    }
    let bot = home.script("bot.js", work);
    for name in ["all", "a/b", "", "a b", &"x".repeat(65)] {
        let said = home.say(&["start", "--background", &bot, "--worker", "--name", name]).await;
        assert!(!said.success && said.text.contains("cannot be the name"), "{name}: {}", said.text);
    }
}
