//! What the two say to each other. docs/upgrade.md tells the same in words.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use proxy::{PassedAddress, PassedSession};
use serde::{Deserialize, Serialize};
use supervisor::handover::AppHandover;

/// A message, with which files may come.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Message {
    /// Begins everything.
    Hello {
        /// Who speaks.
        tidelock: String,
        pid: u32,
        /// It has been root, and become the user of the file.
        is_service: bool,
        /// The secret of its own, where the file has none.
        secret: Option<String>,
        /// The file as it is in force, if it was read from one.
        file: Option<String>,
    },
    /// The sockets of a listen, in the order of the file. `continues`: more of the one before.
    Listen {
        address: SocketAddr,
        continues: bool,
    },
    /// The socket of the verbs, which stays where it is at the end if it `is_systemds`.
    Admin {
        path: PathBuf,
        #[serde(default)]
        is_systemds: bool,
    },
    /// The lock of the tidelock in the background.
    Lock,
    /// That was the first part: get ready.
    Prepare,
    /// Everything is ready but for the apps, in the process `pid`.
    Prepared {
        pid: u32,
    },
    /// The private folder of the apps, and its lock.
    Folder {
        path: PathBuf,
    },
    App(AppHandover),
    /// Keeper, standard output, standard error, and the channel if there is one.
    Instance {
        app: String,
        slot: u32,
        generation: u64,
    },
    /// A node that somebody has drained.
    Drained {
        node: String,
    },
    Sessions {
        sessions: Vec<Session>,
    },
    /// That was the second part: serve.
    Serve,
    Serving,
    /// All of it is the new one's.
    Yours,
    /// It cannot be, and why.
    Failed {
        why: String,
    },
    /// Of a later version.
    #[serde(other)]
    Unknown,
}

/// A session that polls.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Session {
    upstream: String,
    node: String,
    sid: String,
    silence_ms: Option<u64>,
    client: IpAddr,
    #[serde(default)]
    https: bool,
    #[serde(default)]
    pinned: bool,
    path: Option<String>,
    host: Option<String>,
    #[serde(default)]
    eio: u8,
    #[serde(default)]
    jsonp: bool,
}

impl From<PassedSession> for Session {
    fn from(session: PassedSession) -> Self {
        let PassedSession { upstream, node, sid, silence, client, is_https, is_pinned, address } = session;
        let silence_ms = silence.map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX));
        let (eio, jsonp) =
            address.as_ref().map_or((4, false), |address| (if address.is_v4 { 4 } else { 3 }, address.jsonp));
        let (path, host) = address.map_or((None, None), |address| (Some(address.path), address.host));
        Self {
            upstream,
            node,
            sid,
            silence_ms,
            client,
            https: is_https,
            pinned: is_pinned,
            path,
            host,
            eio,
            jsonp,
        }
    }
}

impl From<Session> for PassedSession {
    fn from(session: Session) -> Self {
        let Session { upstream, node, sid, silence_ms, client, https, pinned, path, host, eio, jsonp } =
            session;
        let address = path.map(|path| PassedAddress { path, host, is_v4: eio == 4, jsonp });
        let silence = silence_ms.map(Duration::from_millis);
        Self { upstream, node, sid, silence, client, is_https: https, is_pinned: pinned, address }
    }
}

/// In one message.
pub(super) const SESSIONS_MAX: usize = 1000;

/// The version of the format. Kinds of messages and fields may be added without another one: who does not know them passes
/// over them.
pub(super) const FORMAT: u32 = 1;
/// What a tidelock that is to go on is told by.
pub(crate) const WORD: &str = "--upgrade=";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_later_version_says_is_passed_over() {
        let later = r#"{"type": "connection", "stream": {"tls": true}}"#;
        assert!(matches!(serde_json::from_str(later), Ok(Message::Unknown)));
        let more = r#"{"type": "drained", "node": "a/b", "since": 3}"#;
        assert!(matches!(serde_json::from_str(more), Ok(Message::Drained { node }) if node == "a/b"));
    }
}
