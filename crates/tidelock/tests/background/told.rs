//! What is answered to words that are no verbs, and to what is said twice.

use crate::Home;

#[tokio::test]
async fn a_mistyped_verb_is_answered_as_one() {
    let home = Home::new();
    for (words, answer) in [
        (&["stauts"][..], "no verb `stauts`; did you mean `status`?"),
        (&["lsit", "--json"], "no verb `lsit`; did you mean `list`?"),
        (&["save"], "nothing has to be saved"),
        (&["deploy", "production", "setup"], "copies no code"),
        (&["frobnicate"], "no verb `frobnicate`, and no such file"),
    ] {
        let said = home.say(words).await;
        assert!(!said.success && said.text.contains(answer), "{words:?}: {}", said.text);
    }
    let said = home.say(&["no-such.toml"]).await;
    assert!(!said.success && said.text.contains("the file cannot be read"), "{}", said.text);
}

#[tokio::test]
async fn alone_it_serves_the_file_that_is_there() {
    let home = Home::new();
    let said = home.say(&[]).await;
    assert!(!said.success && said.text.contains("Usage: tidelock"), "{}", said.text);
    std::fs::write(home.path().join("upstreams.toml"), "[[listne]]\n").expect("written");
    let said = home.say(&[]).await;
    assert!(!said.success && said.text.contains("did you mean `listen`?"), "{}", said.text);
}

#[tokio::test]
async fn where_nothing_runs_it_says_what_to_do() {
    let home = Home::new();
    for words in [&["list"][..], &["kill"], &["resurrect"], &["delete", "all"], &["flush"]] {
        let said = home.say(words).await;
        assert!(!said.success && !said.text.is_empty(), "{words:?}: {}", said.text);
    }
}
