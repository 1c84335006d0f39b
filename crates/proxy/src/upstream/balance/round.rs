//! Turns by weight: the order in which nodes come when nothing else decides, smooth and without state of its own. A
//! node of weight 2 has two turns in a round, as far apart as they can be. The order is made once for each roster, so
//! that a pick only moves along it; a node that cannot be had loses its turn, which leaves the others' shares as they
//! are.

use crate::upstream::balance::cursor::Cursor;
use crate::upstream::member::Member;

/// A round of turns.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// Indexes of nodes.
    round: Vec<u32>,
    weights: Vec<u32>,
}

impl Turns {
    /// Turns for these nodes.
    pub(crate) fn new(members: &[Member]) -> Self {
        let weights: Vec<u32> = members.iter().map(|member| member.entry.weight.max(1)).collect();
        let counts = counts(&weights);
        let mut turns: Vec<(u32, u32)> = Vec::with_capacity(counts.iter().sum::<u32>() as usize);
        for (index, &count) in (0..).zip(&counts) {
            turns.extend((0..count).map(|turn| (index, turn)));
        }
        // The k-th of a node's n turns is in the middle of the k-th of n equal parts of the round.
        let moment =
            |&(index, turn): &(u32, u32)| (u64::from(2 * turn + 1), u64::from(counts[index as usize]));
        turns.sort_by(|a, b| {
            let ((a_at, a_of), (b_at, b_of)) = (moment(a), moment(b));
            (a_at * b_of).cmp(&(b_at * a_of)).then(a.0.cmp(&b.0))
        });
        Self { round: turns.into_iter().map(|(index, _)| index).collect(), weights }
    }

    pub(crate) fn are_of(&self, members: &[Member]) -> bool {
        self.weights.iter().copied().eq(members.iter().map(|member| member.entry.weight.max(1)))
    }

    pub(super) fn length(&self) -> usize {
        self.round.len()
    }

    /// The node whose turn it is, and moves on; 0 where there is no node.
    pub(super) fn next(&self, cursor: &Cursor) -> usize {
        match self.round.len() {
            0 => 0,
            length => self.round[cursor.advance() % length] as usize,
        }
    }

    /// A node drawn by weight; 0 where there is no node.
    pub(super) fn draw(&self, cursor: &Cursor) -> usize {
        match self.round.len() {
            0 => 0,
            length => self.round[cursor.below(length)] as usize,
        }
    }
}

/// How many turns each has in a round: its weight, without what is common to all, and a round not too long.
fn counts(weights: &[u32]) -> Vec<u32> {
    let common = weights.iter().copied().fold(0, gcd).max(1);
    let sum: u64 = weights.iter().map(|&weight| u64::from(weight / common)).sum();
    if sum <= ROUND_MAX {
        return weights.iter().map(|weight| weight / common).collect();
    }
    let scaled = |&weight: &u32| (u64::from(weight / common) * ROUND_MAX / sum).max(1);
    weights.iter().map(|weight| u32::try_from(scaled(weight)).unwrap_or(u32::MAX)).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A round has at most so many turns, which is the exact share of each of 256 nodes of weight 256.
const ROUND_MAX: u64 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn round(weights: &[u32]) -> Vec<u32> {
        Turns::new(&crate::upstream::balance::tests::members(weights)).round
    }

    #[test]
    fn turns_of_one_node_are_far_apart() {
        assert_eq!(round(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(round(&[4, 4]), [0, 1]);
        assert_eq!(round(&[5, 1, 1]), [0, 0, 0, 1, 2, 0, 0]);
        assert_eq!(round(&[2, 1]), [0, 1, 0]);
        assert_eq!(round(&[3, 2]), [0, 1, 0, 1, 0]);
        assert_eq!(round(&[]), [0; 0]);
    }

    #[test]
    fn a_round_is_bounded_and_leaves_nobody_out() {
        let mut dice = fastrand::Rng::with_seed(1);
        let weights: Vec<u32> = (0..2_000).map(|_| dice.u32(1..=256)).collect();
        let round = round(&weights);
        assert!(round.len() as u64 <= ROUND_MAX, "{}", round.len());
        assert!((0..2_000).all(|node| round.contains(&node)));
    }
}
