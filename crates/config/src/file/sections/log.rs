//! `[log]`.

use crate::file::declare::declare;
use crate::file::kinds::Word;
use crate::file::kinds::paths::LogPlace;
use crate::plan::values::{AccessLog, LogFormat};

declare! {
    /// The access log.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Log in LOG = "log", One: "The access log.";
    keys {
        /// Where the lines go: "stdout", "off", or the path of a file, which is opened again on SIGUSR1. Relative to the
        /// folder of this file.
        ACCESS access: AccessLog = AccessLog::Stdout, LogPlace;
        /// How a line looks: a JSON object, "json", or nginx's "combined".
        FORMAT format: LogFormat = LogFormat::Json,
            Word<LogFormat>(&[("json", LogFormat::Json), ("combined", LogFormat::Combined)]);
    }
}
