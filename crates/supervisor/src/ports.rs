//! Where an instance listens: a loopback port that nobody has, or a Unix socket in its folder.
//!
//! A port that is chosen and not yet listened on can be taken by anybody. Instances of one tidelock never get the same
//! one, for it knows which it gave out. What else runs on the machine takes ports without asking from the system's
//! ephemeral range, for connections that it opens, and so ports are chosen beside that range.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

/// The ports that instances of this tidelock have. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Ports {
    given: Arc<Mutex<BTreeSet<u16>>>,
}

/// A port that no other instance gets until this is dropped.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    given: Arc<Mutex<BTreeSet<u16>>>,
}

/// There is no port left to give.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoPort {
    /// All of `ports` are taken.
    #[error(
        "all {count} ports from {first} to {last} are taken: a wider `ports` is needed, at least one more than there are instances, for a roll starts the new one first"
    )]
    Range {
        /// The first of the range.
        first: u16,
        /// The last.
        last: u16,
        /// How many they are.
        count: usize,
    },
    /// The whole machine has none.
    #[error("no port of 127.0.0.1 is free")]
    Machine,
}

impl Ports {
    /// Takes a port of `range`, or any, that is free on 127.0.0.1 now.
    ///
    /// # Errors
    /// If there is none.
    pub fn take(&self, range: Option<&RangeInclusive<u16>>) -> Result<PortLease, NoPort> {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = |range: &RangeInclusive<u16>| {
            let port = from_anywhere_in(range).find(|port| !given.contains(port) && is_free(*port))?;
            given.insert(port);
            Some(PortLease { port, given: self.given.clone() })
        };
        if let Some(range) = range {
            let (first, last, count) = (*range.start(), *range.end(), range.len());
            return free(range).ok_or(NoPort::Range { first, last, count });
        }
        let ephemeral = ephemeral();
        let mut beside = [
            ephemeral.end().saturating_add(1).max(UNPRIVILEGED)..=u16::MAX,
            SELDOM_NAMED..=ephemeral.start().saturating_sub(1),
        ];
        // From both alike: two tidelocks that start at once seldom choose the same port of so many.
        if fastrand::usize(0..=beside[0].len() + beside[1].len()) > beside[0].len() {
            beside.swap(0, 1);
        }
        let anywhere = UNPRIVILEGED..=u16::MAX;
        beside.iter().chain([&anywhere]).find_map(&mut free).ok_or(NoPort::Machine)
    }
}

impl Ports {
    /// The port that an instance has which another tidelock has started.
    pub(crate) fn keep(&self, port: u16) -> PortLease {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
        PortLease { port, given: self.given.clone() }
    }
}

impl PortLease {
    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for PortLease {
    fn drop(&mut self) {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.port);
    }
}

/// All of a range, each once, from somewhere in its midst: two tidelocks that start at once would look at the same
/// ports otherwise.
fn from_anywhere_in(range: &RangeInclusive<u16>) -> impl Iterator<Item = u16> + use<> {
    let (first, count) = (*range.start(), u16::try_from(range.len()).unwrap_or(u16::MAX));
    let start = if count == 0 { 0 } else { fastrand::u16(0..count) };
    (start..count).chain(0..start).map(move |offset| first + offset)
}

/// Whether it can be listened on. A port on which connections of the past linger is free, as it is for Node.js.
fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The ports that the system takes for outgoing connections, where one that is free now may be taken before the app
/// listens. Linux' own default if it does not say.
fn ephemeral() -> RangeInclusive<u16> {
    let parse = |text: String| {
        let mut bounds = text.split_ascii_whitespace().map(str::parse);
        Some(bounds.next()?.ok()?..=bounds.next()?.ok()?)
    };
    fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(parse)
        .unwrap_or(32_768..=60_999)
}

/// Ports below are in many a program's code.
const SELDOM_NAMED: u16 = 20_000;
/// Ports below need a privilege.
const UNPRIVILEGED: u16 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_instances_get_the_same_port() {
        let ports = Ports::default();
        let leases: Vec<_> = (0..64).map(|_| ports.take(None).unwrap()).collect();
        let distinct: BTreeSet<_> = leases.iter().map(PortLease::port).collect();
        assert_eq!(distinct.len(), 64);
        assert!(distinct.iter().all(|port| !ephemeral().contains(port)), "{distinct:?} {:?}", ephemeral());
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_passed_over() {
        let ports = Ports::default();
        // Both of a pair of neighbours, one of them taken: there are free pairs, and this finds one.
        let (taken, range) = loop {
            let first = ports.take(None).unwrap().port();
            if first < u16::MAX
                && is_free(first + 1)
                && let Ok(taken) = TcpListener::bind((Ipv4Addr::LOCALHOST, first))
            {
                break (taken, first..=first + 1);
            }
        };
        let lease = ports.take(Some(&range)).unwrap();
        assert_eq!(lease.port(), *range.end());
        let none = ports.take(Some(&range)).unwrap_err();
        assert_eq!(none, NoPort::Range { first: *range.start(), last: *range.end(), count: 2 });
        drop((taken, lease));
        let again: BTreeSet<_> = [ports.take(Some(&range)).unwrap(), ports.take(Some(&range)).unwrap()]
            .iter()
            .map(PortLease::port)
            .collect();
        assert_eq!(again, range.collect());
    }

    #[test]
    fn each_of_a_range_is_looked_at_once() {
        for range in [1..=1, 5..=9, 65_530..=u16::MAX] {
            let looked: BTreeSet<_> = from_anywhere_in(&range).collect();
            assert_eq!(looked, range.clone().collect());
            assert_eq!(from_anywhere_in(&range).count(), range.len());
        }
        #[expect(clippy::reversed_empty_ranges, reason = "an empty range is what is meant")]
        let empty = 9..=8;
        assert_eq!(from_anywhere_in(&empty).count(), 0);
    }
}
