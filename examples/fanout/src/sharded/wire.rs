//! The JSON of the sharded dialect, as serde sees it. Received fields are optional wherever Node.js may leave them out.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::message::{Flags, RemoteSocket, Rooms, Target, milliseconds, names, truth};

#[derive(Deserialize)]
pub(super) struct Envelope<'a> {
    pub(super) uid: String,
    pub(super) nsp: String,
    #[serde(rename = "type")]
    pub(super) kind: u64,
    #[serde(borrow)]
    pub(super) data: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Data<'a> {
    pub(super) request_id: Option<String>,
    pub(super) opts: Option<Opts>,
    #[serde(deserialize_with = "names")]
    pub(super) rooms: Vec<String>,
    #[serde(deserialize_with = "truth")]
    pub(super) close: bool,
    pub(super) client_count: u32,
    pub(super) sockets: Vec<RemoteSocket>,
    #[serde(borrow)]
    pub(super) packet: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Opts {
    pub(super) rooms: Rooms,
    #[serde(deserialize_with = "names")]
    pub(super) except: Vec<String>,
    pub(super) flags: Option<OptFlags>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(super) struct OptFlags {
    #[serde(deserialize_with = "truth")]
    pub(super) volatile: bool,
    #[serde(deserialize_with = "milliseconds")]
    pub(super) timeout: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct Packet<'a> {
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
}

#[derive(Serialize)]
pub(super) struct OutPacket<'a> {
    #[serde(rename = "type")]
    pub(super) kind: u8,
    pub(super) data: &'a RawValue,
    pub(super) nsp: &'a str,
}

#[derive(Serialize)]
pub(super) struct OutEnvelope<'a> {
    pub(super) uid: &'a str,
    pub(super) nsp: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: u64,
    pub(super) data: OutData<'a>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutData<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) opts: Option<OutOpts<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rooms: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) close: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_count: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sockets: Option<&'a [RemoteSocket]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) packet: Option<Box<RawValue>>,
}

impl<'a> OutData<'a> {
    pub(super) fn opts(target: &'a Target) -> Self {
        let opts =
            OutOpts { rooms: target.rooms.names(), except: &target.except, flags: OutFlags::default() };
        Self { opts: Some(opts), ..Self::default() }
    }

    pub(super) fn flags(mut self, flags: Flags) -> Self {
        if let Some(opts) = &mut self.opts {
            opts.flags = OutFlags { volatile: flags.volatile.then_some(true), timeout: flags.timeout_ms };
        }
        self
    }
}

#[derive(Serialize)]
pub(crate) struct OutOpts<'a> {
    pub(super) rooms: &'a [String],
    pub(super) except: &'a [String],
    pub(super) flags: OutFlags,
}

#[derive(Default, Serialize)]
pub(crate) struct OutFlags {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) volatile: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<u64>,
}
