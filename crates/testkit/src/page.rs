//! Pages in a real browser: `js/page.mjs` opens two tabs of headless Chromium in one room of the chat page, `js/spa.mjs` some of
//! a single-page app, `js/fleet.mjs` presses the buttons of the demo's page, `js/tab.mjs` opens one that stays.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::node::script;
use crate::process::{Mark, Process};

/// What the tabs do.
#[derive(Clone, Debug, Serialize)]
pub struct PagePlan {
    /// Where the chat page is.
    pub url: String,
    /// The room to meet in.
    pub room: String,
    /// What the first tab says.
    pub text: String,
    /// Take any certificate.
    pub insecure: bool,
    /// Where to put a picture of the second tab, if anywhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub screenshot: Option<String>,
}

impl PagePlan {
    /// A meeting at `url`.
    #[must_use]
    pub fn at(url: impl Into<String>) -> Self {
        let (room, text) = ("test".to_owned(), "hello from the first tab".to_owned());
        Self { url: url.into(), room, text, insecure: false, screenshot: None }
    }
}

/// What both tabs showed in the end.
#[derive(Clone, Debug, Deserialize)]
pub struct Meeting {
    /// The tab that spoke, and the one that listened.
    pub tabs: Vec<Tab>,
    /// Every error on the page or on its console.
    pub errors: Vec<String>,
    /// Rules of WCAG 2.2 AA that axe-core sees broken, in light and dark, on a desk and on a phone.
    pub violations: Vec<String>,
}

/// One tab.
#[derive(Clone, Debug, Deserialize)]
pub struct Tab {
    /// The messages it shows.
    pub texts: Vec<String>,
    /// For each message, the node that it came through.
    pub message_nodes: Vec<String>,
    /// The node it is connected to.
    pub node: String,
    /// How it is connected, such as `polling → websocket`.
    pub transport: String,
    /// Everything that it has shown of its transport, one after another.
    pub transports: Vec<String>,
    /// The names in the room.
    pub members: Vec<String>,
}

/// Opens two tabs and waits until both are on a WebSocket and show what the first one said.
///
/// # Panics
/// With the browser's own words, if that does not happen.
pub async fn meet(plan: &PagePlan) -> Meeting {
    let mut command = Command::new("node");
    command.arg(script("page.mjs")).arg(serde_json::to_string(plan).expect("a plan is plain data"));
    let process = Process::spawn("page", command);
    let line = process.wait_for_result(|line| line.starts_with("{\"tabs\":")).await;
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

/// What the tabs of a single-page app showed.
#[derive(Clone, Debug, Deserialize)]
pub struct SinglePage {
    /// Each of them.
    pub tabs: Vec<SinglePageTab>,
    /// The status of a script that is not there.
    pub missing: u16,
    /// Every error on a page or on its console.
    pub errors: Vec<String>,
}

/// One tab of a single-page app.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SinglePageTab {
    /// Its address at the deep link that it was opened at.
    pub path: String,
    /// The URL that a node saw when the app asked for `/api/headers`.
    pub api: String,
    /// The node of its socket.
    pub node: String,
    /// Its address after the app has moved by itself to `/rooms/8`.
    pub moved: String,
    /// And after a reload there.
    pub reloaded: String,
    /// And after the browser's way back.
    pub back: String,
}

/// Opens tabs of the app at `url` at the deep link `/rooms/7`, and waits until all are on a WebSocket.
///
/// # Panics
/// With the browser's own words, if that does not happen.
pub async fn visit(url: &str, tabs: usize) -> SinglePage {
    let mut command = Command::new("node");
    command.arg(script("spa.mjs")).arg(serde_json::json!({ "url": url, "tabs": tabs }).to_string());
    let process = Process::spawn("spa", command);
    let line = process.wait_for_result(|line| line.starts_with("{\"tabs\":")).await;
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

/// One tab on the chat page that stays there. Dropping it closes the browser.
#[derive(Debug)]
pub struct HeldTab {
    process: Process,
}

/// Where a tab is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Place {
    /// The node it is connected to.
    pub node: String,
    /// How it is connected: `polling → websocket`.
    pub transport: String,
}

/// What a tab has seen in its life.
#[derive(Clone, Debug, Deserialize)]
pub struct Farewell {
    /// Every error on the page or on its console.
    pub errors: Vec<String>,
    /// What its requests went over, such as `h2`, each once.
    pub protocols: Vec<String>,
}

impl HeldTab {
    /// Opens a tab at `url`, whose certificate is taken as it is, and waits until it is on a WebSocket.
    pub async fn open(url: &str) -> (Self, Place) {
        let mut command = Command::new("node");
        command.arg(script("tab.mjs")).arg(serde_json::json!({ "url": url, "insecure": true }).to_string());
        let tab = Self { process: Process::spawn("tab", command) };
        let place = tab.printed(Mark::default()).await;
        (tab, place)
    }

    /// Waits until it is on a WebSocket of another node than `node`.
    pub async fn moved_from(&mut self, node: &str) -> Place {
        self.told(&format!("moved {node}")).await
    }

    /// Says `text` and waits until it is shown.
    pub async fn say(&mut self, text: &str) -> Place {
        self.told(&format!("say {text}")).await
    }

    /// Closes it.
    pub async fn leave(mut self) -> Farewell {
        self.told("leave").await
    }

    async fn told<T: DeserializeOwned>(&mut self, line: &str) -> T {
        let mark = self.process.mark();
        self.process.write_line(line).await;
        self.printed(mark).await
    }

    async fn printed<T: DeserializeOwned>(&self, since: Mark) -> T {
        let lines = self.process.wait_for_lines_since(since, 1, |line| line.starts_with('{')).await;
        serde_json::from_str(&lines[0]).unwrap_or_else(|error| panic!("{error} in {}", lines[0]))
    }
}

/// What the demo's page showed while its buttons were pressed.
#[derive(Clone, Debug, Deserialize)]
pub struct Shown {
    /// The processes of the nodes at first, by node.
    pub before: BTreeMap<String, u32>,
    /// How many sessions each node had once `chat/0` was drained.
    pub drained: BTreeMap<String, usize>,
    /// The processes once `chat/1` was rolled.
    pub rolled: BTreeMap<String, u32>,
    /// What was counted until then, once everybody had everything.
    pub figures: BTreeMap<String, u64>,
    /// Every error on the page or on its console until then.
    pub errors: Vec<String>,
    /// The processes once `chat/2` was killed and all sessions were back.
    pub killed: BTreeMap<String, u32>,
    /// The commands that were shown.
    pub typed: Vec<String>,
}

/// Opens the demo's page at `url`, drains and rolls and kills a node each, and waits until all sessions are back each time.
///
/// # Panics
/// With the browser's own words, if that does not happen.
pub async fn press_buttons(url: &str) -> Shown {
    let mut command = Command::new("node");
    command.arg(script("fleet.mjs")).arg(serde_json::json!({ "url": url }).to_string());
    let process = Process::spawn("fleet", command);
    for step in ["all are here", "drained", "rolled", "everybody has everything", "killed"] {
        let done = format!("done: {step}");
        process.wait_for_line(|line| line == done).await;
    }
    let line = process.wait_for_result(|line| line.starts_with('{')).await;
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

/// What the demo's page was to somebody without a mouse, and to a screen reader.
#[derive(Clone, Debug, Deserialize)]
pub struct Used {
    /// What the first stop of the Tab key is called.
    pub first: String,
    /// What had the focus after `chat/0` was drained and taken back, and while and after `chat/1` was rolled.
    pub after: Vec<String>,
    /// Stops of the Tab key at which nothing shows where one is.
    pub unseen: Vec<String>,
    /// The page as a screen reader has it, in Playwright's words.
    pub tree: String,
    /// Rules of WCAG 2.2 AA that axe-core sees broken, in light and dark, on a desk and on a phone.
    pub violations: Vec<String>,
}

/// Opens the demo's page at `url` and uses it by keyboard alone.
///
/// # Panics
/// With the browser's own words, if that cannot be done.
pub async fn use_by_keyboard(url: &str) -> Used {
    let mut command = Command::new("node");
    command.arg(script("keys.mjs")).arg(serde_json::json!({ "url": url }).to_string());
    let process = Process::spawn("keys", command);
    let line = process.wait_for_result(|line| line.starts_with('{')).await;
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
}
