//! What a reading of the file sees of the disk: whether the files that it names are there.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::PathBuf;

use crate::problem::Problem;
use crate::regular::demand_regular;

/// Whether the files that a file names are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    Read,
    Untouched,
}

/// A file that must be there, and where it is named.
#[derive(Debug)]
pub(crate) struct NamedFile {
    pub(crate) path: PathBuf,
    pub(crate) span: Option<Range<usize>>,
}

impl Disk {
    /// What is wrong with the file, if anything is and may be looked for. A file that this user may not look at is
    /// taken to be there: tidelock may run as another.
    pub(crate) fn inspect(self, named: &NamedFile) -> Option<Problem> {
        if self == Self::Untouched {
            return None;
        }
        let wrong = |message: String| Some(Problem::error(named.span.clone(), message));
        let path = named.path.display();
        match named.path.metadata() {
            Ok(file) => {
                let refused = demand_regular(&file).err()?;
                wrong(format!("{path} cannot be read: {refused}"))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => wrong(format!("there is no file {path}")),
            // One that may not be looked at may still be there, for the user that tidelock runs as.
            Err(_) => None,
        }
    }
}
