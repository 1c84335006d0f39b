//! `tidelock start ecosystem.config.js`.

use testkit::raw::get;

use crate::{Home, address};

/// PM2 takes relative paths from the folder that it is called in.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn paths_are_relative_to_where_it_is_started_or_to_the_file() {
    let home = Home::new();
    std::fs::create_dir(home.path().join("conf")).expect("a folder");
    let work = |word: &str| format!("console.log('{word} at work'); setInterval(() => {{}}, 1000)");
    home.script("here.js", &work("here"));
    home.script("conf/there.js", &work("there"));
    home.script("conf/here.json", r#"{ "apps": [{ "name": "here", "script": "here.js" }] }"#);
    home.script("conf/there.json", r#"{ "apps": [{ "name": "there", "script": "./there.js" }] }"#);
    let said = home.start(&["conf/here.json"]).await;
    assert!(!said.text.contains("PM2 takes them"), "{}", said.text);
    let said = home.start(&["conf/there.json"]).await;
    assert!(said.text.contains("PM2 takes them from the current folder"), "{}", said.text);
    for app in ["here", "there"] {
        home.until_written(app, &format!("{app} at work")).await;
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn the_apps_of_an_ecosystem_file_are_started() {
    let home = Home::new();
    let (chat, mail) = (address(), address());
    home.script(
        "chat.js",
        "require('http').createServer((_, answer) => answer.end(process.env.WORD)).listen(process.env.PORT || 3000)",
    );
    home.script("bot.js", "console.log('at work'); setInterval(() => {}, 1000)");
    // It computes something, so that only `node` knows what it says.
    home.script(
        "ecosystem.config.js",
        &format!(
            "const port = {} + 0;
             module.exports = {{ apps: [
               {{ name: 'chat', script: 'chat.js', env: {{ HOST: '127.0.0.1', PORT: port, WORD: 'dev' }}, env_production: {{ WORD: 'prod' }} }},
               {{ name: 'mail', script: 'chat.js', env: {{ HOST: '127.0.0.1', PORT: {}, WORD: 'mail' }} }},
               {{ name: 'bot', script: 'bot.js', exec_mode: 'cluster' }} ] }}",
            chat.port(),
            mail.port()
        ),
    );
    let said = home.start(&["ecosystem.config.js", "--only", "chat,bot"]).await;
    for row in ["chat/0  ready", "bot/0   ready"] {
        assert!(said.stdout.contains(row), "{}", said.text);
    }
    assert_eq!(get(chat, "/").await.text(), "dev");
    let said = home.start(&["ecosystem.config.js", "--env", "production"]).await;
    assert!(said.stdout.contains("mail/0  ready"), "{}", said.text);
    assert_eq!((get(chat, "/").await.text(), get(mail, "/").await.text()), ("prod".into(), "mail".into()));
    home.until_written("bot", "bot/0 | at work").await;

    for (words, why) in [
        (&["ecosystem.config.js", "--only", "nobody"][..], "has no app `nobody`; there are: chat, mail, bot"),
        (&["ecosystem.config.js", "-i", "2"], "says that itself"),
    ] {
        let said = home.say(&[&["start", "--background"], words].concat()).await;
        assert!(!said.success && said.text.contains(why), "{words:?}: {}", said.text);
    }
    home.script("gone.json", r#"{ "apps": [{ "name": "gone", "script": "gone.js" }] }"#);
    let before = home.text();
    let said = home.say(&["start", "--background", "gone.json"]).await;
    assert!(!said.success && said.text.contains("gone.js"), "{}", said.text);
    assert_eq!(home.text(), before);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn pm2_serve_is_started_and_started_again() {
    let home = Home::new();
    let (web, chat) = (address(), address());
    home.script("index.html", "<p>a page</p>");
    home.script("index.js", "require('http').createServer((_, a) => a.end('app')).listen(3000)");
    home.script(
        "ecosystem.json",
        &format!(
            r#"{{ "apps": [{{ "name": "web", "script": "serve", "env": {{ "PM2_SERVE_PATH": ".", "PM2_SERVE_PORT": {}, "PM2_SERVE_HOST": "127.0.0.1" }} }}] }}"#,
            web.port()
        ),
    );
    for _ in 0..2 {
        let said = home.start(&["ecosystem.json"]).await;
        let shown = format!("web: its files are shown at http://{web}");
        assert!(said.stdout.contains(&shown), "{}", said.text);
        assert_eq!(get(web, "/index.html").await.text(), "<p>a page</p>");
        assert_eq!(home.text().matches("[[route]]").count(), 1, "{}", home.text());
    }
    // Beside an app, and after it has gone.
    home.start(&["index.js", "-n", "chat", "-l", &chat.to_string()]).await;
    home.start(&["ecosystem.json"]).await;
    assert_eq!(get(chat, "/").await.text(), "app");
    assert!(home.say(&["delete", "chat"]).await.success);
    assert_eq!(get(web, "/index.html").await.text(), "<p>a page</p>");
}

/// PM2 lets an app listen where its code says, whatever PORT says.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_port_in_the_code_counts_more_than_one_that_is_not_read() {
    let home = Home::new();
    let (fixed, said) = (address(), address());
    home.script(
        "fixed.js",
        &format!(
            "require('http').createServer((_, a) => a.end('fixed')).listen({}, '127.0.0.1')",
            fixed.port()
        ),
    );
    home.script(
        "ecosystem.json",
        &format!(
            r#"{{ "apps": [{{ "name": "fixed", "script": "fixed.js", "env": {{ "PORT": {} }} }}] }}"#,
            said.port()
        ),
    );
    let told = home.start(&["ecosystem.json"]).await;
    assert!(told.text.contains("whatever PORT"), "{}", told.text);
    assert_eq!(get(fixed, "/").await.text(), "fixed");
}
