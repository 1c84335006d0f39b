//! What nodes have counted, and what those had that are gone: an instance of an app follows another one in its slot, and what
//! people see of the slot goes on where it was.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::upstream::answers::Answered;
use crate::upstream::node::Node;

/// What a node has counted.
#[derive(Debug, Clone, Default)]
pub struct NodeCounts {
    /// What it has answered.
    pub answered: Answered,
    /// How often it went down.
    pub falls: u64,
    /// Attempts that it has failed, by why.
    pub failures: BTreeMap<&'static str, u64>,
}

impl NodeCounts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.answered.add(&other.answered);
        self.falls += other.falls;
        for (why, count) in &other.failures {
            *self.failures.entry(why).or_default() += count;
        }
    }
}

impl Node {
    pub(crate) fn counts(&self) -> NodeCounts {
        NodeCounts {
            answered: self.answers.all(),
            falls: self.falls.load(Relaxed),
            failures: self.failures(),
        }
    }
}

/// Instances that no snapshot has any more, by upstream and slot. There are at most as many slots as apps ever had.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    sums: BTreeMap<(String, String), NodeCounts>,
    /// Something may still be under way there.
    ending: Vec<Arc<Node>>,
}

impl Gone {
    /// A node is in no snapshot any more, or in one again.
    pub(crate) fn note<'n>(
        &mut self,
        before: impl Iterator<Item = &'n Arc<Node>>,
        is_here: impl Fn(&Arc<Node>) -> bool,
    ) {
        self.settle();
        self.ending.retain(|node| !is_here(node));
        for node in before.filter(|node| node.instance.is_some() && !is_here(node)) {
            if !self.ending.iter().any(|known| Arc::ptr_eq(known, node)) {
                self.ending.push(node.clone());
            }
        }
    }

    /// What those have counted that were a node of this name before, so that a counter does not fall when a process
    /// is replaced.
    pub(crate) fn of(&mut self, upstream: &str, node: &str) -> NodeCounts {
        self.settle();
        let mut all = self.sums.get(&(upstream.to_owned(), node.to_owned())).cloned().unwrap_or_default();
        let ending =
            self.ending.iter().filter(|ending| ending.upstream == upstream && ending.written() == node);
        ending.for_each(|ending| all.add(&ending.counts()));
        all
    }

    /// Adds up those that nobody else knows any more.
    fn settle(&mut self) {
        let Self { sums, ending } = self;
        ending.retain(|node| {
            let is_known = Arc::strong_count(node) > 1;
            if !is_known {
                sums.entry((node.upstream.clone(), node.written())).or_default().add(&node.counts());
            }
            is_known
        });
    }
}
