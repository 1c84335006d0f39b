//! `[admin]`.

use crate::file::declare::declare;
use crate::file::kinds::Flag;
use crate::file::kinds::paths::SocketPlace;
use crate::plan::values::AdminSocket;

declare! {
    /// How the running tidelock is talked to, and whether it follows its file.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Admin in ADMIN = "admin", One:
        "How the running tidelock is talked to, and whether it follows this file.";
    keys {
        /// Where the verbs of the command line reach it: the path of a Unix socket, or "off" for none. Relative to the folder of
        /// this file.
        SOCKET socket: AdminSocket =>
            "`admin.sock` in $RUNTIME_DIRECTORY, in `tidelock` under $XDG_RUNTIME_DIR or /run, or in the state folder",
            SocketPlace, restart;
        /// Whether this file is watched, and applied when it changes.
        WATCH watch: bool = false, Flag;
    }
}
