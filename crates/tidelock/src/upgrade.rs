//! One tidelock goes on in the place of another, of another version perhaps: the listening sockets, the admin socket and the
//! apps' processes pass from the one to the other while both run. docs/upgrade.md has the format, and the order of it all.
//!
//! `give` is the side of the one that was there, `take` of the one that comes.

mod message;
mod stream;
mod give;
mod take;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

pub(crate) use give::{HandedOver, Here, hand_over};
pub(crate) use take::Predecessor;

use crate::start::in_path;

/// What was found on the command line, until somebody serves.
static PREDECESSOR: Mutex<Option<Predecessor>> = Mutex::new(None);
/// Where this program was started from.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Takes the word out of the arguments by which a tidelock is told to go on in the place of another, and listens to that one.
///
/// # Errors
/// If it is not understood. Nobody has been disturbed then.
pub(crate) fn listen(mut arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    remember(arguments.first());
    let is_told = |word: &OsString| word.to_str().and_then(|word| word.strip_prefix(WORD)).map(str::to_owned);
    if let Some(format) = arguments.get(1).and_then(is_told) {
        arguments.remove(1);
        let predecessor = Predecessor::listen(&format)?;
        *PREDECESSOR.lock().unwrap_or_else(PoisonError::into_inner) = Some(predecessor);
    }
    Ok(arguments)
}

/// The tidelock that this one goes on in the place of, once.
pub(crate) fn predecessor() -> Option<Predecessor> {
    PREDECESSOR.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Whether there is one, which has found out whether it runs in the background.
pub(crate) fn has_predecessor() -> bool {
    PREDECESSOR.lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Whether it is given the lock of the tidelock in the background.
pub(crate) fn has_lock() -> bool {
    let predecessor = PREDECESSOR.lock().unwrap_or_else(PoisonError::into_inner);
    predecessor.as_ref().is_some_and(|predecessor| predecessor.lock.is_some())
}

/// A package that is upgraded puts another file in its place, and a link may lead to another by then: so this is where it was
/// found, not what it was.
fn remember(name: Option<&OsString>) {
    let Ok(program) = std::env::current_exe() else { return };
    let typed = name.map(Path::new).filter(|name| !name.as_os_str().is_empty());
    let found = typed.and_then(|name| match name.components().count() {
        1 => in_path(name.to_str()?),
        _ => std::path::absolute(name).ok(),
    });
    let is_it = |found: &PathBuf| found.canonicalize().is_ok_and(|found| found == program);
    // It happens once.
    let _ = PROGRAM.set(found.filter(is_it).unwrap_or(program));
}

/// The version of the format. Kinds of messages and fields may be added without another one: who does not know them passes
/// over them.
const FORMAT: u32 = 1;
/// What a tidelock that is to go on is told by.
pub(crate) const WORD: &str = "--upgrade=";
