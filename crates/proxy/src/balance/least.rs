//! Whoever carries the least for its weight.

use super::{Ask, Cursor, Fit, Load, Unpicked, turns};
use crate::upstream::node::Node;

pub(super) fn pick(ask: &Ask<'_>, load: Load, cursor: &Cursor) -> Result<usize, Unpicked> {
    // Whose turn it is decides between equals.
    let start = turns::pick(ask, cursor)?;
    match load {
        Load::Sessions => fewest_sessions(ask, start, cursor),
        // Requests go. Where none is under way the turn decides, by weight, instead of the heaviest node getting each
        // of them.
        Load::InFlight | Load::Connections => {
            let score = |node: &Node| load.of(node) as f64 / node.weight();
            ask.best(start, |index| ask.fit(index), score, |a, b| a < b)
        }
    }
}

/// Sessions stay, so that what counts is how many a node would have with one more.
fn fewest_sessions(ask: &Ask<'_>, start: usize, cursor: &Cursor) -> Result<usize, Unpicked> {
    let queue = Queue::of(ask);
    let fit = |index: usize| match ask.fit(index) {
        Fit::Ready if !queue.is_first(&ask.nodes[index], cursor) => Fit::Second,
        fit => fit,
    };
    let score = |node: &Node| (node.sessions() as u64 + 1, u64::from(node.roster.weight));
    ask.best(start, fit, score, |(a, a_weight), (b, b_weight)| a * b_weight < b * a_weight)
}

/// Who comes first where nodes are not alike: some have just come back, or some are processes that will be replaced.
/// Nearly always nobody does.
struct Queue {
    /// Of all nodes that are ready.
    weight: u64,
    /// While the processes of an app are being replaced: so many sessions each may have that stays, before a new
    /// session goes to one that will be replaced, and has to move again.
    share: Option<usize>,
}

impl Queue {
    fn of(ask: &Ask<'_>) -> Self {
        let is_odd = |node: &Node| node.is_outdated() || node.ramp() < 1.0;
        if !ask.nodes.iter().any(|node| is_odd(node)) {
            return Self { weight: 0, share: None };
        }
        let ready = || (0..ask.nodes.len()).filter(|&index| ask.fit(index) == Fit::Ready);
        let nodes = || ready().map(|index| &ask.nodes[index]);
        let sessions: usize = nodes().map(|node| node.sessions()).sum();
        let is_mixed = nodes().any(|node| node.is_outdated()) && nodes().any(|node| !node.is_outdated());
        Self {
            weight: nodes().map(|node| u64::from(node.roster.weight)).sum(),
            // A little more than even, for sessions come and go while others move: one too many must not send the next
            // one where it has to move again.
            share: is_mixed
                .then(|| (sessions + 1).div_ceil(nodes().count()))
                .map(|even| even + even.div_ceil(8)),
        }
    }

    fn is_first(&self, node: &Node, cursor: &Cursor) -> bool {
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
        let even_share = f64::from(node.roster.weight) / self.weight as f64;
        cursor.falls_in(2.0 * ramp * even_share)
    }
}
