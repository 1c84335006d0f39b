//! A real browser on the chat page: headless Chromium, driven by `js/page.mjs`.

use serde::Deserialize;
use tokio::process::Command;

use crate::node::script;
use crate::process::Process;

/// What two tabs in one room have shown, once the second had the message of the first.
#[derive(Clone, Debug, Deserialize)]
pub struct Tabs {
    /// The first said the message, the second only joined.
    pub tabs: [Tab; 2],
    /// What the pages threw, or logged as errors.
    pub errors: Vec<String>,
}

/// One tab, as it stood at the end.
#[derive(Clone, Debug, Deserialize)]
pub struct Tab {
    /// The texts of the messages.
    pub texts: Vec<String>,
    /// The nodes that delivered them.
    pub message_nodes: Vec<String>,
    /// The node that the tab is on.
    pub node: String,
    /// The transports that the tab has shown, one after another.
    pub transports: Vec<String>,
    /// Who is in the room.
    pub members: Vec<String>,
}

impl Tabs {
    /// Opens the chat page at `url` in two tabs, joins a room in both, and says `text` in the first.
    ///
    /// # Panics
    /// If there is no Chromium, or if what must be seen is not seen in time.
    pub async fn say(url: &str, text: &str) -> Self {
        let mut command = Command::new("node");
        command.arg(script("page.mjs"));
        command.arg(serde_json::json!({ "url": url, "text": text }).to_string());
        let mut process = Process::spawn("browser", command);
        let status = process.exit().await;
        assert!(status.success(), "{status}: {}", process.output());
        let line = process.wait_for_line(|line| line.starts_with("{\"tabs\"")).await;
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"))
    }
}
