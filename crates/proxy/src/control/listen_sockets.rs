//! Listening sockets that somebody else has bound, and those that are passed on: to the tidelock that takes over from this one.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use config::plan::Listen;

use crate::control::proxy::Proxy;

/// Sockets that are there already, for the listens of a plan. What no listen of the plan has asked for is closed with this.
#[derive(Debug, Default)]
pub struct ListenSockets(Vec<(SocketAddr, Vec<OwnedFd>)>);

impl ListenSockets {
    /// Adds the sockets of one listen: all of one address, each with a queue of its own. `address` is as the plan has it, and
    /// may say that the system chooses the port; of several alike the first is taken first.
    pub fn add(&mut self, address: SocketAddr, sockets: Vec<OwnedFd>) {
        self.0.push((address, sockets));
    }

    /// The addresses of those that nobody has taken.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().map(|(address, _)| *address)
    }

    /// Takes the socket at an address that is no listen's, if there is one.
    pub fn take_at(&mut self, address: SocketAddr) -> Option<OwnedFd> {
        let at = self.0.iter().position(|(known, _)| *known == address)?;
        self.0.remove(at).1.pop()
    }

    pub(crate) fn take(&mut self, listen: &Listen) -> Option<Vec<OwnedFd>> {
        let at = self.0.iter().position(|(address, _)| *address == listen.address)?;
        Some(self.0.remove(at).1)
    }
}

impl Proxy {
    /// The sockets that are accepted on now, by the addresses of the plan: each is the same socket once more.
    ///
    /// # Errors
    /// If there are no files left for them.
    pub fn listen_sockets(&self) -> std::io::Result<Vec<(SocketAddr, Vec<OwnedFd>)>> {
        let snapshot = self.inner.shared.snapshot.load();
        let mut all = Vec::new();
        for (listening, listen) in self.inner.listening.borrow().iter().zip(&snapshot.plan.listens) {
            let open = listening.sockets.iter().filter_map(std::sync::Weak::upgrade);
            let sockets = open.map(|socket| socket.as_fd().try_clone_to_owned());
            all.push((listen.address, sockets.collect::<Result<_, _>>()?));
        }
        Ok(all)
    }
}
