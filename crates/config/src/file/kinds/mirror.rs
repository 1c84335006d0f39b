//! Where copies of a route's requests go.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::{Count, Name, Size, quote, schema};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid};
use crate::file::given::Given;
use crate::routing::Mirror;

/// The name of an upstream, or a table.
pub(crate) struct MirrorTable;

impl Unsaid for MirrorTable {}

declare! {
    /// `mirror`, where it is a table.
    struct Said in TABLE = "mirror", One: "Which requests are copied, and for whom.";
    keys {
        /// The NAME of an `[upstream.NAME]`, one of whose nodes gets each copy.
        UPSTREAM upstream: Option<String> => "it must be said", Name;
        /// So many of a hundred requests are copied, by the throw of a die.
        PERCENT percent: u32 = 100, Count { least: 1, most: 100 };
        /// A request whose content is longer is not copied.
        BODY_BYTES_MAX body_bytes_max: u64 = 64 << 10, Size { least: 0, most: 1 << 20 };
    }
}

impl Kind for MirrorTable {
    type Read = Mirror;

    fn read(&self, given: Given<'_>) -> Option<Mirror> {
        if let DeValue::String(_) = given.value.get_ref() {
            let upstream = Name.read(given)?;
            return Some(Mirror { upstream, percent: 100, body_bytes_max: BODY_BYTES_MAX.absent.0 });
        }
        let Some(fields) = given.table(TABLE.section) else {
            return given.wrong_type("the name of an upstream, or a table", quote("shadow"));
        };
        let Said { upstream, percent, body_bytes_max } = fields.reading.sound(|| Said::read(&fields))?;
        match upstream {
            Some(upstream) => Some(Mirror { upstream, percent, body_bytes_max }),
            None => given.refuse(
                "`mirror` names no upstream",
                Some("write `mirror = { upstream = \"shadow\" }`".to_owned()),
            ),
        }
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "anyOf": [{ "type": "string" }, TABLE.section.schema()] }))
    }
}
