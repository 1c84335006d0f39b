//! Declares and reads `[upstream.NAME.rebalance]`.

use std::time::Duration;

use super::declared::{Key, Or, Section, Shape, Sub};
use super::fields::Fields;
use super::keys;
use super::kinds::{Count, Time};
use crate::plan::{Balance, Rebalance, Sticky};
use crate::problem::Problem;

pub(crate) static REBALANCE: Sub = Sub {
    name: "rebalance",
    shape: Shape::One,
    section: &Section {
        doc: "Moves sessions to nodes that have fewer, the oldest of a node first, as a drain moves them: after a node \
              was added, or has come back. Never while a node is down, draining or new.",
        keys: &[&PERCENT, &EVERY, &SETTLE],
        later: &[],
    },
};
static PERCENT: Key<Count, Or<u64>> = Key {
    name: "percent",
    kind: Count { least: 0, most: 100 },
    absent: Or(0),
    doc: "So many percent of the sessions of a node that has too many are moved in each `every`, and never more than \
          make the pool even; 0 is off.",
};
static EVERY: Key<Time, Or<Duration>> = Key {
    name: "every",
    kind: Time { least: Duration::from_secs(1), most: Duration::from_hours(1) },
    absent: Or(Duration::from_mins(1)),
    doc: "The time in which so many are moved, one after the other.",
};
static SETTLE: Key<Time, Or<Duration>> = Key {
    name: "settle",
    kind: Time { least: Duration::ZERO, most: Duration::from_hours(1) },
    absent: Or(Duration::from_mins(1)),
    doc: "Nothing is moved until every node has been up for so long.",
};

/// Reads the table. Sessions that come back to the node that they were moved from would be moved for ever.
pub(crate) fn read(fields: &Fields<'_>, sticky: &Sticky, balance: &Balance) -> Rebalance {
    let own = fields.one(&REBALANCE);
    let rebalance = Rebalance {
        percent: u32::try_from(own.or_default(&PERCENT)).unwrap_or(u32::MAX),
        every: own.or_default(&EVERY),
        settle: own.or_default(&SETTLE),
    };
    let moves = matches!(sticky, Sticky::Auto(_) | Sticky::EngineIo | Sticky::EngineIoLearned | Sticky::None);
    if rebalance.percent > 0 && !(moves && *balance == Balance::LeastSessions) {
        let at_fault = if moves { keys::BALANCE.name } else { keys::STICKY.name };
        let problem = Problem::error(own.span, "sessions that are moved here would come back to their node");
        let problem = match fields.span_of(at_fault) {
            Some(span) => problem.related(span, "because of this"),
            None => problem,
        };
        fields.push(problem.hint(
            "`rebalance` goes with `balance = \"least-sessions\"` and `sticky = \"auto\"`, \"engineio\", \
             \"engineio-learned\" or \"none\"",
        ));
    }
    rebalance
}
