//! Where this program was started from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::start::in_path;

/// A package that is upgraded puts another file in its place, and a link may lead to another by then: so this is where it was
/// found, not what it was.
pub(super) fn remember(name: Option<&OsString>) {
    let Ok(program) = std::env::current_exe() else { return };
    let typed = name.map(Path::new).filter(|name| !name.as_os_str().is_empty());
    let found = typed.and_then(|name| match name.components().count() {
        1 => in_path(name.to_str()?),
        _ => std::path::absolute(name).ok(),
    });
    let is_it = |found: &PathBuf| found.canonicalize().is_ok_and(|found| found == program);
    // It happens once.
    let _ = PLACE.set(found.filter(is_it).unwrap_or(program));
}

/// Where that is, once it is known.
pub(super) fn place() -> Option<PathBuf> {
    PLACE.get().cloned()
}

static PLACE: OnceLock<PathBuf> = OnceLock::new();
