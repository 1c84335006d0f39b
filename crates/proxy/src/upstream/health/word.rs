//! What requests need to know of a node's health, in one word of flags. 0 for a node that can have whatever comes.

use super::state::HealthState;

/// The word of a node in this state.
pub(crate) fn of(health: &HealthState) -> u32 {
    let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
    flag(!health.is_up(), DOWN)
        | flag(health.is_draining, DRAINING)
        | flag(!health.is_clear(), UNCLEAR)
        | flag(health.is_outdated, OUTDATED)
        | flag(health.is_gone, GONE)
        | flag(health.is_suspected, SUSPECTED)
}

/// It is leaving.
pub(crate) const DRAINING: u32 = 1;
/// It is down.
pub(crate) const DOWN: u32 = 1 << 1;
/// Something is held against it, which an answer may change.
pub(crate) const UNCLEAR: u32 = 1 << 2;
/// It will be replaced.
pub(crate) const OUTDATED: u32 = 1 << 3;
/// It is no more.
pub(crate) const GONE: u32 = 1 << 4;
/// Others come first, until a probe has found out.
pub(crate) const SUSPECTED: u32 = 1 << 5;
