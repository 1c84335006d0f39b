//! Apps that come, go and change.

use testkit::raw::get;

use crate::{Home, address};

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn apps_are_added_to_one_tidelock_and_taken_away() {
    let home = Home::new();
    let (chat, mail) = (address(), address());
    let said = home.start(&[&home.app("chat.js"), "-l", &chat.to_string(), "-e", "WORD=chat"]).await;
    assert!(said.stdout.contains(&format!("chat is ready at http://{chat}")), "{}", said.text);
    assert!(said.stdout.contains("chat/0  ready"), "{}", said.text);
    assert_eq!(get(chat, "/").await.text(), "chat");
    let first = home.pid().expect("it runs");

    // What the shell has beside a login goes with the app that is started from it, and with no other.
    let words = ["start", "--background", &home.app("mail.js"), "--listen", &mail.to_string(), "-i", "2"];
    let said = home.say_with(&words, &[("WORD", "mail"), ("SSH_TTY", "/dev/pts/1")]).await;
    assert!(said.success, "{}", said.text);
    assert_eq!((get(mail, "/").await.text(), get(chat, "/").await.text()), ("mail".into(), "chat".into()));
    assert_eq!(home.pid(), Some(first), "there is one for each user");
    assert!(!home.text().contains("SSH_TTY"), "{}", home.text());

    let list = home.say(&["list"]).await;
    for row in ["chat/0  ready", "mail/0  ready", "mail/1  ready"] {
        assert!(list.success && list.stdout.contains(row), "{}", list.text);
    }
    let said = home.say(&["env", "mail/1"]).await;
    for line in ["WORD=mail\n", "NODE_APP_INSTANCE=1\n", "\npm_id=1\n", "\nname=mail\n"] {
        assert!(said.stdout.contains(line), "{line}: {}", said.text);
    }
    let said = home.say(&["describe", "chat"]).await;
    assert!(
        said.stdout.contains("[app.chat]") && said.stdout.contains(&format!("http://{chat}")),
        "{}",
        said.text
    );

    let said = home.say(&["status", "mail"]).await;
    assert!(said.success && said.stdout.contains("mail/1") && !said.stdout.contains("chat"), "{}", said.text);
    let said = home.say(&["status", "nobody"]).await;
    assert!(!said.success && said.text.contains("there are: chat, mail"), "{}", said.text);

    let said = home.say(&["delete", "chat"]).await;
    assert!(said.success, "{}", said.text);
    assert!(testkit::raw::RawConnection::try_connect(chat).await.is_err(), "nobody listens there");
    assert_eq!(get(mail, "/").await.text(), "mail");
    assert!(!home.text().contains("chat"), "{}", home.text());

    let said = home.say(&["delete", "all"]).await;
    assert!(said.success && said.text.contains("tidelock has ended"), "{}", said.text);
    assert!(!home.say(&["list"]).await.success);
    // And again from the beginning.
    home.start(&[&home.app("chat.js"), "-l", &chat.to_string()]).await;
    assert_eq!(get(chat, "/").await.text(), "no word");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_is_changed_is_in_the_file_and_what_its_owner_wrote_stays() {
    let home = Home::new();
    let chat = address();
    home.start(&[&home.app("chat.js"), "-l", &chat.to_string()]).await;
    std::fs::write(home.file(), home.text().replace("[app.chat]", "# Mine.\n[app.chat]")).expect("written");

    let said = home.say(&["scale", "chat", "+1"]).await;
    assert!(said.success && said.stdout.contains("chat/1  ready"), "{}", said.text);
    assert!(home.text().contains("instances = 2"), "{}", home.text());
    let said = home.say(&["scale", "chat", "-1"]).await;
    assert!(said.success && !said.stdout.contains("chat/1  ready"), "{}", said.text);
    let said = home.say(&["scale", "chat", "-1"]).await;
    assert!(!said.success && said.text.contains("`tidelock stop chat` runs none"), "{}", said.text);

    let said = home.say(&["set", "chat", "env.WORD", "a b"]).await;
    assert!(said.success, "{}", said.text);
    assert_eq!(get(chat, "/").await.text(), "a b");
    let said = home.say(&["unset", "chat", "env.WORD"]).await;
    assert!(said.success, "{}", said.text);
    assert_eq!(get(chat, "/").await.text(), "no word");
    assert!(home.text().contains("# Mine.\n[app.chat]"), "{}", home.text());
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn it_ends_when_it_is_told_and_comes_back_with_all_it_had() {
    let home = Home::new();
    let chat = address();
    home.start(&[&home.app("chat.js"), "-l", &chat.to_string(), "-e", "WORD=back"]).await;
    let said = home.say(&["kill"]).await;
    assert!(said.success && said.text.contains("has ended"), "{}", said.text);
    assert!(testkit::raw::RawConnection::try_connect(chat).await.is_err());
    let said = home.say(&["resurrect"]).await;
    assert!(
        said.success && said.stdout.contains(&format!("chat is ready at http://{chat}")),
        "{}",
        said.text
    );
    assert_eq!(get(chat, "/").await.text(), "back");
    assert!(!home.say(&["resurrect"]).await.success);
    // By the app's name, too.
    assert!(home.say(&["kill", "--now"]).await.success);
    let said = home.say(&["start", "chat"]).await;
    assert!(said.success, "{}", said.text);
    assert_eq!(get(chat, "/").await.text(), "back");
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_does_not_start_changes_nothing() {
    let home = Home::new();
    let chat = address();
    let crash = home.script("crash.js", "console.error('no database'); process.exit(3)");
    let said = home.say(&["start", "--background", &crash, "-l", &chat.to_string()]).await;
    assert!(!said.success && said.text.contains("it ended with code 3"), "{}", said.text);
    assert!(said.text.contains("crash/0 | no database"), "what it said is shown: {}", said.text);
    assert!(!home.file().exists() && !home.say(&["list"]).await.success);

    home.start(&[&home.app("chat.js"), "-l", &chat.to_string()]).await;
    let before = home.text();
    let elsewhere = address();
    let taken = std::net::TcpListener::bind(elsewhere).expect("a port");
    let app = home.app("mail.js");
    for (words, why) in [
        (&["start", "--background", &crash, "-l", &address().to_string()][..], "no database"),
        (&["start", "--background", &app, "-l", &elsewhere.to_string()], "in use"),
        (&["start", "--background", &app, "-l", &chat.to_string()], "where clients of chat connect"),
        (&["start", "--background", &app, "-n", "chat"], "there is an app chat already"),
        (&["start", "--background", &app, "-l", "nowhere"], "nowhere"),
        (&["set", "chat", "instancse", "2"], "did you mean `instances`?"),
        (&["set", "chat", "cwd", "/no/such"], "/no/such"),
        (&["set", "char", "cwd", "/"], "has no app `char`; there are: chat"),
        (&["delete", "char"], "has no app `char`"),
    ] {
        let said = home.say(words).await;
        assert!(!said.success && said.text.contains(why), "{words:?}: {}", said.text);
        assert_eq!(home.text(), before, "{words:?}");
        assert_eq!(get(chat, "/").await.text(), "no word", "{words:?}");
    }
    drop(taken);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn what_is_there_already_takes_over_what_is_new() {
    let home = Home::new();
    let chat = address();
    let app = home.app("chat.js");
    home.start(&[&app, "-l", &chat.to_string()]).await;
    let said = home.start(&[&app]).await;
    assert!(said.text.contains("chat is there already"), "{}", said.text);
    let said = home.start(&[&app, "-i", "2", "-e", "WORD=new"]).await;
    assert!(said.stdout.contains("chat/1  ready"), "{}", said.text);
    assert_eq!(get(chat, "/").await.text(), "new");
    assert!(home.say(&["stop", "chat"]).await.success);
    let said = home.start(&[&app]).await;
    assert!(said.stdout.contains("chat/0  ready"), "{}", said.text);
}
