//! `[admin]`.

use std::net::SocketAddr;

use crate::file::declare::declare;
use crate::file::fields::Fields;
use crate::file::kinds::Flag;
use crate::file::kinds::hosts::ListenAddress;
use crate::file::kinds::paths::SocketPlace;
use crate::file::kinds::secrets::SecretTexts;
use crate::plan::values::{AdminSocket, Secrets};
use crate::problem::Problem;

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
        /// Address and port of GET /metrics, for Prometheus and whoever else reads its formats. One that is not of this machine alone
        /// needs a `token`. The Unix socket answers it, too.
        LISTEN listen: Option<SocketAddr> => "nowhere, and no metrics are counted", ListenAddress, restart;
        /// What a client at `listen` has to send, as `Authorization: Bearer TOKEN`: a string of 16 bytes or more, or a list of them, any
        /// of which will do. "file:PATH" is read from a file, relative to the folder of this one, at each reload anew.
        TOKEN token: Secrets => "nobody is asked for one", SecretTexts { bytes_min: 16, count_max: 8 };
    }
}

/// What others can reach asks them who they are.
pub(crate) fn demand_token(fields: &Fields<'_>) {
    let listen = fields.given(LISTEN.name).and_then(|given| given.read_quietly(&LISTEN.kind));
    let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback()) else { return };
    if fields.has(TOKEN.name) {
        return;
    }
    let message = format!("whoever reaches {listen} could read all that is counted");
    let hint = format!("add `{} = \"file:…\"`, or listen on 127.0.0.1", TOKEN.name);
    fields.push(Problem::error(fields.span_of(LISTEN.name), message).hint(hint));
}
