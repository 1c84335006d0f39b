//! How often something may be asked of a route.

use std::num::NonZeroU32;

use serde_json::{Map, Value as Json, json};
use toml::de::DeValue;

use super::choices::LimitBy;
use super::{Count, Flag, Name, Word, quote, schema};
use crate::file::declare::declare;
use crate::file::declared::{Kind, Unsaid, Written};
use crate::file::given::Given;
use crate::plan::values::HashKey;
use crate::routing::{Limit, LimitKey, Limited, Per, Rate};

/// A table, or a list of tables.
pub(crate) struct Limits;

impl Unsaid for Limits {}

declare! {
    /// `limit`, a table.
    struct LimitTable in TABLE = "limit", One: "How often something may be asked of a route, and by whom.";
    keys {
        /// How often, on average: "10/s", "100/m" or "1000/h".
        RATE rate: Option<Rate> => "as often as it likes", RateText;
        /// So many more than the rate may come at once.
        BURST burst: u32 = 0, Count { least: 0, most: 1_000_000 };
        /// So many of the burst go on at once; the others wait until they are even with the rate. 0 delays all of them.
        DELAY delay: Option<u32> => "nobody waits", Count { least: 0, most: 1_000_000 };
        /// Most requests at once, those that wait for an answer, and WebSockets.
        CONNECTIONS connections: Option<u32> => "any number", Count { least: 1, most: 1_000_000 };
        /// Who counts as one: "ip", of IPv6 the /64; "header:X", "cookie:X" or "query:X", where who does not say it counts by
        /// the address; or "all", everybody together.
        BY by: LimitKey = LimitKey::Of(HashKey::Ip), LimitBy;
        /// What counts: "requests", those that begin no session; "handshakes", those that begin one, with Engine.IO or by a
        /// WebSocket; or "all", where each of both is counted for itself.
        OF of: Limited = Limited::Everything, Word<Limited>(&OF_WORDS);
        /// The status of a request that is refused, which says in Retry-After when to come again.
        STATUS status: u16 = 429, Count { least: 400, most: 599 };
        /// Whether requests of sessions that have begun count, too. They are let pass otherwise, so that nobody falls out of
        /// a session.
        SESSIONS sessions: bool = false, Flag;
        /// Whether nothing is refused, and the access log and the counters alone say what would be.
        DRY_RUN dry_run: bool = false, Flag;
        /// Whether all tidelocks count together, in the Redis of `[redis]`, how often its key has asked. `connections` is
        /// counted by each for itself, and so is everything while Redis is away.
        SHARED shared: bool = false, Flag;
        /// Limits of the same name count together, whatever route they are on.
        NAME name: Option<String> => "it counts for this route alone", Name;
    }
}

impl Kind for Limits {
    type Read = Vec<Limit>;

    fn read(&self, given: Given<'_>) -> Option<Vec<Limit>> {
        let DeValue::Array(all) = given.value.get_ref() else { return limit(given).map(|limit| vec![limit]) };
        if all.is_empty() || all.len() > LIMITS_MAX {
            let hint = format!("write 1 to {LIMITS_MAX} of them, or leave `limit` out");
            return given.refuse(format!("there are {} limits in this list", all.len()), Some(hint));
        }
        let read: Vec<_> = given.elements("a list of limits", EXAMPLE)?.map(limit).collect();
        read.into_iter().collect()
    }

    fn schema(&self) -> Map<String, Json> {
        let one = TABLE.section.schema();
        schema(
            json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1, "maxItems": LIMITS_MAX }] }),
        )
    }
}

fn limit(given: Given<'_>) -> Option<Limit> {
    let Some(fields) = given.table(TABLE.section) else {
        return given.wrong_type("a table", EXAMPLE.to_owned());
    };
    let table = fields.reading.sound(|| LimitTable::read(&fields))?;
    let LimitTable { rate, burst, delay, connections, by, of, status, sessions, dry_run, shared, name } =
        table;
    if rate.is_none() && connections.is_none() {
        let hint = format!("write `rate = \"10/s\"`, `connections = 20` or both: {EXAMPLE}");
        return given.refuse("this limit bounds nothing", Some(hint));
    }
    let useless = [BURST.name, DELAY.name].into_iter().filter_map(|name| fields.given(name)).next();
    if let (None, Some(useless)) = (rate, useless) {
        return useless.refuse(format!("`{}` goes with `rate`", useless.name), None);
    }
    if let (None, true, Some(said)) = (rate, shared, fields.given(SHARED.name)) {
        let hint = "each tidelock counts `connections` for itself".to_owned();
        return said.refuse("`shared` goes with `rate`", Some(hint));
    }
    if let Some(said) = fields.given(DELAY.name).filter(|_| delay.is_some_and(|delay| delay >= burst)) {
        let hint = "leave `delay` out where nobody waits, or say a smaller one".to_owned();
        return said.refuse("none of the burst is left to wait", Some(hint));
    }
    Some(Limit {
        rate,
        burst,
        undelayed: delay,
        connections_max: connections,
        by,
        of,
        status,
        has_sessions: sessions,
        is_dry_run: dry_run,
        is_shared: shared,
        name: name.unwrap_or_default(),
    })
}

/// So many in a second, a minute or an hour.
pub(crate) struct RateText;

impl Kind for RateText {
    type Read = Rate;

    fn read(&self, given: Given<'_>) -> Option<Rate> {
        let text = given.text("a rate", || quote("10/s"))?;
        let parts = text.split_once('/');
        let read = parts.and_then(|(count, per)| {
            let count = count.trim().parse().ok().filter(|count: &NonZeroU32| count.get() <= RATE_MAX)?;
            Some(Rate { count, per: per_of(per.trim())? })
        });
        let hint = || format!("write how many, 1 to {RATE_MAX}, in what: \"10/s\", \"100/m\" or \"1000/h\"");
        read.or_else(|| given.refuse(format!("\"{text}\" is not a rate"), Some(hint())))
    }

    fn schema(&self) -> Map<String, Json> {
        schema(json!({ "type": "string", "pattern": "^[1-9][0-9]{0,6}/[smh]$" }))
    }
}

impl Written for RateText {
    fn written(&self, Rate { count, per }: &Rate) -> Json {
        json!(format!("{count}/{}", per.unit().0))
    }
}

/// As people and nginx write it.
fn per_of(text: &str) -> Option<Per> {
    match text {
        "s" | "sec" | "second" => Some(Per::Second),
        "m" | "min" | "minute" => Some(Per::Minute),
        "h" | "hour" => Some(Per::Hour),
        _ => None,
    }
}

const OF_WORDS: [(&str, Limited); 3] =
    [("all", Limited::Everything), ("requests", Limited::Requests), ("handshakes", Limited::Handshakes)];
const EXAMPLE: &str = "{ rate = \"10/s\", burst = 20 }";
/// Of one route.
const LIMITS_MAX: usize = 8;
/// In one unit of time.
const RATE_MAX: u32 = 1_000_000;
