//! What every reader of one file shares: the problems found so far, which values came out of the environment, and where
//! secrets are read from. Knows values and spans, nothing of keys.

use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::Disk;
use super::expand::Expanded;
use crate::problem::{Problem, Problems};
use crate::regular::read_regular;

/// One reading of one file.
#[derive(Debug)]
pub(crate) struct Reading<'d> {
    problems: Problems,
    /// The strings with variables in them, by where they begin.
    expanded: Rc<HashMap<usize, Expanded>>,
    folder: &'d Path,
    disk: Disk,
}

impl<'d> Reading<'d> {
    pub(crate) fn new(
        problems: Problems,
        expanded: HashMap<usize, Expanded>,
        folder: &'d Path,
        disk: Disk,
    ) -> Self {
        Self { problems, expanded: Rc::new(expanded), folder, disk }
    }

    /// The same file, and nobody who is told anything.
    pub(crate) fn in_silence(&self) -> Reading<'d> {
        Self { problems: Problems::default(), expanded: self.expanded.clone(), ..*self }
    }

    pub(crate) fn push(&self, problem: Problem) {
        self.problems.push(problem);
    }

    /// What became of the variables in the string at `span`, if there are any.
    pub(crate) fn expanded(&self, span: &Range<usize>) -> Option<&Expanded> {
        self.expanded.get(&span.start)
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        self.problems.into_vec()
    }

    /// The secret in the file that `"file:PATH"` at `span` names, without the newline that editors put behind it.
    /// Nothing once it is told why there is none; what is told never has a byte of it.
    pub(crate) fn secret_in(&self, path: &str, span: &Range<usize>) -> Option<Vec<u8>> {
        let path: PathBuf = self.folder.join(path);
        let shown = path.display();
        if self.disk == Disk::Untouched {
            let message = format!("the secret is in {shown}, and no files are read here");
            self.push(Problem::error(span.clone(), message));
            return None;
        }
        let mut secret = match read_regular(&path) {
            Ok(secret) => secret,
            Err(error) => {
                let message = format!("the secret in {shown} cannot be read: {error}");
                self.push(Problem::error(span.clone(), message).hint(SECRET_HINT));
                return None;
            }
        };
        if fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
            let message = format!("everybody on this machine can read the secret in {shown}");
            self.push(Problem::warning(span.clone(), message).hint(format!("`chmod 600 {shown}`")));
        }
        while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            secret.pop();
        }
        Some(secret)
    }
}

const SECRET_HINT: &str = "the user that tidelock runs as must be able to read it; a path without a slash in front is \
                           relative to the folder of this file";
