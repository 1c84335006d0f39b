//! How often something may be asked of a route, and by whom.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::plan::values::HashKey;

/// A bound on what one key may ask of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// How often, on average; `None` is as often as it likes.
    pub rate: Option<Rate>,
    /// So many more than the rate may come at once.
    pub burst: u32,
    /// So many of the burst go on without delay, and the others wait until they are even with the rate; `None` is all of them.
    pub undelayed: Option<u32>,
    /// Most requests and tunnels at once; `None` is any number.
    pub connections_max: Option<u32>,
    /// Who counts as one.
    pub by: LimitKey,
    /// Which requests count.
    pub of: Limited,
    /// The status of a request that is refused.
    pub status: u16,
    /// Whether requests of sessions that have begun already count, too.
    pub has_sessions: bool,
    /// Nothing is refused or delayed, only told.
    pub is_dry_run: bool,
    /// All tidelocks with the same Redis count its rate together.
    pub is_shared: bool,
    /// Those of the same name count together. Where the file says none it is made of what the route takes, so that a reload
    /// forgets nobody.
    pub name: String,
}

/// So many in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In what time.
    pub per: Per,
}

/// What a rate is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Per {
    /// `"10/s"`.
    Second,
    /// `"10/m"`.
    Minute,
    /// `"10/h"`.
    Hour,
}

impl Per {
    /// Its letter, and how long it is.
    pub fn unit(self) -> (char, Duration) {
        match self {
            Self::Second => ('s', Duration::from_secs(1)),
            Self::Minute => ('m', Duration::from_mins(1)),
            Self::Hour => ('h', Duration::from_hours(1)),
        }
    }
}

/// Who counts as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum LimitKey {
    /// Whoever says the same. Who does not say it counts by the address.
    Of(HashKey),
    /// All clients together.
    All,
}

/// Which requests count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Limited {
    /// All of them; those that begin a session apart from the others.
    #[default]
    Everything,
    /// Those that begin no session.
    Requests,
    /// Those that begin a session: handshakes of Engine.IO, and WebSockets.
    Handshakes,
}
