//! What other nodes say to crowds of this node's clients, on its way to them. Broadcasts to the same crowd that come in one go
//! are handed out client by client instead of one by one: a client's writer is woken once and writes them together, which
//! costs a system call instead of one for each.

use std::{collections::VecDeque, sync::Arc};

use socketioxide_core::{Sid, packet::Packet};

use crate::backlog::Held;

/// Clients that make a crowd. For fewer there is nothing to gain.
pub(crate) const CROWD: usize = 32;

/// Broadcasts in one burst. Less than socketioxide's queue holds (128), or its heartbeat would find no room.
const PACKETS_MAX: usize = 64;

/// What may wait altogether: bytes, and broadcasts times their clients. Whoever needs everything to be handed out at once is
/// kept for as long as that takes, a fifth of a second or so.
const BYTES_MAX: usize = 1 << 20;
const DELIVERIES_MAX: usize = 1 << 18;

/// Broadcasts to the same clients.
#[derive(Default)]
pub(crate) struct Burst {
    pub(crate) sids: Vec<Sid>,
    /// Each with its size.
    pub(crate) packets: Vec<(Packet, usize)>,
    /// What is held of each packet for those who have to wait for it.
    pub(crate) texts: Vec<Option<Arc<Held>>>,
    /// The clients that have it already, the first of `sids`.
    pub(crate) done: usize,
}

impl Burst {
    pub(crate) fn is_over(&self) -> bool {
        self.done == self.sids.len()
    }

    fn bytes(&self) -> usize {
        self.packets.iter().map(|(_, size)| size).sum::<usize>() + size_of_val(self.sids.as_slice())
    }
}

/// Those that have not begun, in the order in which they came.
#[derive(Default)]
pub(crate) struct Bursts {
    waiting: VecDeque<Burst>,
    bytes: usize,
    deliveries: usize,
}

impl Bursts {
    /// Whether there is room for a packet. One alone may be as large as it likes.
    pub(crate) fn takes(&self, sids: &[Sid], size: usize) -> bool {
        let bytes = size + if self.joins(sids) { 0 } else { size_of_val(sids) };
        self.waiting.is_empty()
            || self.bytes + bytes <= BYTES_MAX && self.deliveries + sids.len() <= DELIVERIES_MAX
    }

    pub(crate) fn push(&mut self, sids: Vec<Sid>, packet: Packet, size: usize) {
        self.bytes += size;
        self.deliveries += sids.len();
        if !self.joins(&sids) {
            self.bytes += size_of_val(sids.as_slice());
            self.waiting.push_back(Burst { sids, ..Burst::default() });
        }
        if let Some(last) = self.waiting.back_mut() {
            last.packets.push((packet, size));
            last.texts.push(None);
        }
    }

    /// Whether what is for these clients goes with what waits already.
    fn joins(&self, sids: &[Sid]) -> bool {
        self.waiting.back().is_some_and(|last| last.packets.len() < PACKETS_MAX && last.sids == sids)
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn pop(&mut self) -> Option<Burst> {
        let burst = self.waiting.pop_front()?;
        self.bytes -= burst.bytes();
        self.deliveries -= burst.packets.len() * burst.sids.len();
        Some(burst)
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Bursts, DELIVERIES_MAX, PACKETS_MAX};
    use socketioxide_core::{Sid, Value, packet::Packet};

    fn packet(text: &str) -> Packet {
        Packet::event("/", Value::Str(text.to_owned().into(), None))
    }

    fn sids(count: usize) -> Vec<Sid> {
        (0..count).map(|_| Sid::new()).collect()
    }

    #[test]
    fn a_burst_is_for_the_same_clients_and_keeps_the_order() {
        let (all, some) = (sids(3), sids(2));
        let mut bursts = Bursts::default();
        let mut said = Vec::new();
        for (n, to) in [&all, &all, &some, &all].into_iter().enumerate() {
            bursts.push(to.clone(), packet(&n.to_string()), 1);
        }
        for n in 0..PACKETS_MAX {
            bursts.push(all.clone(), packet(&(n + 4).to_string()), 1);
        }
        let mut shape = Vec::new();
        while let Some(burst) = bursts.pop() {
            assert_eq!(burst.packets.len(), burst.texts.len());
            shape.push((burst.sids.len(), burst.packets.len()));
            said.extend(burst.packets.into_iter().map(|(packet, _)| packet));
        }
        assert_eq!(shape, [(3, 2), (2, 1), (3, PACKETS_MAX), (3, 1)]);
        assert_eq!(said, (0..PACKETS_MAX + 4).map(|n| packet(&n.to_string())).collect::<Vec<_>>());
        assert_eq!((bursts.bytes, bursts.deliveries), (0, 0));
    }

    #[test]
    fn what_waits_is_bounded() {
        let (few, many) = (sids(1), sids(1 << 12));
        let mut bursts = Bursts::default();
        assert!(bursts.takes(&many, 2 * BYTES_MAX), "one alone is as large as it likes");
        bursts.push(many.clone(), packet(""), 2 * BYTES_MAX);
        assert!(!bursts.takes(&many, 1) && !bursts.takes(&few, 1), "too many bytes");
        bursts.pop().unwrap();
        for _ in 0..DELIVERIES_MAX / many.len() {
            assert!(bursts.takes(&many, 1));
            bursts.push(many.clone(), packet(""), 1);
        }
        assert!(!bursts.takes(&few, 1), "too many deliveries");
        bursts.pop().unwrap();
        assert!(bursts.takes(&few, 1), "there is room again");
    }
}
