//! What a person sees in a terminal, and what a pipe gets.

use testkit::raw::get;
use tokio::io::AsyncReadExt;

use crate::{Home, Said, TIDELOCK, address, said};

impl Home {
    /// Says a verb in a terminal of its own.
    async fn say_in_terminal(&self, words: &str, variables: &[(&str, &str)]) -> Said {
        let mut command = self.command("script");
        command.args(["--quiet", "--return", "--command", &format!("{TIDELOCK} {words}"), "/dev/null"]);
        command.env("SHELL", "/bin/sh").env("TERM", "xterm-256color").envs(variables.iter().copied());
        said(command).await
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn states_have_colours_in_a_terminal_that_wants_them() {
    let home = Home::new();
    let chat = address();
    home.start(&[&home.app("chat.js"), "-l", &chat.to_string()]).await;
    get(chat, "/").await;
    for words in ["list", "status", "status chat", "describe chat"] {
        let seen = home.say_in_terminal(words, &[]).await;
        assert!(seen.success && seen.text.contains("\x1b[32mready"), "{words}: {:?}", seen.text);
        for unwanted in [("NO_COLOR", "1"), ("TERM", "dumb")] {
            let seen = home.say_in_terminal(words, &[unwanted]).await;
            assert!(seen.text.contains("ready") && !seen.text.contains('\x1b'), "{words}: {:?}", seen.text);
        }
        let seen = home.say_in_terminal(words, &[("NO_COLOR", "")]).await;
        assert!(seen.text.contains("\x1b[32mready"), "an empty one says nothing: {:?}", seen.text);
        let piped = home.say(&words.split(' ').collect::<Vec<_>>()).await;
        assert!(piped.text.contains("ready") && !piped.text.contains('\x1b'), "{words}: {:?}", piped.text);
    }
    // What is wrong with a file has colours by the same rule.
    home.script("wrong.toml", "instances = ");
    let seen = home.say_in_terminal("check wrong.toml", &[]).await;
    assert!(!seen.success && seen.text.contains('\x1b'), "{:?}", seen.text);
    let seen = home.say_in_terminal("check wrong.toml", &[("NO_COLOR", "1")]).await;
    assert!(!seen.success && !seen.text.contains('\x1b'), "{:?}", seen.text);
}

/// `pm2 monit` is a table that is drawn again and again; a key, or the end of the terminal, ends it.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn monit_looks_again_and_again_until_it_is_left() {
    let home = Home::new();
    home.start(&[&home.script("bot.js", "setInterval(() => {}, 1000)"), "--worker"]).await;
    for words in ["monit", "status --watch"] {
        let mut command = home.command("script");
        command.args(["--quiet", "--return", "--command", &format!("exec {TIDELOCK} {words}"), "/dev/null"]);
        command.env("SHELL", "/bin/sh").env("TERM", "xterm").stdin(std::process::Stdio::piped());
        let mut terminal = command.stdout(std::process::Stdio::piped()).spawn().expect("it runs");
        let mut shown = terminal.stdout.take().expect("it is read");
        let (mut text, mut chunk) = (String::new(), [0; 4096]);
        // Two looks, the second of which wipes the first.
        while text.matches("bot/0").count() < 2 || !text.contains("\x1b[H") {
            let read = tokio::time::timeout(testkit::TIMEOUT, shown.read(&mut chunk));
            let count = read.await.expect("it goes on").expect("it can be read");
            assert!(count > 0, "{words}: {text}");
            text += &String::from_utf8_lossy(&chunk[..count]);
        }
        // Ctrl-C, as the terminal gives it.
        let mut keys = terminal.stdin.take().expect("it is written");
        tokio::io::AsyncWriteExt::write_all(&mut keys, b"\x03").await.expect("it is taken");
        let left = tokio::time::timeout(testkit::TIMEOUT, terminal.wait());
        left.await.expect("it ends").expect("it is known how");
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_was_written_is_forgotten() {
    let home = Home::new();
    let text = "console.log('before'); process.on('SIGUSR2', () => console.log('after')); setInterval(() => {}, 1000)";
    home.start(&[&home.script("bot.js", text), "--worker"]).await;
    home.start(&[&home.script("other.js", text), "--worker"]).await;
    let file = |name: &str| home.path().join(format!("state/tidelock/logs/{name}-0.log"));
    for name in ["bot", "other"] {
        home.until_written(name, "before").await;
        home.until_in(&file(name), "before").await;
    }
    let said = home.say(&["flush", "bot"]).await;
    assert!(
        said.success && said.stdout.contains("bot: what was written until now is forgotten"),
        "{}",
        said.text
    );
    home.until_gone(&file("bot"), "before").await;
    assert!(!home.say(&["logs", "bot"]).await.stdout.contains("before"));
    assert!(home.say(&["logs", "other"]).await.stdout.contains("before"), "it is another's");
    // What comes then is kept.
    let pid = home.say(&["env", "bot"]).await;
    assert!(pid.success, "{}", pid.text);
    home.signal("bot", rustix::process::Signal::USR2).await;
    home.until_written("bot", "after").await;
    home.until_in(&file("bot"), "after").await;
    assert!(home.say(&["flush"]).await.success);
    home.until_gone(&file("other"), "before").await;
    let said = home.say(&["flush", "nobody"]).await;
    assert!(!said.success && said.text.contains("there are: bot, other"), "{}", said.text);
}
