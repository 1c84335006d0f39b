//! A roll at a time of the day, week or month, in local time, as crontab(5) says it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Local, TimeZone};
use config::app::App;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use tokio::time::sleep;

use crate::run_instance::{EventSender, What};

/// Says each time that it is time, for ever. If the app's `cron` cannot be read, it is said once in the log.
pub(super) async fn wait(app: Arc<App>, events: EventSender) {
    let Some(written) = &app.cron else { return };
    let cron = match read(written) {
        Ok(cron) => cron,
        Err(why) => {
            tracing::error!(
                "{}: cron = {written:?} is not understood, and nothing is rolled by it: {why}",
                app.name
            );
            return;
        }
    };
    let mut last = Local::now();
    while let Some(next) = next(&cron, &last) {
        until(&next).await;
        events.send(What::Due { why: format!("cron = {written:?} says so"), is_urgent: false }).await;
        last = next.max(Local::now());
    }
    tracing::warn!("{}: cron = {written:?} is on no day that comes, and nothing is rolled by it", app.name);
}

/// Five fields: minute, hour, day of the month, month, day of the week.
fn read(written: &str) -> Result<Cron, String> {
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed);
    // Whoever writes `5/10` means from 5 on, as in most crons but Vixie's.
    parser.sloppy_ranges(true).build().parse(written).map_err(|error| error.to_string())
}

/// When an app is rolled next, in words; `None` without `cron`. Times are this machine's.
pub(super) fn next_of(app: &App) -> Option<String> {
    let cron = read(app.cron.as_ref()?).ok()?;
    let now = Local::now();
    Some(in_words(&next(&cron, &now)?, &now))
}

/// Within a day the time alone is enough.
fn in_words<Tz: TimeZone>(next: &DateTime<Tz>, now: &DateTime<Tz>) -> String
where
    Tz::Offset: std::fmt::Display,
{
    let is_soon = next.clone().signed_duration_since(now.clone()) < chrono::Duration::days(1);
    let form = if is_soon { "next at %H:%M" } else { "next on %Y-%m-%d at %H:%M" };
    next.format(form).to_string()
}

/// After `last`; `None` if never again.
fn next<Tz: TimeZone>(cron: &Cron, last: &DateTime<Tz>) -> Option<DateTime<Tz>> {
    cron.find_next_occurrence(last, false).ok()
}

/// In short steps: the clock of the wall may be set meanwhile, and a machine may sleep.
async fn until(next: &DateTime<Local>) {
    while let Ok(left) = next.signed_duration_since(Local::now()).to_std() {
        if left.is_zero() {
            return;
        }
        sleep(left.min(STEP)).await;
    }
}

const STEP: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use chrono::FixedOffset;

    use super::*;

    fn check(written: &str, last: &str, expected: &str) {
        let last: DateTime<FixedOffset> = DateTime::parse_from_rfc3339(last).unwrap();
        let next = read(written).map(|cron| next(&cron, &last).unwrap().to_rfc3339());
        assert_eq!(
            next.unwrap_or_else(|why| format!("error: {why}")).split("error").next().unwrap(),
            expected
        );
    }

    #[test]
    fn five_fields_say_when() {
        check("0 4 * * *", "2026-11-24T12:00:00+01:00", "2026-11-25T04:00:00+01:00");
        check("0 4 * * *", "2026-11-24T04:00:00+01:00", "2026-11-25T04:00:00+01:00");
        check("*/15 * * * *", "2026-11-24T12:44:59+00:00", "2026-11-24T12:45:00+00:00");
        check("30 3 * * 1-5", "2026-11-27T12:00:00+00:00", "2026-11-30T03:30:00+00:00");
        check("5/20 * * * *", "2026-11-24T12:10:00+00:00", "2026-11-24T12:25:00+00:00");
        check("0 0 29 2 *", "2026-11-24T12:00:00+00:00", "2028-02-29T00:00:00+00:00");
    }

    #[test]
    fn the_next_time_is_said() {
        let at = |text: &str| -> DateTime<FixedOffset> { DateTime::parse_from_rfc3339(text).unwrap() };
        let now = at("2026-11-24T12:00:00+01:00");
        assert_eq!(in_words(&at("2026-11-25T04:00:00+01:00"), &now), "next at 04:00");
        assert_eq!(in_words(&at("2026-11-27T04:05:00+01:00"), &now), "next on 2026-11-27 at 04:05");
    }

    #[test]
    fn whatever_the_file_may_say_is_understood() {
        let lists = "0-59/7,3,5-9 0,12 1-31/2 1-12 0-7";
        for written in [lists, "*/59 * * * *", "* * * * 7", "* * 1,15 * 5", "5/10 * * * *", "*/100 * * * *"] {
            assert!(read(written).is_ok(), "{written}: {:?}", read(written).err());
        }
    }

    #[test]
    fn what_is_no_cron_is_refused() {
        for written in ["", "daily", "* * * *", "0 0 4 * * *", "60 * * * *", "0 24 * * *"] {
            assert!(read(written).is_err(), "{written}");
        }
    }
}
