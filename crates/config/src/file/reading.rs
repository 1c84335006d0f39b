//! What every reader of one file shares: the problems found so far, which values came out of the environment, and the folder
//! that paths are relative to. Knows values and spans, nothing of keys but the names of the outermost.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::disk::{Disk, NamedFile};
use super::expand::Expanded;
use crate::problem::{Problem, Problems};
use crate::regular::read_regular;
use crate::suggest::{listed, nearest};

/// One reading of one file.
#[derive(Debug)]
pub(crate) struct Reading<'d> {
    problems: Problems,
    /// The strings with variables in them, by where they begin.
    expanded: Rc<HashMap<usize, Expanded>>,
    folder: &'d Path,
    disk: Disk,
    /// Files that must be there.
    named: RefCell<Vec<NamedFile>>,
    /// The keys of the file itself.
    outermost: Vec<&'static str>,
}

impl<'d> Reading<'d> {
    pub(crate) fn new(
        problems: Problems,
        expanded: HashMap<usize, Expanded>,
        folder: &'d Path,
        disk: Disk,
    ) -> Self {
        let (named, outermost) = (RefCell::default(), Vec::new());
        Self { problems, expanded: Rc::new(expanded), folder, disk, named, outermost }
    }

    /// With these keys in the file itself.
    pub(crate) fn of_keys(self, names: impl Iterator<Item = &'static str>) -> Self {
        Self { outermost: names.collect(), ..self }
    }

    pub(crate) fn has_outermost(&self, name: &str) -> bool {
        self.outermost.contains(&name)
    }

    pub(crate) fn disk(&self) -> Disk {
        self.disk
    }

    /// Paths in the file are relative to it.
    pub(crate) fn folder(&self) -> &'d Path {
        self.folder
    }

    /// The absolute path of what is at `path`. Where even the current folder is unknown, nothing can be said better than
    /// what was written.
    pub(crate) fn absolute(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.folder.join(path);
        // The path of the current folder is empty to `Path`, and nothing to `absolute`.
        let path = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path };
        std::path::absolute(&path).unwrap_or(path)
    }

    /// The path of a file that must be there, and is told if it is not.
    pub(crate) fn demand(&self, path: &Path, span: Option<Range<usize>>) -> PathBuf {
        let path = self.folder.join(path);
        self.named.borrow_mut().push(NamedFile { path: path.clone(), span });
        path
    }

    /// The same file, and nobody who is told anything.
    pub(crate) fn in_silence(&self) -> Reading<'d> {
        Reading {
            problems: Problems::default(),
            expanded: self.expanded.clone(),
            folder: self.folder,
            disk: self.disk,
            named: RefCell::default(),
            outermost: self.outermost.clone(),
        }
    }

    pub(crate) fn push(&self, problem: Problem) {
        self.problems.push(problem);
    }

    /// What `read` gives; nothing if it has told an error meanwhile, for then parts of it are missing.
    pub(crate) fn sound<T>(&self, read: impl FnOnce() -> T) -> Option<T> {
        let before = self.problems.errors();
        let read = read();
        (self.problems.errors() == before).then_some(read)
    }

    /// What to write instead of `word`, which is none of `names`: the one that was meant, or which there are.
    /// `None` where there are none.
    pub(crate) fn instead(&self, word: &str, names: &[&str]) -> Option<String> {
        let may_compare = self.problems.may_compare(names.len());
        let meant = may_compare.then(|| nearest(word, names.iter().copied())).flatten();
        match (meant, names) {
            (_, []) => None,
            (Some(meant), _) => Some(format!("did you mean \"{meant}\"?")),
            (None, names) => Some(listed(names)),
        }
    }

    /// What became of the variables in the string at `span`; `None` for a string without any. Strings are known by
    /// where they begin.
    pub(crate) fn expanded(&self, span: &Range<usize>) -> Option<&Expanded> {
        self.expanded.get(&span.start)
    }

    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_vec();
        problems.extend(self.named.take().iter().filter_map(|named| self.disk.inspect(named)));
        problems
    }

    /// The text in the file at `path`, which `span` names; empty where no files are read. Nothing once it is told why there is
    /// none.
    pub(crate) fn text_in(&self, path: &str, span: &Range<usize>) -> Option<String> {
        let path: PathBuf = self.folder.join(path);
        let shown = path.display();
        if self.disk == Disk::Untouched {
            return Some(String::new());
        }
        let (message, hint) = match read_regular(&path) {
            Ok(bytes) if bytes.len() > TEXT_BYTES_MAX => (
                format!("{shown} is longer than {} MiB", TEXT_BYTES_MAX >> 20),
                "it is answered from memory, whoever asks; put what is large into a folder of `files`",
            ),
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => return Some(text),
                Err(_) => (format!("{shown} is not UTF-8"), "save it as UTF-8"),
            },
            Err(error) => (format!("{shown} cannot be read: {error}"), FILE_HINT),
        };
        self.push(Problem::error(span.clone(), message).hint(hint));
        None
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
                self.push(Problem::error(span.clone(), message).hint(FILE_HINT));
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

/// What is answered from memory, whoever asks.
const TEXT_BYTES_MAX: usize = 1 << 20;
const FILE_HINT: &str = "the user that tidelock runs as must be able to read it; a path without a slash in front is \
                           relative to the folder of this file";
