//! Weighted rendezvous hashing: every node has a score for a key, and the best one wins. A node that comes takes its
//! own share of the keys, one that goes leaves its keys to the others, and no other key moves. The numbers are the
//! same for every tidelock of every version, which a test holds.
//!
//! D. Thaler and C. Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", 1998; for the weights C. Schindelhauer
//! and G. Schomaker, "Weighted Distributed Hash Tables", 2005.

use std::fmt::Display;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// How well a node fits a key.
#[derive(Debug, Clone, Copy)]
pub struct Score {
    /// Even over all of `u64`, and independent of every other node's.
    draw: u64,
    weight: f64,
}

/// What a node is in every score: its name as written in the file, and the address that name resolved to.
pub fn seed(written: &str, address: impl Display) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in [written, &address.to_string()] {
        hasher.write(part.as_bytes());
        // No name holds a NUL, so that no two pairs write the same bytes.
        hasher.write_u8(0);
    }
    hasher.finish()
}

/// A key as scores want it.
pub fn key(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new();
    hasher.write(bytes);
    hasher.finish()
}

impl Score {
    /// Of the node with this [`seed`] for this [`key`](self::key). `weight` is more than 0.
    pub fn new(seed: u64, key: u64, weight: f64) -> Self {
        Self { draw: SipHasher13::new_with_keys(seed, key).finish(), weight }
    }

    /// Whether it is better than `other`. Of two equals, neither is.
    pub fn beats(self, other: Self) -> bool {
        // With one weight for all, which is nearly always, no logarithm is needed.
        if self.weight == other.weight { self.draw > other.draw } else { self.weighted() > other.weighted() }
    }

    /// -E for an E that is exponentially distributed with the weight as its rate: the least of them is a node's with
    /// the probability of its share of the weights.
    fn weighted(self) -> f64 {
        let uniform = (self.draw as f64 + 0.5) / TWO_TO_THE_64;
        uniform.ln() / self.weight
    }
}

const TWO_TO_THE_64: f64 = 18_446_744_073_709_551_616.0;

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn node(port: u16) -> u64 {
        seed(&format!("node{port}:3000"), SocketAddr::from(([10, 0, 0, 1], port)))
    }

    fn winner(nodes: &[(u64, f64)], key: u64) -> usize {
        let score = |index: usize| Score::new(nodes[index].0, key, nodes[index].1);
        (1..nodes.len()).fold(0, |best, index| if score(index).beats(score(best)) { index } else { best })
    }

    /// Placement outlives a version and is shared by many tidelocks: these numbers must never change. They were computed
    /// by another implementation too.
    #[test]
    fn the_numbers_are_fixed() {
        let address: SocketAddr = "[2001:db8::1]:3000".parse().unwrap();
        assert_eq!(
            seed("a.example.com:3000", SocketAddr::from(([10, 0, 0, 1], 3000))),
            9_180_482_942_816_974_269
        );
        assert_eq!(seed("a.example.com:3000", address), 17_745_614_287_234_479_180);
        assert_eq!(key(b""), 15_130_871_412_783_076_140);
        assert_eq!(key(b"user-1"), 494_161_297_526_395_808);
        assert_eq!(Score::new(1, 2, 1.0).draw, 7_760_257_379_124_798_368);
    }

    /// The whole of it: who gets the first twenty users, with one weight for all and with three.
    #[test]
    fn the_placement_is_fixed() {
        let placed = |weights: [f64; 3]| -> String {
            let nodes = [1, 2, 3].map(node);
            let nodes: Vec<(u64, f64)> = nodes.into_iter().zip(weights).collect();
            (0..20).map(|user| winner(&nodes, key(format!("user-{user}").as_bytes())).to_string()).collect()
        };
        assert_eq!(placed([1.0, 1.0, 1.0]), "10110002012101100110");
        assert_eq!(placed([1.0, 2.0, 5.0]), "20222022012102122120");
    }

    #[test]
    fn keys_spread_by_weight() {
        let nodes = [(node(1), 1.0), (node(2), 2.0), (node(3), 5.0)];
        let mut spread = [0; 3];
        for user in 0..100_000_u32 {
            spread[winner(&nodes, key(&user.to_be_bytes()))] += 1;
        }
        // Three standard deviations of a binomial share are below 500 here.
        for (count, share) in spread.into_iter().zip([12_500, 25_000, 62_500]) {
            assert!(i32::abs_diff(count, share) < 500, "{spread:?}");
        }
    }

    #[test]
    fn only_the_share_of_a_node_that_comes_moves() {
        let before: Vec<(u64, f64)> = (1..=9).map(|port| (node(port), 1.0)).collect();
        let mut after = before.clone();
        after.push((node(10), 1.0));
        let mut moved = 0;
        for user in 0..100_000_u32 {
            let key = key(&user.to_be_bytes());
            let (old, new) = (winner(&before, key), winner(&after, key));
            assert!(new == old || new == 9, "a key may only move to the node that came");
            moved += u32::from(new != old);
        }
        assert!((9_700..10_300).contains(&moved), "{moved} of 100,000 moved; a tenth is right");
    }

    #[test]
    fn more_weight_only_draws_keys_nearer() {
        let weights = |weight: f64| [(node(1), 1.0), (node(2), weight), (node(3), 1.0)];
        for user in 0..10_000_u32 {
            let key = key(&user.to_be_bytes());
            let (old, new) = (winner(&weights(1.0), key), winner(&weights(1.5), key));
            assert!(new == old || new == 1);
        }
    }
}
