//! A part of the sessions: found by their id, and one after the other by their node.

use std::collections::HashMap;

use hashbrown::HashTable;
use slab::Slab;

use super::session::{Links, Session};
use crate::upstream::node::NodeNumber;

/// Sessions behind one lock.
#[derive(Debug, Default)]
pub(super) struct Shard {
    /// Their places, by the hash of the id: one hash finds the shard and the session in it.
    table: HashTable<u32>,
    sessions: Slab<Session>,
    /// The first session of each node that has one here; each knows the next.
    firsts: HashMap<NodeNumber, u32>,
}

impl Shard {
    pub(super) fn find(&self, hash: u64, sid: &[u8]) -> Option<u32> {
        self.table.find(hash, |&place| *self.at(place).sid == *sid).copied()
    }

    pub(super) fn find_mut(&mut self, hash: u64, sid: &[u8]) -> Option<&mut Session> {
        let place = self.find(hash, sid)?;
        Some(self.at_mut(place))
    }

    /// Adds a session that is not there. `hash_of` says the hash of any id.
    pub(super) fn insert(&mut self, hash: u64, mut session: Session, hash_of: impl Fn(&[u8]) -> u64) -> u32 {
        let number = session.node.number;
        let first = self.firsts.get(&number).copied();
        session.links = Links { before: None, after: first };
        let place = self.sessions.insert(session) as u32;
        if let Some(first) = first {
            self.at_mut(first).links.before = Some(place);
        }
        self.firsts.insert(number, place);
        let Self { table, sessions, .. } = self;
        table.insert_unique(hash, place, |&place| hash_of(&sessions[place as usize].sid));
        place
    }

    pub(super) fn remove(&mut self, hash: u64, place: u32) -> Session {
        if let Ok(entry) = self.table.find_entry(hash, |&found| found == place) {
            entry.remove();
        }
        let session = self.sessions.remove(place as usize);
        let Links { before, after } = session.links;
        if let Some(after) = after {
            self.at_mut(after).links.before = before;
        }
        match (before, after) {
            (Some(before), _) => self.at_mut(before).links.after = after,
            (None, Some(after)) => drop(self.firsts.insert(session.node.number, after)),
            (None, None) => drop(self.firsts.remove(&session.node.number)),
        }
        session
    }

    pub(super) fn at(&self, place: u32) -> &Session {
        &self.sessions[place as usize]
    }

    pub(super) fn at_mut(&mut self, place: u32) -> &mut Session {
        &mut self.sessions[place as usize]
    }

    /// The places of a node's sessions, the youngest first.
    pub(super) fn places_of(&self, node: NodeNumber) -> impl Iterator<Item = u32> {
        let first = self.firsts.get(&node).copied();
        std::iter::successors(first, |&place| self.at(place).links.after)
    }

    /// The places of all for which `is_wanted`.
    pub(super) fn places(&self, is_wanted: impl Fn(&Session) -> bool) -> Vec<u32> {
        let wanted = self.sessions.iter().filter(|(_, session)| is_wanted(session));
        wanted.map(|(place, _)| place as u32).collect()
    }

    /// Some sessions, from a place on that `dice` has drawn.
    pub(super) fn sample(&self, dice: u32, count: usize) -> impl Iterator<Item = u32> {
        let capacity = self.sessions.capacity().max(1);
        let start = dice as usize % capacity;
        (start..capacity)
            .chain(0..start)
            .filter(|&place| self.sessions.contains(place))
            .map(|place| place as u32)
            .take(count)
    }
}
