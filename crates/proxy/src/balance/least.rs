//! Whoever carries the least for its weight.

use std::cell::Cell;

use super::{Ask, Cursor, Fit, Load, Unpicked, turns};
use crate::upstream::node::Node;

pub(super) fn pick(ask: &Ask<'_>, load: Load, cursor: &Cursor) -> Result<usize, Unpicked> {
    // Whose turn it is decides between equals.
    let start = turns::pick(ask, cursor)?;
    match load {
        Load::Sessions => {
            let weight_of_all = Cell::new(None);
            let fit = |index: usize| newcomers_wait(ask, index, &weight_of_all, cursor);
            // Sessions stay, so that what counts is how many a node would have with one more.
            let score = |node: &Node| (node.sessions() as u64 + 1, u64::from(node.roster.weight));
            ask.best(start, fit, score, |(a, a_weight), (b, b_weight)| a * b_weight < b * a_weight)
        }
        Load::InFlight | Load::Connections => {
            // Requests go. Where none is under way the turn decides, by weight, instead of the heaviest node getting
            // each of them.
            ask.best(start, |index| ask.fit(index), |node| load.of(node) as f64 / node.weight(), |a, b| a < b)
        }
    }
}

/// A node that has just come back has the fewest sessions by far, and would get every handshake of a storm until it is
/// even with the others. While it is in its ramp it takes part in so many picks only that it gets from nothing, at
/// first, to twice its even share, at the end.
fn newcomers_wait(ask: &Ask<'_>, index: usize, weight_of_all: &Cell<Option<u64>>, cursor: &Cursor) -> Fit {
    let fit = ask.fit(index);
    let node = &ask.nodes[index];
    let ramp = node.ramp();
    if fit != Fit::Ready || ramp >= 1.0 {
        return fit;
    }
    let all = weight_of_all.get().unwrap_or_else(|| {
        let ready = (0..ask.nodes.len()).filter(|&index| ask.fit(index) == Fit::Ready);
        ready.map(|index| u64::from(ask.nodes[index].roster.weight)).sum()
    });
    weight_of_all.set(Some(all));
    let even_share = f64::from(node.roster.weight) / all as f64;
    if cursor.falls_in(2.0 * ramp * even_share) { Fit::Ready } else { Fit::Newcomer }
}
