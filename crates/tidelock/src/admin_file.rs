//! The admin socket as a file, for whoever passes it on.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

/// The admin socket, once more.
#[derive(Debug)]
pub(crate) struct AdminFile {
    pub(crate) path: PathBuf,
    pub(crate) socket: OwnedFd,
    /// It is not to be removed.
    pub(crate) is_systemds: bool,
}

impl AdminFile {
    pub(crate) fn once_more(&self) -> io::Result<Self> {
        let Self { path, socket, is_systemds } = self;
        Ok(Self { path: path.clone(), socket: socket.try_clone()?, is_systemds: *is_systemds })
    }
}

/// Where the admin socket is found once it is there.
pub(crate) type AdminPlace = Rc<RefCell<Option<AdminFile>>>;
