//! A tidelock in the background, and another one that goes on in its place.

use testkit::raw::get;

use crate::{Home, address};

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn there_is_one_for_each_user_after_an_upgrade_too() {
    let home = Home::new();
    let (chat, mail) = (address(), address());
    home.start(&[&home.app("chat.js"), "-l", &chat.to_string(), "-e", "WORD=chat"]).await;
    let first = home.pid().expect("it runs");
    let said = home.say(&["upgrade"]).await;
    assert!(said.success, "{}", said.text);
    let changed = async {
        while home.pid() == Some(first) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(testkit::TIMEOUT, changed).await.is_ok(), "the lock says process {first}");
    assert_eq!(get(chat, "/").await.text(), "chat");
    // It is found, added to, and no second one is started beside it.
    home.start(&[&home.app("mail.js"), "-l", &mail.to_string(), "-e", "WORD=mail"]).await;
    assert_eq!(get(mail, "/").await.text(), "mail");
    let next = home.pid().expect("it runs");
    let status = home.say(&["status", "--json"]).await.stdout;
    assert!(status.contains(&format!("\"pid\":{next}")), "{status}");
    let state = home.path().join("state/tidelock").display().to_string();
    let second =
        home.say(&["background", "--file", &home.file().display().to_string(), "--state", &state]).await;
    assert!(!second.success && second.text.contains(&format!("process {next}")), "{}", second.text);
    let said = home.say(&["kill"]).await;
    assert!(said.success, "{}", said.text);
    assert!(!home.say(&["list"]).await.success);
}
