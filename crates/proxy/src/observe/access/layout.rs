//! How lines look, as the file says it, ready to be printed by.

use config::plan::{self, LineEscape, LineFormat, LinePiece, LogFormat};

/// Whether a line is an object or a text.
#[derive(Debug)]
pub(super) enum Layout {
    Json,
    Text { pieces: Vec<LinePiece>, escape: LineEscape },
}

impl Layout {
    pub(super) fn of(log: &plan::Log) -> Self {
        match &log.format {
            LogFormat::Json => Self::Json,
            LogFormat::Combined => Self::text(&LineFormat::combined(), LineEscape::Default),
            LogFormat::Text(format) => Self::text(format, log.escape),
        }
    }

    fn text(format: &LineFormat, escape: LineEscape) -> Self {
        Self::Text { pieces: format.pieces().to_vec(), escape }
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::Json
    }
}
