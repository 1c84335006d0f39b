//! Whoever carries the least for its weight.

use crate::upstream::balance::ask::{Ask, Fit, Load, Unpicked};
use crate::upstream::balance::cursor::Cursor;
use crate::upstream::balance::turns;
use crate::upstream::member::Member;

/// Requests go. Where none is under way the turn decides, by weight, instead of the heaviest node getting each of them.
///
/// Nothing is less than nothing: the first node without a request ends the search. In a pool where that is hard to find
/// so do the [`LOOKED_AT_MAX`] nodes whose turn is next. Loads change while they are read, so that a longer search would
/// not find what is least either; and the least of so many leaves nobody more than one request above its even share
/// (Mitzenmacher: with d to choose from, the most loaded of n nodes is ln ln n / ln d above, which is 0.6 of 1,000).
pub(super) fn requests(ask: &Ask<'_>, load: Load, cursor: &Cursor) -> Result<usize, Unpicked> {
    // Whose turn it is decides between equals.
    let start = turns::pick(ask, cursor)?;
    let judge = |index: usize, member: &Member| {
        (ask.fit_of(index, member), (load.of(member) as u64, member.weight_thousandths()))
    };
    let mut looked_at = 0;
    let enough = |(load, _): (u64, u64)| {
        looked_at += 1;
        load == 0 || looked_at == LOOKED_AT_MAX
    };
    ask.best_until(start, judge, is_less, enough)
}

/// Sessions stay, so that what counts is how many a node would have with one more, and every node is looked at.
pub(super) fn sessions(ask: &Ask<'_>, cursor: &Cursor) -> Result<usize, Unpicked> {
    let start = turns::pick(ask, cursor)?;
    let score = |member: &Member| (member.node.sessions() as u64 + 1, member.full_weight());
    if ask.members.iter().all(|member| member.node.is_settled()) {
        return ask.best(start, |index, member| (ask.fit_of(index, member), score(member)), is_less);
    }
    let queue = Queue::of(ask);
    let fit = |index: usize, member: &Member| match ask.fit_of(index, member) {
        Fit::Ready if !queue.is_first(member, cursor) => Fit::Second,
        fit => fit,
    };
    ask.best(start, |index, member| (fit(index, member), score(member)), is_less)
}

/// Each divided by its weight, compared without dividing.
fn is_less((a, a_weight): (u64, u64), (b, b_weight): (u64, u64)) -> bool {
    a * b_weight < b * a_weight
}

/// Who comes first where nodes are not alike: some have just come back, or some are processes that will be replaced.
struct Queue {
    /// Of all nodes that are ready.
    weight: u64,
    /// While the processes of an app are being replaced: so many sessions each may have that stays, before a new
    /// session goes to one that will be replaced, and has to move again.
    share: Option<usize>,
}

impl Queue {
    fn of(ask: &Ask<'_>) -> Self {
        let ready = || (0..ask.members.len()).filter(|&index| ask.fit(index) == Fit::Ready);
        let members = || ready().map(|index| &ask.members[index]);
        let nodes = || members().map(|member| &member.node);
        let sessions: usize = nodes().map(|node| node.sessions()).sum();
        let is_mixed = nodes().any(|node| node.is_outdated()) && nodes().any(|node| !node.is_outdated());
        Self {
            weight: members().map(Member::full_weight).sum(),
            // A little more than even, for sessions come and go while others move: one too many must not send the next
            // one where it has to move again.
            share: is_mixed
                .then(|| (sessions + 1).div_ceil(nodes().count()))
                .map(|even| even + even.div_ceil(8)),
        }
    }

    fn is_first(&self, member: &Member, cursor: &Cursor) -> bool {
        let node = &member.node;
        if self.share.is_some_and(|share| node.is_outdated() || node.sessions() >= share) {
            return false;
        }
        let ramp = node.ramp();
        if ramp >= 1.0 {
            return true;
        }
        // A node that has just come back has the fewest sessions by far, and would get every handshake of a storm until
        // it is even with the others. In its ramp it takes part in so many picks only that it gets from nothing, at
        // first, to twice its even share, at the end.
        let even_share = f64::from(member.entry.weight) / self.weight as f64;
        cursor.falls_in(2.0 * ramp * even_share)
    }
}

/// In a pool of no more nodes the choice is exact.
const LOOKED_AT_MAX: usize = 32;
