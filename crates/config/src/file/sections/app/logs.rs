//! `[app.NAME.logs]`.

use std::path::PathBuf;

use crate::app::values::LogFormat;
use crate::file::declare::declare;
use crate::file::fields::Fields;
use crate::file::kinds::paths::FolderOrOff;
use crate::file::kinds::{Count, Flag, Size, Word};

declare! {
    /// What becomes of an app's output.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Logs in LOGS = "logs", One: "What becomes of its output.";
    given LogsParts {}
    handed {
        /// The folder of its files, or "off" to keep lines in memory only. They are written with the rights of `user` if others
        /// than root may write to a folder on the way, and links are never followed. Relative to the folder of this file.
        FOLDER folder: Option<PathBuf> => "`logs` in the folder of this file", FolderOrOff;
    }
    keys {
        /// A file is followed by another one at this size.
        FILE_BYTES_MAX file_bytes_max: u64 = 10 << 20, Size { least: 64 << 10, most: 1 << 40 };
        /// So many files are kept for each process, the current one included.
        FILES_MAX files_max: u32 = 5, Count { least: 1, most: 1000 };
        /// So many lines are kept in memory for each process.
        RING_LINES_MAX ring_lines_max: usize = 1000, Count { least: 0, most: 100_000 };
        /// How a line looks: "text", as the app wrote it, or "json", an object with time, app, instance, stream and line.
        FORMAT format: LogFormat = LogFormat::Text,
            Word<LogFormat>(&[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        /// Whether lines in files begin with the time.
        TIME time: bool = true, Flag;
    }
    also { FOLDER }
}

impl Logs {
    /// Reads the table.
    pub(crate) fn of(fields: &Fields<'_>) -> Self {
        let folder =
            fields.optional(&FOLDER).unwrap_or_else(|| Some(fields.reading.absolute(BESIDE_THE_FILE)));
        Self::read(fields, LogsParts { folder })
    }
}

const BESIDE_THE_FILE: &str = "logs";
