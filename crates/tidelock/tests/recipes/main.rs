//! Goal: each recipe in `configs/recipes` does what it says below its lines.
//! Method: the file as it is but for where it listens and where its nodes are; `tidelock check`, and the binary with nodes
//! that say what they saw.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use testkit::message::Message;
use testkit::origin::{ScriptedOrigin, Step};
use testkit::raw::RawConnection;
use testkit::tidelock::{Tidelock, directory};
use tokio::process::Command;

const TIDELOCK: &str = env!("CARGO_BIN_EXE_tidelock");

#[tokio::test]
async fn every_recipe_does_what_it_says() {
    let recipes = recipes();
    assert!(recipes.len() >= 8, "{recipes:?}");
    for recipe in recipes {
        try_recipe(&recipe).await;
    }
}

async fn try_recipe(recipe: &Path) {
    let text = fs::read_to_string(recipe).expect("it is in the repository");
    let (text, _origins) = on_this_machine(&text).await;
    let asks: Vec<Ask> = text.lines().filter_map(|line| line.strip_prefix("#> ")).map(Ask::read).collect();
    assert!(!asks.is_empty(), "{}", recipe.display());
    let folder = directory();
    fs::create_dir_all(folder.path().join("dist")).expect("a writable folder");
    fs::create_dir_all(folder.path().join("pages")).expect("a writable folder");
    for (name, content) in [
        ("dist/index.html", "the app"),
        ("dist/app.3f2a9c1b.js", "let a = 1;"),
        ("secret", "secret"),
        ("pages/404.html", "<p>Nothing here: {status} {reason}"),
    ] {
        fs::write(folder.path().join(name), content).expect("a writable folder");
    }
    fs::write(folder.path().join("checked.toml"), &text).expect("a writable folder");
    let mut check = Command::new(TIDELOCK);
    check.args(["check", "checked.toml"]).current_dir(folder.path()).env("NO_COLOR", "1");
    let checked = check.output().await.expect("it can be started");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{}: {said}", recipe.display());
    let proxy = Tidelock::start_in(folder, TIDELOCK, &text).await;
    for ask in asks {
        let answer = ask.of(&proxy).await;
        let wrong = ask.wrong(&answer);
        assert!(wrong.is_empty(), "{}: {}: {wrong:?}: {answer:?}", recipe.display(), ask.start);
    }
}

/// The file with the test's own listen, and with nodes that say what they saw in the place of those at 127.0.0.1.
async fn on_this_machine(text: &str) -> (String, Vec<ScriptedOrigin>) {
    let mut addresses: HashMap<String, SocketAddr> = HashMap::new();
    let (mut origins, mut upstream) = (Vec::new(), String::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("[upstream.").and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut upstream);
        }
        for word in line.split('"').filter(|_| line.starts_with("nodes = ")) {
            let authority = word.trim_start_matches("http://").split('/').next().unwrap_or_default();
            if authority.starts_with("127.0.0.1:") {
                let origin = seeing(upstream.clone()).await;
                addresses.insert(authority.to_owned(), origin.address());
                origins.push(origin);
            }
        }
    }
    let mut text = text.replace("\":80\"", "\"127.0.0.1:0\"");
    for (written, address) in addresses {
        text = text.replace(&written, &address.to_string());
    }
    (text, origins)
}

/// A node that says what it saw, and has nothing at `/missing`.
async fn seeing(name: String) -> ScriptedOrigin {
    ScriptedOrigin::start(move |request| {
        let start = request.start.trim_end_matches(" HTTP/1.1");
        let status = if start.ends_with("/missing") { "404 Not Found" } else { "200 OK" };
        let body = format!("{name} saw {start}");
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
        vec![Step::send(&(head + &body))]
    })
    .await
}

/// A line of a recipe: `GET http://example.com/a with Name: value   200, "text", Name: value`.
struct Ask {
    start: String,
    lines: String,
    status: u16,
    text: Option<String>,
    headers: Vec<(String, String)>,
}

impl Ask {
    fn read(line: &str) -> Self {
        let (method, rest) = line.trim().split_once(' ').expect("a method");
        let (asked, said) = rest.trim().split_once("  ").expect("two blanks between request and answer");
        let (url, more) = asked.split_once(" with ").unwrap_or((asked, ""));
        let rest = url.strip_prefix("http://").expect("a URL");
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (status, mut said) = said.trim().split_once(", ").unwrap_or((said.trim(), ""));
        let (mut text, mut headers) = (None, Vec::new());
        while !said.is_empty() {
            if let Some(quoted) = said.strip_prefix('"') {
                let (inside, rest) = quoted.split_once('"').expect("the other quote");
                text = Some(inside.to_owned());
                said = rest.trim_start_matches(", ");
                continue;
            }
            let (name, rest) = said.split_once(": ").expect("the name of a header");
            // A comma may be of the value: another header has a name.
            let next = rest.match_indices(", ").find(|(at, _)| {
                let name = rest[at + 2..].split_once(": ").map_or("", |(name, _)| name);
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            });
            let (value, rest) = next.map_or((rest, ""), |(at, _)| (&rest[..at], &rest[at + 2..]));
            headers.push((name.to_owned(), value.to_owned()));
            said = rest;
        }
        let more = if more.is_empty() { String::new() } else { format!("{more}\r\n") };
        Self {
            start: format!("{method} {path}"),
            lines: format!("Host: {host}\r\nUser-Agent: Mozilla/5.0\r\n{more}"),
            status: status.parse().expect("a status"),
            text,
            headers,
        }
    }

    async fn of(&self, proxy: &Tidelock) -> Message {
        let mut client = RawConnection::connect(proxy.address()).await;
        let length = if self.start.starts_with("POST ") { "Content-Length: 0\r\n" } else { "" };
        client.send(&format!("{} HTTP/1.1\r\n{}{length}\r\n", self.start, self.lines)).await;
        client.read_message().await
    }

    fn wrong(&self, answer: &Message) -> Vec<String> {
        let mut wrong = Vec::new();
        if answer.status() != self.status {
            wrong.push(format!("{} is not {}", answer.status(), self.status));
        }
        if let Some(text) = self.text.as_ref().filter(|text| **text != answer.text()) {
            wrong.push(format!("{:?} is not {text:?}", answer.text()));
        }
        for (name, value) in &self.headers {
            if !answer.all(name).contains(&value.as_str()) {
                wrong.push(format!("{name} is {:?}, not {value:?}", answer.all(name)));
            }
        }
        wrong
    }
}

fn recipes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/recipes");
    let entries = fs::read_dir(folder).expect("the folder is in the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files
}
