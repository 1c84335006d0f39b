//! The file of the access log, and those before it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use config::plan;

pub(super) struct LogFile {
    file: File,
    path: PathBuf,
    /// What is in it, as far as we know; `None` of a pipe or the like, which is never too large.
    bytes: Option<u64>,
    bytes_max: Option<u64>,
    files_max: u32,
    /// The files could not be renamed, which was told.
    is_stuck: bool,
}

impl LogFile {
    pub(super) fn open(path: &Path, log: &plan::Log) -> io::Result<Self> {
        let (file, bytes) = open(path)?;
        let (bytes_max, files_max) = (log.file_bytes_max, log.files_max);
        Ok(Self { file, path: path.to_owned(), bytes, bytes_max, files_max, is_stuck: false })
    }

    /// Opens what is at its path. False if that cannot be.
    pub(super) fn reopen(&mut self) -> bool {
        match open(&self.path) {
            Ok((file, bytes)) => {
                (self.file, self.bytes) = (file, bytes);
                true
            }
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "access log stays where it was");
                false
            }
        }
    }

    /// Begins another file, if this one would be too large with so much more.
    pub(super) fn make_room(&mut self, bytes: usize) {
        let is_full = self
            .bytes_max
            .zip(self.bytes)
            .is_some_and(|(most, there)| there > 0 && there + bytes as u64 > most);
        if !is_full {
            return;
        }
        let permissions = self.file.metadata().map(|there| there.permissions());
        match self.make_way() {
            Ok(()) => {
                self.is_stuck = !self.reopen();
                // Whoever may read the one may read the next, and nobody else.
                if let Ok(permissions) = permissions {
                    let _ = self.file.set_permissions(permissions);
                }
            }
            // It goes on with the one that is too large: better than losing lines.
            Err(error) if !self.is_stuck => {
                self.is_stuck = true;
                tracing::error!(path = %self.path.display(), %error, "access log is as large as it may be, and cannot be renamed");
            }
            Err(_) => {}
        }
    }

    fn make_way(&self) -> io::Result<()> {
        if self.files_max <= 1 {
            return self.file.set_len(0);
        }
        for number in (1..self.files_max - 1).rev() {
            gone(fs::rename(self.older(number), self.older(number + 1)))?;
        }
        gone(fs::rename(&self.path, self.older(1)))
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes = self.bytes.map(|there| there + written as u64);
        Ok(written)
    }

    /// Takes the last so many bytes out again. False if that cannot be.
    pub(super) fn take_back(&mut self, bytes: usize) -> bool {
        let there = self.file.metadata();
        self.bytes = self.bytes.map(|there| there.saturating_sub(bytes as u64));
        there.and_then(|there| self.file.set_len(there.len().saturating_sub(bytes as u64))).is_ok()
    }
}

fn open(path: &Path) -> io::Result<(File, Option<u64>)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata().ok().filter(fs::Metadata::is_file).map(|there| there.len());
    Ok((file, bytes))
}

/// What is not there need not be renamed.
fn gone(renamed: io::Result<()>) -> io::Result<()> {
    match renamed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        renamed => renamed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn check(files_max: u32, want: &[(&str, &str)]) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "old\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let log = plan::Log { file_bytes_max: Some(10), files_max, ..plan::Log::default() };
        let mut file = LogFile::open(&path, &log).unwrap();
        for line in ["one\n", "two\n", "three\n", "longer than all\n", "four\n"] {
            file.make_room(line.len());
            assert_eq!(file.write(line.as_bytes()).unwrap(), line.len());
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let mut there: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
            })
            .collect();
        there.sort();
        let there: Vec<_> = there.iter().map(|(name, text)| (&**name, &**text)).collect();
        assert_eq!(there, want);
    }

    #[test]
    fn a_full_file_is_followed_by_another() {
        let last = ("a.log", "four\n");
        check(1, &[last]);
        check(2, &[last, ("a.log.1", "longer than all\n")]);
        check(
            9,
            &[last, ("a.log.1", "longer than all\n"), ("a.log.2", "two\nthree\n"), ("a.log.3", "old\none\n")],
        );
    }

    #[test]
    fn what_cannot_be_renamed_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let log = plan::Log { file_bytes_max: Some(10), files_max: 2, ..plan::Log::default() };
        let mut file = LogFile::open(&path, &log).unwrap();
        // A folder that is not empty, where the older file would be.
        fs::create_dir_all(folder.path().join("a.log.1/x")).unwrap();
        for _ in 0..3 {
            file.make_room(8);
            file.write(b"8 bytes\n").unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "8 bytes\n".repeat(3));
    }
}
