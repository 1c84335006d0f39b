//! Picks a node for one request. Pure: no clock, no socket, no lock; it reads loads and moves its cursor.
//! Health changes a node's state, never this file.

use std::cell::Cell;
use std::sync::Arc;

use crate::upstream::node::Node;

/// What decides between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Load {
    /// Sessions, for what becomes one.
    Sessions,
    /// Requests under way, for everything else.
    InFlight,
}

impl Load {
    fn of(self, node: &Node) -> usize {
        match self {
            Self::Sessions => node.sessions(),
            Self::InFlight => node.in_flight(),
        }
    }
}

/// Where the next tie begins. Without it every tie would go to the first node of the file.
#[derive(Debug, Default)]
pub(crate) struct Cursor(Cell<usize>);

/// The index of the least loaded node that was not tried yet and is not leaving: among those that are up, else among
/// the backups that are, else among all. A pool whose nodes are all down is asked all the same: what is known of them
/// is old, and the last node is never taken out by a failure.
pub(crate) fn pick(nodes: &[Arc<Node>], tried: &[usize], load: Load, cursor: &Cursor) -> Option<usize> {
    let untried = |index: &usize| !tried.contains(index) && !nodes[*index].is_draining();
    let least = |wanted: &dyn Fn(&Node) -> bool| {
        let start = cursor.0.get();
        let turn = (0..nodes.len()).map(|step| (start + step) % nodes.len());
        // `min_by` keeps the first of equals, and the turn decides who that is.
        turn.filter(untried)
            .filter(|&index| wanted(&nodes[index]))
            .min_by(|&a, &b| by_weight(&nodes[a], &nodes[b], load))
    };
    let share = even_share(nodes, load);
    let picked = share
        .and_then(|share| least(&|node| takes_part(node) && !node.is_outdated() && load.of(node) < share))
        .or_else(|| least(&takes_part))
        .or_else(|| least(&|node| node.is_up()))
        .or_else(|| least(&|_| true))?;
    cursor.0.set(picked + 1);
    Some(picked)
}

fn takes_part(node: &Node) -> bool {
    node.is_up() && !node.roster.backup
}

/// While the processes of an app are being replaced: so many sessions each may have that stays, before a new session
/// goes to one that will be replaced, and has to move again. `None` if none or all of them are.
fn even_share(nodes: &[Arc<Node>], load: Load) -> Option<usize> {
    // Nearly always there is none.
    if load != Load::Sessions || !nodes.iter().any(|node| node.is_outdated()) {
        return None;
    }
    let here = || nodes.iter().filter(|node| takes_part(node) && !node.is_draining());
    let sessions: usize = here().map(|node| load.of(node)).sum();
    here().any(|node| !node.is_outdated()).then(|| (sessions + 1).div_ceil(here().count()))
}

/// Compares what each would carry for its weight with one more, without dividing.
fn by_weight(a: &Node, b: &Node, load: Load) -> std::cmp::Ordering {
    let after = |node: &Node| load.of(node) as u64 + 1;
    (after(a) * u64::from(b.roster.weight)).cmp(&(after(b) * u64::from(a.roster.weight)))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use config::roster::RosterNode;

    use super::*;
    use crate::upstream::node::{InSession, Observed};

    fn pool(spec: &[(u32, bool)]) -> Vec<Arc<Node>> {
        let tagger = wire::tag::Tagger::new(b"x");
        let node = |(port, &(weight, backup)): (usize, &(u32, bool))| {
            let address = SocketAddr::from(([127, 0, 0, 1], port as u16));
            let (written, at) = (port.to_string(), address.into());
            let roster = RosterNode { written, address: at, instance: None, weight, backup };
            Arc::new(Node::new("nodes", roster, tagger.tag("nodes", &port.to_string(), address)))
        };
        spec.iter().enumerate().map(node).collect()
    }

    /// Picks `sessions` times and keeps every session.
    fn spread(pool: &[Arc<Node>], sessions: usize) -> Vec<usize> {
        let cursor = Cursor::default();
        let held: Vec<InSession> = (0..sessions)
            .map(|_| InSession::new(pool[pick(pool, &[], Load::Sessions, &cursor).unwrap()].clone()))
            .collect();
        let spread = pool.iter().map(|node| node.sessions()).collect();
        drop(held);
        spread
    }

    #[test]
    fn sessions_spread_evenly() {
        assert_eq!(spread(&pool(&[(1, false); 3]), 60), [20, 20, 20]);
        assert_eq!(spread(&pool(&[(1, false); 3]), 61).iter().max(), Some(&21));
    }

    #[test]
    fn a_node_of_twice_the_weight_carries_twice_as_much() {
        assert_eq!(spread(&pool(&[(1, false), (2, false), (1, false)]), 60), [15, 30, 15]);
    }

    #[test]
    fn a_backup_is_used_only_while_no_other_is_up() {
        let pool = pool(&[(1, false), (1, true)]);
        assert_eq!(spread(&pool, 10), [10, 0]);
        pool[0].observe(Observed::Refused);
        assert_eq!(spread(&pool, 10), [0, 10]);
    }

    #[test]
    fn the_last_node_is_never_taken_out() {
        let pool = pool(&[(1, false); 2]);
        pool[0].observe(Observed::Refused);
        assert_eq!(spread(&pool, 10), [0, 10]);
        pool[1].observe(Observed::Refused);
        assert_eq!(spread(&pool, 10), [5, 5]);
    }

    #[test]
    fn a_node_that_leaves_gets_nothing_new() {
        let pool = pool(&[(1, false); 2]);
        pool[0].observe(Observed::ToldToDrain);
        assert_eq!(spread(&pool, 10), [0, 10]);
        pool[1].observe(Observed::ToldToDrain);
        assert_eq!(pick(&pool, &[], Load::InFlight, &Cursor::default()), None);
        pool[0].observe(Observed::ToldToStay);
        assert_eq!(spread(&pool, 10), [10, 0]);
    }

    #[test]
    fn new_sessions_prefer_what_stays_up_to_its_even_share() {
        let pool = pool(&[(1, false); 4]);
        for old in &pool[..3] {
            old.observe(Observed::Published { is_current: false });
        }
        // The one that stays already carries more than any other, but less than its share.
        let held: Vec<InSession> = [(0, 1), (1, 9), (2, 9), (3, 4)]
            .into_iter()
            .flat_map(|(index, count): (usize, usize)| (0..count).map(move |_| index))
            .map(|index| InSession::new(pool[index].clone()))
            .collect();
        assert_eq!(spread(&pool, 3), [1, 9, 9, 7], "(23 + 3) / 4");
        // Beyond its share the least loaded gets it, whoever that is.
        assert_eq!(spread(&pool, 10), [6, 9, 9, 9]);
        // Requests that begin no session do not care.
        let cursor = Cursor::default();
        let picks: Vec<_> = (0..4).map(|_| pick(&pool, &[], Load::InFlight, &cursor).unwrap()).collect();
        assert_eq!(picks, [0, 1, 2, 3]);
        pool[3].observe(Observed::ToldToDrain);
        assert_eq!(spread(&pool, 1), [2, 9, 9, 4], "if none stays, old ones serve");
        drop(held);
    }

    #[test]
    fn a_node_that_was_tried_is_not_tried_again() {
        let pool = pool(&[(1, false); 2]);
        let cursor = Cursor::default();
        assert_eq!(pick(&pool, &[0], Load::InFlight, &cursor), Some(1));
        assert_eq!(pick(&pool, &[0, 1], Load::InFlight, &cursor), None);
        assert_eq!(pick(&[], &[], Load::InFlight, &cursor), None);
    }

    #[test]
    fn ties_rotate() {
        let pool = pool(&[(1, false); 3]);
        let cursor = Cursor::default();
        let picks: Vec<_> = (0..6).map(|_| pick(&pool, &[], Load::InFlight, &cursor).unwrap()).collect();
        assert_eq!(picks, [0, 1, 2, 0, 1, 2]);
    }
}
