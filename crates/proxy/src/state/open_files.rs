//! Opening files, off the worker's thread, and keeping some of them open. What is kept is looked at again after a second.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use crate::state::media::{self, Coding, Media};

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
}

/// Why there is nothing to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOpen {
    NotHere,
    Folder,
    Forbidden,
    /// By a fault of the machine, which the log has.
    Failed,
}

/// The files that a worker keeps open.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    kept: RefCell<HashMap<Key, Kept>>,
    kept_max: usize,
    /// How many may be opened at a time: a folder that hangs takes no more threads.
    openings: Arc<Semaphore>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    folder: PathBuf,
    name: String,
    coding: Option<Coding>,
}

#[derive(Debug)]
struct Kept {
    file: Rc<Opened>,
    looked_at: Instant,
}

impl OpenFiles {
    pub(crate) fn new(kept_max: usize) -> Self {
        Self { kept: RefCell::default(), kept_max, openings: Arc::new(Semaphore::new(OPENINGS_MAX)) }
    }

    /// The file of this name in a folder, in that coding.
    pub(crate) async fn open(
        &self,
        folder: &Path,
        name: &str,
        coding: Option<Coding>,
        now: Instant,
    ) -> Result<Rc<Opened>, NotOpen> {
        let key = Key { folder: folder.to_owned(), name: name.to_owned(), coding };
        if let Some(kept) = self.kept.borrow().get(&key)
            && now.saturating_duration_since(kept.looked_at) < LOOKED_AT_EVERY
        {
            return Ok(kept.file.clone());
        }
        let (folder, name) = (folder.to_owned(), name.to_owned());
        let openings = self.openings.clone();
        let opening = async move {
            let permit = openings.acquire_owned().await.map_err(|_| NotOpen::Failed)?;
            // The permit goes along: a thread that hangs is still one when nobody waits for it any more.
            let opening = spawn_blocking(move || {
                let _permit = permit;
                open_beneath(&folder, name, coding)
            });
            opening.await.unwrap_or(Err(NotOpen::Failed))
        };
        let opened = timeout(OPENS_WITHIN, opening).await.unwrap_or_else(|_| {
            tracing::warn!(folder = %key.folder.display(), name = key.name, "a file is not opened in time");
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

/// Opens what is under a folder, whatever links there are.
fn open_beneath(folder: &Path, name: String, coding: Option<Coding>) -> Result<Opened, NotOpen> {
    let told = |error: Errno| match error {
        // A link that leads out of the folder is one of them.
        Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG | Errno::LOOP | Errno::XDEV | Errno::INVAL => {
            NotOpen::NotHere
        }
        Errno::ACCESS | Errno::PERM => NotOpen::Forbidden,
        error => {
            tracing::warn!(folder = %folder.display(), name, "a file cannot be opened: {error}");
            NotOpen::Failed
        }
    };
    let root =
        open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(|error| {
            if error == Errno::NOENT {
                tracing::warn!(folder = %folder.display(), "the folder of a route is not there");
            }
            told(error)
        })?;
    let written = match coding {
        Some(coding) => format!("{name}{}", coding.ending()),
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
        let beside = format!("{name}{}", coding.ending());
        media.is_compressible
            && openat2(&root, &*beside, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).is_ok()
    };
    let codings = Coding::ALL.into_iter().filter(is_beside).collect();
    let modified_s = u64::try_from(status.st_mtime).unwrap_or(0);
    let bytes = u64::try_from(status.st_size).unwrap_or(0);
    Ok(Opened {
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

/// A change is noticed within this time.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(1);
/// How many files each worker keeps open, of all that this process may open.
pub(crate) fn kept_max(files: u64, workers: usize) -> usize {
    let share = usize::try_from(files).unwrap_or(usize::MAX) / FILES_SHARE / workers.max(1);
    share.clamp(1, KEPT_MAX)
}

const KEPT_MAX: usize = 64;
const FILES_SHARE: usize = 32;
/// A folder of another machine that takes longer is as good as none.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
const OPENINGS_MAX: usize = 8;
