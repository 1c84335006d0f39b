//! The files of one app's lines: for each instance `NAME-SLOT.log`, and older ones `.1`, `.2` and so on. Written by a
//! thread of the app's own, since a disk may block.
//!
//! An instance never has more on the disk than `file_bytes_max` times `files_max`: it is looked at before each write.
//! What cannot be written is lost, counted, and said in the file when it can be written again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use config::app::{App, Logs as Settings};
use tokio::time::Instant;

use super::folder::{LogFolder, Opened};
use super::lines::Line;
use super::queue::{Piece, Pieces, Queue, queue};
use crate::account::Account;

/// Starts the thread that writes `app`'s files into `folder`; `account` is whom the app runs as, if not as tidelock does.
pub(super) fn start(folder: &Path, app: &App, account: Option<Account>) -> Option<Queue> {
    let (queue, pieces) = queue();
    let files = Files {
        folder: LogFolder::new(folder.to_owned(), account),
        app: app.name.clone(),
        settings: app.logs.clone(),
        open: BTreeMap::new(),
    };
    let started = thread::Builder::new().name("logs-files".to_owned()).spawn(move || files.write(&pieces));
    match started {
        Ok(_) => Some(queue),
        Err(error) => {
            tracing::error!(app = app.name, %error, "its lines are not written to files: no thread for it");
            None
        }
    }
}

#[derive(Debug)]
struct Files {
    folder: LogFolder,
    app: String,
    settings: Settings,
    open: BTreeMap<u32, Series>,
}

/// The files of one slot.
#[derive(Debug)]
struct Series {
    name: String,
    /// The same with its folder, to look whether it is still there.
    path: PathBuf,
    current: Option<Current>,
    lost: u64,
    /// The disk refused; it is asked again then.
    refused_until: Option<Instant>,
}

#[derive(Debug)]
struct Current {
    file: File,
    folder: Opened,
    /// Device and inode.
    identity: (u64, u64),
    size: u64,
}

impl Files {
    fn write(mut self, pieces: &Pieces) {
        while pieces.next(|piece| match piece {
            Piece::Lines(lines) => {
                if let Some(first) = lines.first() {
                    let slot = first.instance.slot;
                    let lost = pieces.lost(slot);
                    let mut series = self.open.remove(&slot).unwrap_or_else(|| self.series(slot));
                    series.lost += lost;
                    series.append(lines, &mut self.folder, &self.settings, Instant::now());
                    self.open.insert(slot, series);
                }
            }
            Piece::Flush(Some(slot)) => self.flush(*slot),
            Piece::Flush(None) => (0..SLOTS_MAX).for_each(|slot| self.flush(slot)),
        }) {}
    }

    fn series(&self, slot: u32) -> Series {
        // What is a name in the file is a name on the disk, and no path.
        let name = format!("{}-{slot}.log", self.app.replace('/', "_"));
        Series { path: self.folder.path.join(&name), name, current: None, lost: 0, refused_until: None }
    }

    fn flush(&mut self, slot: u32) {
        let series = self.open.remove(&slot).unwrap_or_else(|| self.series(slot));
        if let Err(error) = series.clear(&mut self.folder) {
            tracing::warn!(app = self.app, path = %series.path.display(), %error, "its log is not emptied");
        }
    }
}

impl Series {
    fn append(&mut self, lines: &[Arc<Line>], folder: &mut LogFolder, settings: &Settings, now: Instant) {
        if self.refused_until.is_some_and(|until| now < until) {
            self.lost += lines.len() as u64;
            return;
        }
        let was_refused = self.refused_until.take().is_some();
        let mut rest = lines;
        match self.try_append(&mut rest, folder, settings) {
            Ok(()) if was_refused => {
                tracing::info!(event = "app_log_back", path = %self.path.display(), "a log can be written again");
            }
            Ok(()) => {}
            Err(error) => {
                let error = folder.explain(error);
                if !was_refused {
                    tracing::error!(event = "app_log_failed", path = %self.path.display(), %error, "a log cannot be written: its lines are lost until it can");
                }
                self.lost += rest.len() as u64;
                self.current = None;
                self.refused_until = Some(now + AGAIN);
            }
        }
    }

    /// `rest` is what was not written yet.
    fn try_append(
        &mut self,
        rest: &mut &[Arc<Line>],
        folder: &mut LogFolder,
        settings: &Settings,
    ) -> io::Result<()> {
        while !rest.is_empty() {
            let size = self.open(folder, settings)?;
            let room = settings.file_bytes_max.saturating_sub(size);
            let (text, count) = self.what_fits(rest, room, settings);
            if count > 0 {
                self.put(&text)?;
                self.lost = 0;
                *rest = &rest[count..];
            } else if size > 0 {
                self.rotate(settings)?;
            } else {
                // It fits into no file.
                self.lost += 1;
                *rest = &rest[1..];
            }
        }
        Ok(())
    }

    /// The first of these lines that fit into `room` bytes, and how many they are.
    fn what_fits(&self, lines: &[Arc<Line>], room: u64, settings: &Settings) -> (Vec<u8>, usize) {
        let mut text = Vec::new();
        if self.lost > 0 {
            text.extend_from_slice(format!("tidelock: lines lost here: {}\n", self.lost).as_bytes());
        }
        for (count, line) in lines.iter().enumerate() {
            let before = text.len();
            line.write_into(&mut text, settings.format, settings.time);
            if text.len() as u64 > room {
                text.truncate(before);
                return (text, count);
            }
        }
        (text, lines.len())
    }

    /// The size of the current file, which is opened if need be.
    fn open(&mut self, folder: &mut LogFolder, settings: &Settings) -> io::Result<u64> {
        if let Some(current) = &self.current {
            // Somebody may have moved or removed it; what is written to it then would count nowhere.
            let is_there =
                fs::symlink_metadata(&self.path).is_ok_and(|there| identity(&there) == current.identity);
            if is_there {
                return Ok(current.size);
            }
        }
        self.current = None;
        let folder = folder.open()?;
        let file = folder.append(&self.name)?;
        let there = file.metadata()?;
        // There may be more than may be now.
        (settings.files_max.max(1)..)
            .map_while(|number| folder.remove(&self.older(number)).ok())
            .for_each(drop);
        self.current = Some(Current { file, folder, identity: identity(&there), size: there.len() });
        Ok(there.len())
    }

    fn put(&mut self, text: &[u8]) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if let Err(error) = current.file.write_all(text) {
            // On a full disk a part of it is there. Lines that are half there are none.
            let _ = current.file.set_len(current.size);
            return Err(error);
        }
        current.size += text.len() as u64;
        Ok(())
    }

    /// Makes room: each file gets the next number, and the last one goes first.
    fn rotate(&mut self, settings: &Settings) -> io::Result<()> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if settings.files_max <= 1 {
            current.file.set_len(0)?;
            current.size = 0;
            return Ok(());
        }
        let Some(Current { folder, .. }) = self.current.take() else { return Ok(()) };
        gone(folder.remove(&self.older(settings.files_max - 1)))?;
        for number in (1..settings.files_max - 1).rev() {
            gone(folder.rename(&self.older(number), &self.older(number + 1)))?;
        }
        gone(folder.rename(&self.name, &self.older(1)))
    }

    fn clear(&self, folder: &mut LogFolder) -> io::Result<()> {
        let folder = folder.open()?;
        (1..).map_while(|number| folder.remove(&self.older(number)).ok()).for_each(drop);
        // Only emptied: somebody may be following it.
        gone(folder.truncate(&self.name))
    }

    fn older(&self, number: u32) -> String {
        format!("{}.{number}", self.name)
    }
}

fn identity(file: &fs::Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// What is not there need not be moved.
fn gone(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// A disk that refused is asked again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// More instances no app has.
const SLOTS_MAX: u32 = 1024;
