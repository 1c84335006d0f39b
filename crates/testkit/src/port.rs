//! Ports for those who must know theirs before they listen, or listen there again: programs that cannot be told "any", files that
//! name an address, nodes that come back.
//!
//! Whoever asks the kernel for any port and gives it back may find it taken a moment later, by any connection of this
//! machine. These are not among those that the kernel gives, and two tests never have the same.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// A port that nobody has, of any address of this machine, for TCP and UDP. It stays this process's until it ends.
///
/// # Panics
/// If there is none left, or the folder for temporary files cannot be written.
pub fn free() -> u16 {
    // Users share no lock files, which they could not open. Their ports differ where they are bound.
    let user = rustix::process::geteuid().as_raw();
    let folder = std::env::temp_dir().join(format!("tidelock-test-ports-{user}"));
    fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
    // From anywhere, so that tests that run at the same time do not all try the same ones.
    let start = std::process::id().wrapping_mul(STEP) % COUNT;
    let mut candidates = (0..COUNT).map(|number| FIRST + ((start + number) % COUNT) as u16);
    let mine = candidates.find_map(|port| {
        let lock = File::create(folder.join(port.to_string())).expect("a lock file can be opened");
        lock.try_lock().ok()?;
        is_free(port).then_some((port, lock))
    });
    let (port, lock) = mine.expect("a port is free");
    // Held until the process ends.
    std::mem::forget(lock);
    port
}

/// [`free`] on 127.0.0.1.
pub fn free_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, free()))
}

fn is_free(port: u16) -> bool {
    let any = (Ipv4Addr::UNSPECIFIED, port);
    TcpListener::bind(any).is_ok() && UdpSocket::bind(any).is_ok()
}

/// Above what services of this machine have, and so that the ports of a Redis cluster's own connections, 10,000 higher, lie below
/// the kernel's, which begin at 32,768.
const FIRST: u16 = 11_000;
const COUNT: u32 = 11_000;
const STEP: u32 = 37;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_the_same_and_each_is_free() {
        let ports: std::collections::BTreeSet<u16> = (0..50).map(|_| free()).collect();
        assert_eq!(ports.len(), 50);
        assert!(ports.iter().all(|port| is_free(*port)));
    }
}
