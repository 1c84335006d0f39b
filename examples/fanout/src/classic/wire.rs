//! The JSON of the classic dialect, as serde sees it. A request's type decides which of its fields are there.

use serde::Deserialize;
use serde_json::Value as Json;

use crate::message::{RemoteSocket, Rooms, Target, truth};

#[derive(Deserialize)]
pub(super) struct WireRequest {
    #[serde(rename = "type")]
    pub(super) kind: u64,
    pub(super) uid: Option<String>,
    #[serde(rename = "requestId")]
    pub(super) request_id: Option<String>,
    pub(super) opts: Option<Target>,
    /// A target for SOCKETS, and otherwise what to join or leave.
    #[serde(default)]
    pub(super) rooms: Rooms,
    pub(super) sid: Option<String>,
    pub(super) room: Option<Json>,
    #[serde(default, deserialize_with = "truth")]
    pub(super) close: bool,
    pub(super) data: Option<Vec<Json>>,
}

#[derive(Deserialize)]
pub(super) struct WireAnswer {
    #[serde(rename = "type")]
    pub(super) kind: Option<u64>,
    #[serde(rename = "requestId")]
    pub(super) request_id: String,
    pub(super) sockets: Option<Sockets>,
    pub(super) rooms: Option<Vec<Json>>,
    #[serde(default)]
    pub(super) data: Json,
    #[serde(rename = "clientCount", default)]
    pub(super) client_count: u32,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Sockets {
    Full(Vec<RemoteSocket>),
    Ids(Vec<String>),
}
