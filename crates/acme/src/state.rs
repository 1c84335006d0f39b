//! The folder that certificates, accounts and challenges are kept in. Whatever is killed at whatever moment, each file in it is
//! the old one or the new one; several processes may share it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate that is there, as far as its renewal goes.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) leaf: CertificateDer<'static>,
    /// In seconds since 1970.
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
}

impl Held {
    /// Reads the leaf of a file; nothing if there is none that can be read.
    pub(crate) fn read(file: &Path) -> Option<Self> {
        CertificateDer::from_pem_file(file).ok().and_then(Self::of)
    }

    pub(crate) fn of(leaf: CertificateDer<'static>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(&leaf).ok()?;
        let validity = parsed.validity();
        let (not_before, not_after) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        Some(Self { not_before, not_after, leaf })
    }
}

/// What is remembered of the attempts to get one certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Record {
    /// How many attempts in a row have failed.
    pub(crate) failures: u32,
    /// All times are in seconds since 1970.
    pub(crate) last_attempt: i64,
    /// Not before then.
    pub(crate) next_attempt: i64,
    /// The authority has said so, and nobody else may say otherwise.
    pub(crate) is_told_to_wait: bool,
    pub(crate) last_error: Option<String>,
    /// When the authority wants the certificate with this end to be renewed (RFC 9773).
    pub(crate) renew_at: Option<i64>,
    pub(crate) renews_not_after: i64,
    /// When it is to be asked for that again.
    pub(crate) ask_again_at: i64,
}

impl Record {
    /// What is remembered in `file`; nothing of what cannot be read.
    pub(crate) fn read(file: &Path) -> Self {
        read_bounded(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    pub(crate) fn write(&self, file: &Path) -> io::Result<()> {
        write(file, &serde_json::to_vec(self).map_err(io::Error::other)?)
    }
}

/// Puts `bytes` into `file`: whole or not at all, and for nobody else to read.
pub(crate) fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let (folder, name) = (file.parent().unwrap_or(Path::new(".")), file.file_name().unwrap_or_default());
    // One for each process and moment: another tidelock may write the same file now.
    let written = folder.join(format!(".{}.{}-{:x}", name.display(), std::process::id(), fastrand::u64(..)));
    let mut options = OpenOptions::new();
    let put = options.write(true).create_new(true).mode(0o600).open(&written).and_then(|mut new| {
        new.write_all(bytes)?;
        new.sync_all()?;
        fs::rename(&written, file)
    });
    if put.is_err() {
        // On a full disk, too, nothing half is left.
        let _ = fs::remove_file(&written);
    }
    put?;
    // The name as well as the bytes outlives a loss of power.
    File::open(folder)?.sync_all()
}

/// What is in a file of the state.
pub(crate) fn read_bounded(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes a folder, and those above it, for nobody else.
pub(crate) fn make_folder(folder: &Path) -> io::Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(named)
}

/// Throws out what processes that were killed have left: challenges, and files that were never whole.
pub(crate) fn tidy(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_old = entry
            .metadata()
            .and_then(|found| found.modified())
            .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > LEFT_AFTER));
        let is_left = entry.file_name().as_encoded_bytes().starts_with(b".") || is_challenge(folder);
        if is_old && is_left {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_challenge(folder: &Path) -> bool {
    folder.parent().is_some_and(|above| above.ends_with("challenges"))
}

/// Keeps other processes, on other machines too where the folder is shared, from what this one does. Ends with it.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of this name, if nobody has it.
    pub(crate) fn try_take(path: PathBuf) -> io::Result<Option<Self>> {
        let file = Self::open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Takes the lock of this name when nobody has it any more. Blocks until then.
    pub(crate) fn take(path: PathBuf) -> io::Result<Self> {
        let file = Self::open(path)?;
        file.lock()?;
        Ok(Self { _file: file })
    }

    fn open(path: PathBuf) -> io::Result<File> {
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
    }
}

/// Nothing that is kept is as long.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// No attempt takes as long.
const LEFT_AFTER: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_is_whole_and_ones_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.pem");
        write(&file, b"first").expect("written");
        write(&file, b"second").expect("written over");
        assert_eq!(fs::read(&file).expect("read"), b"second");
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing else is left");
    }

    #[test]
    fn a_lock_is_one_holders() {
        let folder = tempfile::tempdir().expect("a folder");
        let lock = || Lock::try_take(folder.path().join("lock")).expect("it can be asked for");
        let held = lock().expect("nobody has it");
        assert!(lock().is_none(), "it is held");
        drop(held);
        assert!(lock().is_some(), "it was let go");
    }

    #[test]
    fn what_cannot_be_read_is_no_record() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.json");
        assert_eq!(Record::read(&file), Record::default());
        fs::write(&file, "{\"failures\": 3, \"last_er").expect("written");
        assert_eq!(Record::read(&file), Record::default());
        let record = Record { failures: 3, last_error: Some("no".to_owned()), ..Record::default() };
        record.write(&file).expect("written");
        assert_eq!(Record::read(&file), record);
    }
}
