//! The folder of an app's log files. Everything in it is done through its descriptor, follows no link, and touches nothing
//! but regular files that have one name. See `trust` for whose rights are used.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::account::Account;
use crate::trust::{WHY_AS_USER, is_ours_alone};

/// Where it is, and whom the thread becomes that writes there. Only that thread has one.
#[derive(Debug)]
pub(super) struct LogFolder {
    pub(super) path: PathBuf,
    account: Option<Account>,
    has_become: bool,
}

/// The folder as it was opened.
#[derive(Debug)]
pub(super) struct Opened(OwnedFd);

impl LogFolder {
    /// `account` is the app's, if it runs as another user than tidelock.
    pub(super) fn new(path: PathBuf, account: Option<Account>) -> Self {
        Self { path, account, has_become: false }
    }

    /// Opens it, and makes it if it is not there. From the first time on that somebody else than root and tidelock may
    /// write on its way, this thread has the rights of the app's user and no others.
    pub(super) fn open(&mut self) -> io::Result<Opened> {
        if let Some(account) = &self.account
            && !is_ours_alone(&self.path).unwrap_or(false)
        {
            account.become_on_this_thread()?;
            self.account = None;
            self.has_become = true;
        }
        let opened =
            DirBuilder::new().recursive(true).mode(0o755).create(&self.path).and_then(|()| {
                Ok(openat(CWD, &self.path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
            });
        opened.map(Opened).map_err(|error| self.explain(error))
    }

    /// Adds what helps to understand a refusal.
    pub(super) fn explain(&self, error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::PermissionDenied if self.has_become => io::Error::new(
                error.kind(),
                format!(
                    "{error} (written as the app's user, {WHY_AS_USER}: the folder and its files must be that user's)"
                ),
            ),
            _ => error,
        }
    }
}

impl Opened {
    /// Opens a file to append to it, and makes it if it is not there.
    pub(super) fn append(&self, name: &str) -> io::Result<File> {
        self.regular(name, OFlags::APPEND | OFlags::CREATE)
    }

    /// Empties a file that is there.
    pub(super) fn truncate(&self, name: &str) -> io::Result<()> {
        self.regular(name, OFlags::empty())?.set_len(0)
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    fn regular(&self, name: &str, how: OFlags) -> io::Result<File> {
        // A FIFO would wait for its reader, but for NONBLOCK; a regular file does not care.
        let always = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        let file = match openat(&self.0, name, always | how, mode) {
            Ok(file) => File::from(file),
            Err(Errno::LOOP) => return Err(refused("it is a symbolic link")),
            Err(Errno::NXIO) => return Err(refused("it is no regular file")),
            Err(error) => return Err(error.into()),
        };
        let there = file.metadata()?;
        match (there.is_file(), there.nlink()) {
            (false, _) => Err(refused("it is no regular file")),
            // Another name of it may lie where the app could not write.
            (true, 2..) => Err(refused("it is a hard link: it has another name, too")),
            (true, _) => Ok(file),
        }
    }
}

fn refused(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{why}, and nothing is written to it; remove it"))
}
