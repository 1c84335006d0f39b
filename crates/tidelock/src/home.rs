//! What belongs to a user's tidelock in the background: its file, which the user may read and edit, and what it keeps.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// See the head of the file. There is one for each user.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    /// What runs.
    pub(crate) file: PathBuf,
    /// What is kept over restarts.
    pub(crate) state: PathBuf,
}

impl Home {
    /// Of the user that this runs as. Touches nothing.
    pub(crate) fn of_user() -> Result<Self, String> {
        let (Some(file), Some(state)) = (file(), admin::places::state_folder()) else {
            return Err("where should tidelock keep its file? There is no $HOME, and no $XDG_CONFIG_HOME with $XDG_STATE_HOME; \
                        `--foreground` needs neither"
                .to_owned());
        };
        Ok(Self { file, state })
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.state.join("admin.sock")
    }

    /// Its own log.
    pub(crate) fn log(&self) -> PathBuf {
        self.state.join("tidelock.log")
    }

    /// Locked by whoever changes the file.
    pub(crate) fn changing(&self) -> PathBuf {
        self.state.join("changing.lock")
    }

    /// Locked by the tidelock that runs; its process id is in it.
    pub(crate) fn running(&self) -> PathBuf {
        self.state.join("running.lock")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        admin::places::logs_folder().unwrap_or_else(|| self.state.join("logs"))
    }

    /// Makes the folders. What is in them is nobody else's business.
    pub(crate) fn prepare(&self) -> Result<(), String> {
        let folders = [self.file.parent().unwrap_or(Path::new("/")), &self.state];
        for folder in folders {
            make(folder).map_err(|error| format!("cannot make the folder {}: {error}", folder.display()))?;
        }
        Ok(())
    }
}

fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn file() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty());
    let folder = match set {
        Some(folder) => PathBuf::from(folder).join("tidelock"),
        None if rustix::process::geteuid().is_root() => return Some(PathBuf::from(SYSTEM_FILE)),
        None => admin::places::home()?.join(".config/tidelock"),
    };
    Some(folder.join("upstreams.toml"))
}

/// Root's, and the service's.
pub(crate) const SYSTEM_FILE: &str = "/etc/tidelock/upstreams.toml";
