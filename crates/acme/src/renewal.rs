//! When a certificate is to be got: pure decisions over what is held and what is remembered. All times are in seconds since
//! 1970.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::state::{Held, Record};

/// The moment at which somebody asks when the next attempt is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) now: i64,
    /// Whether an attempt has just been asked for, by a start or a reload.
    pub(crate) is_nudged: bool,
}

/// Says when the next attempt is, in seconds since 1970: now, if it is due.
pub(crate) fn next_attempt(
    host: &str,
    held: Option<&Held>,
    record: &Record,
    Asked { now, is_nudged }: Asked,
) -> i64 {
    let wanted = held.map_or(now, |held| renewal(host, held, record)).max(now);
    // An authority whose certificates end at once is not asked all the time.
    let wanted = if held.is_some() { wanted.max(record.last_attempt + OBTAINED_AGAIN_S) } else { wanted };
    if record.failures == 0 {
        return wanted;
    }
    // Whoever has put something right wants to see it, and who starts over and over must not be a burden to the authority.
    let is_too_often = record.failures >= AT_ONCE_MAX && now - record.last_attempt < NUDGED_AFTER_S;
    let is_patient = record.is_told_to_wait || is_too_often;
    if is_nudged && !is_patient { wanted } else { wanted.max(record.next_attempt) }
}

/// When a certificate is to be renewed: when its authority has said, or else with a third of its life left, not at the same
/// moment for all.
fn renewal(host: &str, held: &Held, record: &Record) -> i64 {
    if let Some(said) = record.renew_at.filter(|_| record.renews_not_after == held.not_after) {
        // Whatever it says, not after the end.
        return said.min(held.not_after - DAY_S.min(life(held) / 6));
    }
    let mut hasher = DefaultHasher::new();
    host.hash(&mut hasher);
    let earlier = life(held) / 50 * i64::from((hasher.finish() % 100) as u8) / 100;
    held.not_after - life(held) / 3 - earlier
}

fn life(held: &Held) -> i64 {
    (held.not_after - held.not_before).max(0)
}

/// Remembers that an attempt at `now` has failed. `told` is until when the authority wants to be left alone, if it said so.
pub(crate) fn failed(record: &mut Record, error: String, now: i64, told: Option<i64>) {
    let pause = BACK_OFF_S.get(record.failures as usize).or(BACK_OFF_S.last()).copied().unwrap_or(0);
    // A fifth more or less, so that many do not come at once.
    let pause = pause * 4 / 5 + fastrand::i64(0..=pause * 2 / 5);
    record.failures = record.failures.saturating_add(1);
    record.last_attempt = now;
    record.last_error = Some(error);
    record.is_told_to_wait = told.is_some();
    record.next_attempt = (now + pause).max(told.map_or(0, |told| told.min(now + TOLD_MAX_S)));
}

/// A moment in the window that the authority has said.
pub(crate) fn within(start: i64, end: i64) -> i64 {
    fastrand::i64(start..=end.max(start))
}

/// Authorities allow five failures an hour for each name (Let's Encrypt, "Failed Validation Limit"): the first five take
/// longer than that.
const BACK_OFF_S: [i64; 8] = [60, 300, 900, 1800, 3600, 2 * 3600, 4 * 3600, 6 * 3600];
/// Whoever asks so often is served at once, and then once in so long.
const AT_ONCE_MAX: u32 = 5;
const NUDGED_AFTER_S: i64 = 60;
const OBTAINED_AGAIN_S: i64 = 3600;
const DAY_S: i64 = 86_400;
/// An authority that says a year has made a mistake.
const TOLD_MAX_S: i64 = 7 * DAY_S;

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;

    use super::*;

    fn held(days: i64) -> Held {
        Held { leaf: CertificateDer::from(Vec::new()), not_before: 0, not_after: days * DAY_S }
    }

    #[test]
    fn what_is_missing_is_wanted_now_and_what_is_there_with_a_third_left() {
        let none = Record::default();
        assert_eq!(next_attempt("a", None, &none, Asked { now: 7, is_nudged: false }), 7);
        for (days, from, to) in [(90, 58, 60), (6, 3, 4), (47, 30, 32)] {
            let at = next_attempt("a", Some(&held(days)), &none, Asked { now: 0, is_nudged: false });
            assert!((from * DAY_S..=to * DAY_S).contains(&at), "{days} days: after {}", at / DAY_S);
        }
        assert_eq!(
            next_attempt("a", Some(&held(90)), &none, Asked { now: 100 * DAY_S, is_nudged: false }),
            100 * DAY_S,
            "too late is now"
        );
    }

    #[test]
    fn what_ends_at_once_is_not_asked_for_all_the_time() {
        let record = Record { last_attempt: 40 * DAY_S, ..Record::default() };
        assert_eq!(
            next_attempt("a", Some(&held(30)), &record, Asked { now: 40 * DAY_S + 9, is_nudged: true }),
            40 * DAY_S + 3600
        );
    }

    #[test]
    fn the_authority_says_when_for_the_certificate_that_it_meant() {
        let said = Record { renew_at: Some(20 * DAY_S), renews_not_after: 90 * DAY_S, ..Record::default() };
        assert_eq!(next_attempt("a", Some(&held(90)), &said, Asked { now: 0, is_nudged: false }), 20 * DAY_S);
        assert!(
            next_attempt("a", Some(&held(80)), &said, Asked { now: 0, is_nudged: false }) > 50 * DAY_S,
            "it meant another one"
        );
        let late = Record { renew_at: Some(1000 * DAY_S), ..said };
        assert_eq!(
            next_attempt("a", Some(&held(90)), &late, Asked { now: 0, is_nudged: false }),
            89 * DAY_S,
            "not after its end"
        );
    }

    #[test]
    fn attempts_that_fail_come_ever_more_seldom() {
        let mut record = Record::default();
        let (mut now, mut pauses) = (1_000_000, Vec::new());
        for _ in 0..12 {
            failed(&mut record, "no".to_owned(), now, None);
            let next = next_attempt("a", None, &record, Asked { now, is_nudged: false });
            pauses.push(next - now);
            now = next;
        }
        assert!(pauses[..5].iter().sum::<i64>() > 3600, "five in more than an hour: {pauses:?}");
        assert!(
            pauses
                .iter()
                .zip(BACK_OFF_S)
                .all(|(pause, whole)| { (whole * 4 / 5..=whole * 6 / 5).contains(pause) }),
            "{pauses:?}"
        );
        assert!(pauses[11] <= 6 * 3600 * 6 / 5, "not for ever: {pauses:?}");
    }

    #[test]
    fn who_asks_for_it_is_served_unless_the_authority_forbids() {
        let mut record = Record::default();
        failed(&mut record, "no".to_owned(), 1000, None);
        assert_eq!(next_attempt("a", None, &record, Asked { now: 1001, is_nudged: true }), 1001);
        assert!(
            next_attempt("a", None, &record, Asked { now: 1001, is_nudged: false }) > 1040,
            "nobody asks"
        );
        (0..4).for_each(|_| failed(&mut record, "no".to_owned(), 1000, None));
        assert!(
            next_attempt("a", None, &record, Asked { now: 1030, is_nudged: true }) > 1200,
            "not for ever twice in a minute"
        );
        assert_eq!(next_attempt("a", None, &record, Asked { now: 1061, is_nudged: true }), 1061);
        let mut record = Record::default();
        failed(&mut record, "no".to_owned(), 2000, Some(9000));
        assert_eq!(next_attempt("a", None, &record, Asked { now: 3000, is_nudged: true }), 9000);
        failed(&mut record, "no".to_owned(), 9000, Some(i64::MAX));
        assert!(next_attempt("a", None, &record, Asked { now: 9000, is_nudged: true }) <= 9000 + TOLD_MAX_S);
    }
}
