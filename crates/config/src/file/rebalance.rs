//! Reads `[upstream.NAME.rebalance]`, which does not go with everything.

use super::fields::Fields;
use super::keys;
use super::sections::rebalance::REBALANCE;
use crate::plan::{Balance, Rebalance, Sticky};
use crate::problem::Problem;

/// Reads the table. Sessions that come back to the node that they were moved from would be moved for ever.
pub(crate) fn read(fields: &Fields<'_>, sticky: &Sticky, balance: &Balance) -> Rebalance {
    let own = fields.one(&REBALANCE);
    let rebalance = Rebalance::read(&own);
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
