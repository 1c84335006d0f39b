//! `[app.NAME.stop]`.

use std::time::Duration;

use rustix::process::Signal;

use crate::file::declare::declare;
use crate::file::kinds::{Flag, Time, Word};

declare! {
    /// How an instance is stopped, after its sessions have left it.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Stop in STOP = "stop", One: "How a process is stopped, after its sessions have left it.";
    keys {
        /// Sent to it and its descendants first: "SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH" or
        /// "SIGKILL".
        SIGNAL signal: i32 = Signal::TERM.as_raw(), Word<i32>(&[
            ("SIGTERM", Signal::TERM.as_raw()),
            ("SIGINT", Signal::INT.as_raw()),
            ("SIGQUIT", Signal::QUIT.as_raw()),
            ("SIGHUP", Signal::HUP.as_raw()),
            ("SIGUSR1", Signal::USR1.as_raw()),
            ("SIGUSR2", Signal::USR2.as_raw()),
            ("SIGWINCH", Signal::WINCH.as_raw()),
            ("SIGKILL", Signal::KILL.as_raw()),
        ]);
        /// SIGKILL comes so long after the signal.
        TIMEOUT timeout: Duration = Duration::from_secs(30),
            Time { least: Duration::ZERO, most: Duration::from_hours(1) };
        /// Whether a Node.js app gets the message "shutdown" as well, as PM2 sends it with `shutdown_with_message`.
        TELL tell: bool = false, Flag;
    }
}
