//! How lines look, as the file says it, ready to be printed by.

use config::plan::{self, LineEscape, LineFormat, LinePiece, LogFields, LogFormat};
use config::routing::{LogSample, LogShare};

use crate::observe::access::calendar::Moment;
use crate::observe::access::cut::Cut;
use crate::observe::access::told::Told;
use crate::observe::access::{object, text};
use crate::observe::record::is_drawn;

#[derive(Debug)]
pub(super) struct Layout {
    pub(super) form: Form,
    pub(super) cut: Cut,
    /// How many lines there are of each status, if not all.
    sample: Option<Box<[LogShare]>>,
}

/// Whether a line is an object or a text.
#[derive(Debug)]
pub(super) enum Form {
    Json(LogFields),
    Text { pieces: Vec<LinePiece>, escape: LineEscape },
}

impl Layout {
    pub(super) fn of(log: &plan::Log) -> Self {
        let form = match &log.format {
            LogFormat::Json => Form::Json(log.fields.unwrap_or_default()),
            LogFormat::Combined => Form::text(&LineFormat::combined(), LineEscape::Default),
            LogFormat::Text(format) => Form::text(format, log.escape),
        };
        let shares = |sample: &LogSample| (0..STATUSES).map(|status| sample.of(status)).collect();
        Self { form, cut: Cut::of(log.cut.as_deref()), sample: log.sample.as_ref().map(shares) }
    }
}

impl Layout {
    /// Prints the line of an exchange. Inlined, for there is one place where lines are made.
    #[inline(always)]
    pub(super) fn print(&self, told: &Told<'_>, moment: Moment<'_>, out: &mut Vec<u8>) {
        if let Some(shares) = &self.sample
            && let Some(share) = shares.get(usize::from(told.record.status))
            && !is_drawn(*share)
        {
            return;
        }
        match &self.form {
            Form::Json(fields) => object::exchange(*fields, told, moment, out),
            Form::Text { pieces, escape } => text::print(pieces, *escape, told, moment, out),
        }
    }
}

impl Form {
    fn text(format: &LineFormat, escape: LineEscape) -> Self {
        Self::Text { pieces: format.pieces().to_vec(), escape }
    }
}

/// Those of answers, and 0 where there is none.
const STATUSES: u16 = 600;
