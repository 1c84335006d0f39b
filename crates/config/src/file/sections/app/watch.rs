//! `[app.NAME.watch]`.

use std::path::{Path, PathBuf};

use crate::file::declare::declare;
use crate::file::fields::Fields;
use crate::file::kinds::app::Texts;

declare! {
    /// Which files are watched.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Watch in WATCH = "watch", One:
        "Replaces the processes whenever a file changes; for development. Left out: nothing is watched.";
    given WatchParts {}
    handed {
        /// Files and folders, with all that is in them. Relative to `cwd`.
        PATHS paths: Vec<PathBuf> => "`cwd`", Texts { example: "[\"src\"]" };
    }
    keys {
        /// Names of files and folders in them that do not count; `node_modules` and those that begin with a dot never do.
        IGNORE ignore: Vec<String> = Vec::new(), Texts { example: "[\"logs\"]" };
    }
    also { PATHS }
}

impl Watch {
    /// Reads the table; `cwd` is the app's own.
    pub(crate) fn of(fields: &Fields<'_>, cwd: &Path) -> Self {
        let paths = fields.optional(&PATHS).filter(|paths| !paths.is_empty());
        let joined = |paths: Vec<String>| paths.iter().map(|path| cwd.join(path)).collect();
        Self::read(fields, WatchParts { paths: paths.map_or_else(|| vec![cwd.to_owned()], joined) })
    }
}
