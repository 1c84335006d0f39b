//! Which of the running tidelocks a verb is for.

use std::path::PathBuf;

use clap::Args;

/// Which of the running tidelocks is meant.
#[derive(Debug, Args)]
pub(super) struct At {
    /// Where the running tidelock listens for verbs, if its file says another `admin.socket` than the default:
    /// tidelock/admin.sock under $XDG_RUNTIME_DIR, or /run/tidelock/admin.sock.
    #[arg(long, value_name = "PATH")]
    pub(super) socket: Option<PathBuf>,
}

impl At {
    pub(super) fn paths(self) -> Vec<PathBuf> {
        self.socket.map_or_else(admin::places::paths_to_ask, |path| vec![path])
    }
}
