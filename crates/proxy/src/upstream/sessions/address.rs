//! How the sessions of an upstream are addressed. Nearly all of them alike, so that each way is remembered once; and
//! bounded, because clients choose paths and hosts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::engineio::Revision;

/// How a session's requests are addressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) path: Box<[u8]>,
    /// As the client said it.
    pub(crate) host: Option<Box<[u8]>>,
    pub(crate) revision: Revision,
    pub(crate) jsonp: bool,
}

/// The same, as a request says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AddressedAs<'a> {
    pub(crate) path: &'a [u8],
    pub(crate) host: Option<&'a [u8]>,
    pub(crate) revision: Revision,
    pub(crate) jsonp: bool,
}

/// Every address that is known.
#[derive(Debug, Default)]
pub(super) struct Addresses(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<Arc<Address>>,
    /// The paths at which handshakes were answered.
    proven: Vec<Box<[u8]>>,
}

impl Addresses {
    /// The one for all who are addressed like this. Where there are too many already, one that differs in nothing but its
    /// Host; `None` if there is none such either, or if it is too long.
    pub(super) fn intern(&self, address: AddressedAs<'_>) -> Option<Arc<Address>> {
        let AddressedAs { path, host, .. } = address;
        if path.len() > PART_BYTES_MAX || host.is_some_and(|host| host.len() > PART_BYTES_MAX) {
            return None;
        }
        let Known { addresses, .. } = &mut *self.lock();
        if let Some(known) = addresses.iter().find(|known| known.as_said() == address) {
            return Some(known.clone());
        }
        if addresses.len() >= ADDRESSES_MAX {
            addresses.retain(|known| Arc::strong_count(known) > 1);
        }
        if addresses.len() >= ADDRESSES_MAX {
            let alike = addresses
                .iter()
                .find(|known| known.as_said() == AddressedAs { host: known.host.as_deref(), ..address });
            return alike.cloned();
        }
        let address = Arc::new(address.to_owned());
        addresses.push(address.clone());
        Some(address)
    }

    /// A handshake was answered at `path`.
    pub(super) fn prove(&self, path: &[u8]) {
        let Known { proven, .. } = &mut *self.lock();
        if path.len() <= PART_BYTES_MAX
            && proven.len() < PATHS_MAX
            && proven.iter().all(|known| **known != *path)
        {
            proven.push(path.into());
        }
    }

    /// Whether sessions are opened at the path of `address`. What is not such a path may do anything when it is
    /// posted to.
    pub(super) fn is_proven(&self, address: &Address) -> bool {
        self.lock().proven.contains(&address.path)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Address {
    fn as_said(&self) -> AddressedAs<'_> {
        let Self { path, host, revision, jsonp } = self;
        AddressedAs { path, host: host.as_deref(), revision: *revision, jsonp: *jsonp }
    }
}

impl AddressedAs<'_> {
    fn to_owned(self) -> Address {
        let Self { path, host, revision, jsonp } = self;
        Address { path: path.into(), host: host.map(Into::into), revision, jsonp }
    }
}

/// Of one upstream: hosts, revisions and paths of an app, multiplied.
const ADDRESSES_MAX: usize = 64;
const PATHS_MAX: usize = 16;
/// Longest path, and longest Host.
const PART_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn at<'a>(path: &'a str, host: &'a str) -> AddressedAs<'a> {
        let (path, host) = (path.as_bytes(), Some(host.as_bytes()));
        AddressedAs { path, host, revision: Revision::V4, jsonp: false }
    }

    #[test]
    fn alike_is_the_same() {
        let addresses = Addresses::default();
        let one = addresses.intern(at("/socket.io/", "a")).expect("room");
        assert!(Arc::ptr_eq(&one, &addresses.intern(at("/socket.io/", "a")).expect("room")));
        assert_ne!(one, addresses.intern(at("/socket.io/", "b")).expect("room"));
    }

    #[test]
    fn whatever_clients_say_there_are_few() {
        let addresses = Addresses::default();
        let held: Vec<_> =
            (0..ADDRESSES_MAX).map(|n| addresses.intern(at("/socket.io/", &n.to_string()))).collect();
        assert!(held.iter().all(Option::is_some));
        let other =
            addresses.intern(at("/socket.io/", "one too many")).expect("one that differs in its Host");
        assert_eq!(&*other.path, b"/socket.io/");
        assert_eq!(addresses.intern(at("/other/", "a")), None);
        drop((held, other));
        assert!(addresses.intern(at("/other/", "a")).is_some(), "nobody uses the others any more");
        assert_eq!(addresses.intern(at(&"/x".repeat(200), "a")), None);
    }

    #[test]
    fn only_where_handshakes_are_answered_is_posted_to() {
        let addresses = Addresses::default();
        let evil = addresses.intern(at("/evil/delete-everything", "a")).expect("room");
        addresses.prove(b"/socket.io/");
        assert!(!addresses.is_proven(&evil));
        assert!(addresses.is_proven(&addresses.intern(at("/socket.io/", "a")).expect("room")));
    }
}
