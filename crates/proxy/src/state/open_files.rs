//! Opening files, off the worker's thread, and keeping some of them open. What is kept is looked at again after a second.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use config::routing::Coding;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::{Errno, pread};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::state::media::{self, Media};

/// A file that is open.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) file: OwnedFd,
    /// As seen from its folder, without the ending of its coding.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) modified_s: u64,
    pub(crate) last_modified: String,
    /// As nginx makes it: of time and length.
    pub(crate) etag: String,
    pub(crate) media: Media,
    pub(crate) coding: Option<Coding>,
    /// In which codings it lies beside itself.
    pub(crate) codings: Vec<Coding>,
    /// All that is in it, where that is short: it need not be read for each request, nor wait for a disk there.
    pub(crate) content: Option<Box<[u8]>>,
}

/// Why there is nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOpen {
    NotHere,
    Folder,
    /// By a fault of the machine, or because its rights keep us from it. The log has it.
    Failed,
}

/// The files that a worker keeps open.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    kept: RefCell<HashMap<Key, Kept>>,
    /// Where the key of what is asked for is put together.
    asked: RefCell<Key>,
    kept_max: usize,
    /// How many may be opened at a time: a folder that hangs takes no more threads.
    openings: Arc<Semaphore>,
    trouble: Trouble,
}

/// What goes wrong is told once a second: how often it is asked for is up to clients, and the log is on a disk.
#[derive(Debug, Default, Clone)]
struct Trouble(Arc<Mutex<Option<Instant>>>);

/// Folder, name and the ending of a coding, with a NUL between them, which is in none of them.
type Key = Vec<u8>;

#[derive(Debug)]
struct Kept {
    file: Rc<Opened>,
    looked_at: Instant,
}

impl Opened {
    /// A part of it, where all of it is at hand.
    pub(crate) fn content_of(&self, part: &Range<u64>) -> Option<&[u8]> {
        let at = |end: u64| usize::try_from(end).ok();
        self.content.as_deref()?.get(at(part.start)?..at(part.end)?)
    }
}

impl OpenFiles {
    pub(crate) fn new(kept_max: usize) -> Self {
        let openings = Arc::new(Semaphore::new(OPENINGS_MAX));
        let (kept, asked) = (RefCell::default(), RefCell::default());
        Self { kept, asked, kept_max, openings, trouble: Trouble::default() }
    }

    /// Nothing is opened until what this returns is dropped.
    #[cfg(test)]
    pub(crate) fn hold_openings(&self) -> tokio::sync::OwnedSemaphorePermit {
        self.openings.clone().try_acquire_many_owned(OPENINGS_MAX as u32).expect("nothing is being opened")
    }

    /// The file of this name in a folder, in that coding, if it was looked at lately.
    pub(crate) fn kept(
        &self,
        folder: &Path,
        name: &str,
        coding: Option<Coding>,
        now: Instant,
    ) -> Option<Rc<Opened>> {
        let mut asked = self.asked.borrow_mut();
        write_key(folder, name, coding, &mut asked);
        let kept = self.kept.borrow();
        let kept = kept.get(asked.as_slice())?;
        let is_fresh = now.saturating_duration_since(kept.looked_at) < LOOKED_AT_EVERY;
        is_fresh.then(|| kept.file.clone())
    }

    /// The same as it is now.
    pub(crate) async fn open(
        &self,
        folder: &Path,
        name: &str,
        coding: Option<Coding>,
        now: Instant,
    ) -> Result<Rc<Opened>, NotOpen> {
        let mut key = Key::new();
        write_key(folder, name, coding, &mut key);
        let at = (folder.to_owned(), name.to_owned());
        let (folder, name) = (folder.to_owned(), name.to_owned());
        let (openings, trouble) = (self.openings.clone(), self.trouble.clone());
        let opening = async move {
            let permit = openings.acquire_owned().await.map_err(|_| NotOpen::Failed)?;
            // The permit goes along: a thread that hangs is still one when nobody waits for it any more.
            let opening = spawn_blocking(move || {
                let _permit = permit;
                open_beneath(&folder, name, coding, &trouble)
            });
            opening.await.unwrap_or(Err(NotOpen::Failed))
        };
        let opened = timeout(OPENS_WITHIN, opening).await.unwrap_or_else(|_| {
            if self.trouble.is_due() {
                tracing::warn!(folder = %at.0.display(), name = at.1, "a file is not opened in time");
            }
            Err(NotOpen::Failed)
        });
        let mut kept = self.kept.borrow_mut();
        match opened {
            Ok(opened) => {
                let file = Rc::new(opened);
                if kept.len() >= self.kept_max {
                    // Those that nobody asks for go first, and if there is none such, any.
                    kept.retain(|_, kept| now.saturating_duration_since(kept.looked_at) < LOOKED_AT_EVERY);
                    if kept.len() >= self.kept_max {
                        kept.clear();
                    }
                }
                kept.insert(key, Kept { file: file.clone(), looked_at: now });
                Ok(file)
            }
            Err(why) => {
                kept.remove(&key);
                Err(why)
            }
        }
    }
}

impl Trouble {
    /// Whether something may be told now.
    fn is_due(&self) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.is_some_and(|told| now.duration_since(told) < TOLD_EVERY) {
            return false;
        }
        *told = Some(now);
        true
    }
}

fn write_key(folder: &Path, name: &str, coding: Option<Coding>, key: &mut Key) {
    key.clear();
    for part in [folder.as_os_str().as_bytes(), name.as_bytes()] {
        key.extend_from_slice(part);
        key.push(0);
    }
    key.extend_from_slice(coding.map_or("", media::ending).as_bytes());
}

/// Opens what is under a folder, whatever links there are.
fn open_beneath(
    folder: &Path,
    name: String,
    coding: Option<Coding>,
    trouble: &Trouble,
) -> Result<Opened, NotOpen> {
    let told = |error: Errno| match error {
        // A link that leads out of the folder is one of them.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::XDEV | Errno::INVAL => {
            NotOpen::NotHere
        }
        Errno::ACCESS | Errno::PERM => {
            if trouble.is_due() {
                tracing::warn!(
                    event = "file_unreadable",
                    folder = %folder.display(),
                    name,
                    "a file may not be read by the user that tidelock runs as"
                );
            }
            NotOpen::Failed
        }
        error => {
            if trouble.is_due() {
                tracing::warn!(folder = %folder.display(), name, "a file cannot be opened: {error}");
            }
            NotOpen::Failed
        }
    };
    let root =
        open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|error| {
            if error == Errno::NOENT && trouble.is_due() {
                tracing::warn!(event = "folder_missing", folder = %folder.display(), "the folder of a route is not there");
            }
            told(error)
        })?;
    let written = match coding {
        Some(coding) => format!("{name}{}", media::ending(coding)),
        None => name.clone(),
    };
    // A FIFO would be waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let written = if written.is_empty() { ".".to_owned() } else { written };
    let file = openat2(&root, &*written, flags, Mode::empty(), resolve).map_err(told)?;
    let status = fstat(&file).map_err(told)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(NotOpen::Folder),
        _ => return Err(NotOpen::NotHere),
    }
    let media = media::of(&name);
    let is_beside = |coding: &Coding| {
        let beside = format!("{name}{}", media::ending(*coding));
        media.is_compressible
            && openat2(&root, &*beside, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).is_ok()
    };
    let codings = Coding::ALL.into_iter().filter(is_beside).collect();
    let modified_s = u64::try_from(status.st_mtime).unwrap_or(0);
    let bytes = u64::try_from(status.st_size).unwrap_or(0);
    let content = if bytes <= CONTENT_KEPT_MAX { whole(&file, bytes) } else { None };
    Ok(Opened {
        content,
        last_modified: httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(modified_s)),
        etag: format!("\"{modified_s:x}-{bytes:x}\""),
        media,
        codings,
        file,
        name,
        bytes,
        modified_s,
        coding,
    })
}

/// All bytes of a file, if they can be read and there are as many as it said.
fn whole(file: &OwnedFd, bytes: u64) -> Option<Box<[u8]>> {
    let length = usize::try_from(bytes).ok()?;
    let mut content = vec![0; length];
    let mut filled = 0;
    while filled < length {
        match pread(file, &mut content[filled..], filled as u64) {
            // Whoever asks for it finds out why.
            Ok(0) | Err(_) => return None,
            Ok(read) => filled += read,
        }
    }
    Some(content.into())
}

/// A change is noticed within this time.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// How many files each worker keeps open, of all that this process may open: a share, since connections want the
/// rest.
pub(crate) fn kept_max(files: u64, workers: usize) -> usize {
    let share = usize::try_from(files).unwrap_or(usize::MAX) / FILES_SHARE / workers.max(1);
    share.clamp(1, KEPT_MAX)
}

const TOLD_EVERY: Duration = Duration::from_secs(1);
const KEPT_MAX: usize = 64;
/// With as many as are kept a worker has up to a megabyte of them.
const CONTENT_KEPT_MAX: u64 = 16 << 10;
const FILES_SHARE: usize = 32;
/// A folder of another machine that takes longer is as good as none.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
const OPENINGS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn trouble_is_told_once_in_a_while() {
        let trouble = Trouble::default();
        assert!(trouble.is_due());
        let begun = Instant::now();
        let told = (0..1000).filter(|_| trouble.is_due()).count() as u64;
        assert!(told <= begun.elapsed().as_secs() + 1, "{told}");
    }

    /// What is short is answered whole though somebody is writing it anew; what is long is read when it is sent.
    #[tokio::test]
    async fn a_short_file_is_kept_whole() {
        let folder = tempfile::tempdir().expect("a writable folder");
        let path = folder.path();
        let long = vec![b'x'; usize::try_from(CONTENT_KEPT_MAX).unwrap() + 1];
        fs::write(path.join("short"), b"0123456789").expect("a writable folder");
        fs::write(path.join("long"), &long).expect("a writable folder");
        let (files, now) = (OpenFiles::new(8), Instant::now());
        assert!(files.kept(path, "short", None, now).is_none());
        files.open(path, "short", None, now).await.expect("it is there");
        fs::write(path.join("short"), b"").expect("a writable folder");
        let kept = files.kept(path, "short", None, now).expect("it was opened");
        assert_eq!(kept.content_of(&(0..10)), Some(&b"0123456789"[..]));
        assert_eq!(kept.content_of(&(4..6)), Some(&b"45"[..]));
        assert_eq!(kept.content_of(&(4..11)), None);
        assert!(files.kept(path, "short", Some(Coding::Gzip), now).is_none());
        assert!(files.kept(path, "short", None, now + LOOKED_AT_EVERY).is_none(), "it may be another one");
        let long = files.open(path, "long", None, now).await.expect("it is there");
        assert!(long.content.is_none());
    }
}
