//! What time it is in a line: asked for and printed once a second, not once a line.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;

/// When a line is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment<'a> {
    pub(super) now: Instant,
    /// `2026-11-21T14:03:07Z`.
    pub(super) iso: &'a str,
    /// `21/Nov/2026:14:03:07 +0000`.
    pub(super) common: &'a str,
}

#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// When another second begins.
    until: Option<Instant>,
    iso: String,
    common: String,
}

impl Calendar {
    pub(super) fn at(&mut self, now: Instant) -> Moment<'_> {
        if self.until.is_none_or(|until| now >= until) {
            let time = SystemTime::now();
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let left = Duration::from_secs(1) - Duration::from_nanos(since.subsec_nanos().into());
            self.until = Some(now + left);
            (self.iso, self.common) = print(time.into()).unwrap_or_default();
        }
        Moment { now, iso: &self.iso, common: &self.common }
    }
}

fn print(time: OffsetDateTime) -> Result<(String, String), time::error::Format> {
    let iso = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    let common = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    Ok((time.format(iso)?, time.format(common)?))
}
