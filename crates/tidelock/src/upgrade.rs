//! One tidelock goes on in the place of another, of another version perhaps: the listening sockets, the admin socket and the
//! apps' processes pass from the one to the other while both run. docs/upgrade.md has the format, and the order of it all.
//!
//! `give` is the side of the one that was there, `take` of the one that comes.

mod message;
mod program;
mod stream;
pub(crate) mod launcher;
mod give;
mod take;

use std::ffi::OsString;
use std::sync::{Mutex, PoisonError};

pub(crate) use give::{HandedOver, Here, hand_over};
pub(crate) use message::WORD;
pub(crate) use take::Predecessor;

/// What was found on the command line, until somebody serves.
static PREDECESSOR: Mutex<Option<Predecessor>> = Mutex::new(None);

/// Takes the word out of the arguments by which a tidelock is told to go on in the place of another, and listens to that one.
///
/// # Errors
/// If it is not understood. Nobody has been disturbed then.
pub(crate) fn listen(mut arguments: Vec<OsString>) -> Result<Vec<OsString>, String> {
    program::remember(arguments.first());
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
