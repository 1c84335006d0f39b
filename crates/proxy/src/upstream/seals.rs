//! Who a tag or a pin may be of: what every key makes for every node of an upstream, found by its hint.

use std::sync::Arc;

use config::roster::RosterNode;
use wire::tag::{Hint, Key, Seal};

use crate::upstream::member::place_of;
use crate::upstream::node::Node;

/// Seals by the buckets of their hints, in one piece of memory: looking one up is two loads, and then a try of each.
#[derive(Debug, Default)]
pub(crate) struct Seals {
    sealed: Vec<Sealed>,
    /// Where each bucket begins among them, and last where they end. Empty where there are none.
    starts: Box<[u32]>,
}

/// What one key makes for one node.
#[derive(Debug)]
struct Sealed {
    node: Arc<Node>,
    seal: Seal,
}

impl Seals {
    /// The seals of these nodes by all `keys`, so that what an earlier key has signed is known, too. Sorted, to be
    /// found by their hints.
    pub(crate) fn new<'n>(
        nodes: impl Iterator<Item = (&'n Arc<Node>, &'n RosterNode)>,
        keys: &[Key],
    ) -> Self {
        let mut sealed = Vec::new();
        for (node, entry) in nodes {
            let place = place_of(entry);
            sealed.extend(keys.iter().map(|key| Sealed { node: node.clone(), seal: key.seal(&place) }));
        }
        sealed.sort_by_key(|sealed| sealed.seal.hint().bucket());
        let begins = |bucket| sealed.partition_point(|sealed| sealed.seal.hint().bucket() < bucket) as u32;
        let starts = (0..=Hint::BUCKETS).map(begins).collect();
        Self { sealed, starts }
    }

    /// The node whose seal `proves` it, of those that the hint may mean.
    pub(crate) fn find(&self, hint: Hint, proves: impl Fn(&Seal) -> bool) -> Option<&Arc<Node>> {
        let bucket = hint.bucket();
        let (&start, &end) = (self.starts.get(bucket)?, self.starts.get(bucket + 1)?);
        let candidates = &self.sealed[start as usize..end as usize];
        candidates.iter().find(|candidate| proves(&candidate.seal)).map(|found| &found.node)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// At a thousand nodes many share a hint, and still each tag leads to its own.
    #[test]
    fn each_of_a_thousand_nodes_is_found_under_every_key() {
        let entries: Vec<RosterNode> = (0..1000_u16)
            .map(|port| RosterNode {
                written: port.to_string(),
                address: SocketAddr::from(([10, 0, 0, 1], port)).into(),
                tls_name: None,
                instance: None,
                weight: 1,
                backup: false,
                bounds: Default::default(),
            })
            .collect();
        let nodes: Vec<_> = entries.iter().map(|entry| Arc::new(Node::new("n", entry))).collect();
        let keys = [Key::new(b"new"), Key::new(b"old")];
        let seals = Seals::new(nodes.iter().zip(&entries), &keys);
        for key in &keys {
            for (node, entry) in nodes.iter().zip(&entries) {
                let seal = key.seal(&place_of(entry));
                let tag = seal.tag(b"sid");
                let found = seals.find(tag.hint(), |seal| seal.proves(b"sid", &tag)).expect("it is known");
                assert!(Arc::ptr_eq(found, node));
                assert!(seals.find(tag.hint(), |seal| seal.proves(b"another", &tag)).is_none());
            }
        }
        assert!(Seals::default().find(keys[0].seal("x").hint(), |_| true).is_none());
    }
}
