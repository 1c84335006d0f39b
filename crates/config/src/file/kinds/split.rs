//! The upstreams of a route, where it may have several.

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::choices::SplitKey;
use super::{Count, Name, quote, schema};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid, Written};
use crate::file::given::Given;
use crate::file::kinds::policy::Token;
use crate::plan::values::HashKey;
use crate::routing::{Share, SplitBy};

/// The name of an upstream, or a list of them with their shares.
pub(crate) struct Shares;

declare! {
    /// One of several upstreams.
    struct ShareTable in SHARE = "upstream", One: "An upstream and its share of the clients.";
    keys {
        /// The NAME of an `[upstream.NAME]`.
        NAME name: Option<String> => "it must be said", Name;
        /// Its share of the clients, beside the weights of the others; 0 for those alone who are sent there by name.
        WEIGHT weight: u32 = 1, Count { least: 0, most: 1_000_000 };
    }
}

impl Kind for Shares {
    type Read = Vec<Share>;

    fn read(&self, given: Given<'_>) -> Option<Vec<Share>> {
        if let DeValue::String(_) = given.value.get_ref() {
            return Name.read(given).map(|name| vec![Share { name, weight: 1 }]);
        }
        let DeValue::Array(_) = given.value.get_ref() else {
            return given.wrong_type("the name of an upstream, or a list", quote("nodes"));
        };
        let read: Vec<_> = given.elements("a list of upstreams", EXAMPLE)?.map(share).collect();
        let shares: Vec<Share> = read.into_iter().collect::<Option<_>>()?;
        if shares.is_empty() || shares.len() > SHARES_MAX || shares.iter().all(|share| share.weight == 0) {
            let hint =
                format!("write 1 to {SHARES_MAX} of them, of which one at least has a weight: {EXAMPLE}");
            return given.refuse("this list has no upstream for a request", Some(hint));
        }
        let is_twice =
            |(at, share): (usize, &Share)| shares[..at].iter().any(|other| other.name == share.name);
        if shares.iter().enumerate().any(is_twice) {
            return given
                .refuse("an upstream stands twice in this list", Some("give it one weight".to_owned()));
        }
        Some(shares)
    }

    fn schema(&self) -> Map<String, Json> {
        let list = json!({ "type": "array", "items": SHARE.section.schema(), "minItems": 1, "maxItems": SHARES_MAX });
        schema(json!({ "anyOf": [{ "type": "string" }, list] }))
    }
}

impl Written for Shares {
    fn written(&self, value: &Vec<Share>) -> Json {
        match &value[..] {
            [one] => json!(one.name),
            shares => json!(
                shares
                    .iter()
                    .map(|share| format!("{} {}", share.name, share.weight))
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        }
    }
}

fn share(given: Given<'_>) -> Option<Share> {
    let Some(fields) = given.table(SHARE.section) else {
        return given.wrong_type("a table", "{ name = \"nodes\", weight = 95 }".to_owned());
    };
    let ShareTable { name, weight } = fields.reading.sound(|| ShareTable::read(&fields))?;
    match name {
        Some(name) => Some(Share { name, weight }),
        None => given.refuse("this share names no upstream", Some(format!("write {EXAMPLE}"))),
    }
}

/// How a route with several upstreams tells clients apart.
pub(crate) struct SplitTable;

impl Unsaid for SplitTable {}

declare! {
    /// `split`, a table.
    struct SplitKeys in SPLIT = "split", One: "How a route with several upstreams tells clients apart.";
    keys {
        /// Whose clients stay together: "ip", of IPv6 the /64, "header:X", "cookie:X" or "query:X", where who does not say it counts by the
        /// address; "random" draws for each request that is of no session.
        BY by: Option<HashKey> = Some(HashKey::Ip), SplitKey;
        /// A cookie that sends whoever has it to the upstream that its value names.
        COOKIE cookie: Option<String> => "none", Token("the name of a cookie", "side");
        /// A header line that does the same.
        HEADER header: Option<String> => "none", Token("the name of a header", "X-Side");
    }
}

impl Kind for SplitTable {
    type Read = SplitBy;

    fn read(&self, given: Given<'_>) -> Option<SplitBy> {
        let Some(fields) = given.table(SPLIT.section) else {
            return given.wrong_type("a table", "{ cookie = \"side\" }".to_owned());
        };
        let SplitKeys { by, cookie, header } = fields.reading.sound(|| SplitKeys::read(&fields))?;
        Some(SplitBy { key: by, cookie, header: header.map(|name| name.to_ascii_lowercase()) })
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!(SPLIT.section.schema()))
    }
}

const EXAMPLE: &str = "[{ name = \"a\", weight = 95 }, { name = \"b\", weight = 5 }]";
const SHARES_MAX: usize = 16;
