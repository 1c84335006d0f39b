//! The lock of the one tidelock that a user has in the background. It passes on to one that goes on in its place.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// Holds it until this process ends.
pub(crate) fn keep(lock: File) {
    // It happens once.
    let _ = LOCK.set(lock);
}

/// The same once more, if this is a tidelock in the background.
pub(crate) fn once_more() -> Option<io::Result<OwnedFd>> {
    LOCK.get().map(|lock| lock.try_clone().map(OwnedFd::from))
}

/// Goes on with that of the tidelock before.
pub(crate) fn go_on_with(lock: OwnedFd) {
    let lock = File::from(lock);
    // It is a word for people.
    let _ = say_whose(&lock);
    keep(lock);
}

/// Puts the number of this process into it.
pub(crate) fn say_whose(mut lock: &File) -> io::Result<()> {
    lock.rewind()?;
    lock.set_len(0)?;
    lock.write_all(format!("{}\n", std::process::id()).as_bytes())
}

static LOCK: OnceLock<File> = OnceLock::new();
