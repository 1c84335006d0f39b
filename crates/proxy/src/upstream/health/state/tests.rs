use fastrand::Rng;

use super::*;

const ALL: Spare = Spare { one: true, outlier: true };

fn note(health: &mut HealthState, observed: Observed, now: Instant) -> Change {
    health.note(observed, &Rules::default(), || ALL, now)
}

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Each row: seconds since the start, what is seen, what follows.
fn check(rules: Rules, rows: &[(f64, Observed, Change)]) -> HealthState {
    let start = Instant::now();
    let mut health = HealthState::new(start);
    for (at, observed, want) in rows {
        let change = health.note(*observed, &rules, || ALL, start + s(*at));
        assert_eq!(change, *want, "{observed:?} at {at} s");
    }
    health
}

use Change::{Fell, Nothing, Rose, Suspected};
use Observed::{Answered, AnsweredBadly, Failed, Missed, Outlier, Reached, Refused, Settled};

#[test]
fn failures_in_a_row_take_a_node_out_and_an_answer_brings_it_back() {
    let health = check(
        Rules::default(),
        &[
            (0.0, Failed("x"), Suspected),
            (0.1, Failed("x"), Suspected),
            (0.2, Answered, Nothing),
            (0.3, Failed("x"), Suspected),
            (0.4, Failed("x"), Suspected),
            (0.5, Reached, Nothing),
            (0.6, Failed("x"), Fell),
            (0.7, Failed("x"), Nothing),
            (0.8, Reached, Nothing),
            (1.61, Reached, Rose),
        ],
    );
    assert!(health.is_up());
}

#[test]
fn a_request_and_a_probe_without_an_answer_are_enough() {
    check(
        Rules::default(),
        &[
            (0.0, Missed("y"), Nothing),
            (0.1, Failed("x"), Suspected),
            (0.2, Missed("y"), Fell),
            (9.0, Missed("y"), Nothing),
            (9.1, Refused, Nothing),
            (9.2, Answered, Rose),
        ],
    );
}

#[test]
fn a_suspicion_lasts_until_it_is_settled() {
    let is_suspected = |rules: Rules, seen: &[Observed]| {
        let rows: Vec<_> = seen.iter().map(|seen| (0.0, *seen)).collect();
        let start = Instant::now();
        let mut health = HealthState::new(start);
        for (at, observed) in rows {
            health.note(observed, &rules, || Spare { one: false, outlier: false }, start + s(at));
        }
        health.is_suspected
    };
    let passive = Rules::default();
    let probing = Rules { is_probed: true, ..passive };
    for (seen, want) in [
        (&[Failed("x")][..], [true, true]),
        (&[Failed("x"), Answered], [false; 2]),
        (&[Failed("x"), Reached], [false; 2]),
        (&[Failed("x"), Settled], [false; 2]),
        // Nobody probes it again where no probes are asked for, so that nothing would end the suspicion.
        (&[Missed("y")], [false, true]),
        (&[Failed("x"), Missed("y")], [false, true]),
        (&[Missed("y"), Reached], [false; 2]),
        (&[Failed("x"), Refused], [false; 2]),
        (&[AnsweredBadly], [false; 2]),
    ] {
        assert_eq!([is_suspected(passive, seen), is_suspected(probing, seen)], want, "{seen:?}");
    }
}

#[test]
fn a_refusal_is_enough_at_any_time() {
    check(
        Rules::default(),
        &[(0.0, Refused, Fell), (0.9, Answered, Nothing), (1.0, Answered, Rose), (1.1, Refused, Fell)],
    );
}

#[test]
fn probes_need_as_many_as_they_are_told() {
    let rules = Rules { interval: s(1.0), rise: 2, fall: 3, ..Rules::default() };
    check(
        rules,
        &[
            (0.0, Missed("y"), Nothing),
            (1.0, Missed("y"), Nothing),
            (2.0, Reached, Nothing),
            (3.0, Missed("y"), Nothing),
            (4.0, Missed("y"), Nothing),
            (5.0, Missed("y"), Fell),
            // It still answers requests; the probe knows better.
            (5.5, Answered, Nothing),
            (8.0, Reached, Nothing),
            (8.5, Missed("y"), Nothing),
            (9.0, Reached, Nothing),
            (9.5, Reached, Rose),
        ],
    );
}

#[test]
fn what_a_node_answers_takes_it_out_for_longer_each_time() {
    let rules = Rules { errors: 2, ..Rules::default() };
    check(
        rules,
        &[
            (0.0, AnsweredBadly, Nothing),
            (0.1, Answered, Nothing),
            (0.2, AnsweredBadly, Nothing),
            (0.3, AnsweredBadly, Fell),
            (5.0, Answered, Nothing),
            (10.2, Reached, Nothing),
            (10.4, Reached, Rose),
            (12.0, Outlier("z"), Fell),
            (31.9, Reached, Nothing),
            (32.1, Reached, Rose),
            (34.0, Outlier("z"), Fell),
            (73.9, Reached, Nothing),
            (74.1, Reached, Rose),
            // After it was well for as long as it can be out, all is forgotten.
            (375.0, Outlier("z"), Fell),
            (384.9, Reached, Nothing),
            (385.1, Reached, Rose),
        ],
    );
    let off = check(Rules::default(), &[(0.0, AnsweredBadly, Nothing); 50]);
    assert!(off.is_up(), "errors are not counted unless somebody says so");
}

#[test]
fn what_the_pool_cannot_spare_stays() {
    let none = Spare { one: false, outlier: false };
    let few = Spare { one: true, outlier: false };
    for (observed, spare, falls) in [
        (Failed("x"), none, false),
        (Failed("x"), few, true),
        (Outlier("z"), few, false),
        (Outlier("z"), ALL, true),
        (Refused, none, true),
        (Missed("y"), none, true),
    ] {
        let mut health = HealthState::new(Instant::now());
        for _ in 0..3 {
            health.note(observed, &Rules::default(), || spare, Instant::now());
        }
        assert_eq!(!health.is_up(), falls, "{observed:?} {spare:?}");
    }
}

#[test]
fn a_slow_start_rises_to_the_whole() {
    let start = Instant::now();
    let rules = Rules::default();
    let mut health = check(rules, &[(0.0, Refused, Fell), (2.0, Reached, Rose)]);
    // The node came back two seconds after some start a moment ago.
    let back = health.since;
    let mut last = 0;
    for tenth in 0..100 {
        let share = health.share(&rules, back + s(f64::from(tenth) / 10.0));
        assert!((last.max(SHARE_LEAST)..SHARE_FULL).contains(&share), "{tenth}: {share}");
        last = share;
    }
    assert_eq!(health.share(&rules, back + s(10.0)), SHARE_FULL);
    assert_eq!(
        HealthState::new(start).share(&rules, start),
        SHARE_FULL,
        "at the start of all there is nobody else"
    );
}

#[test]
fn draining_and_health_do_not_touch_each_other() {
    let health = check(
        Rules::default(),
        &[
            (0.0, Observed::ToldToDrain, Change::BeganToLeave),
            (0.1, Observed::ToldToDrain, Nothing),
            (0.2, Refused, Fell),
            (1.3, Reached, Rose),
        ],
    );
    assert!(health.is_draining && health.is_up());
}

#[test]
fn what_is_said_of_a_process_touches_nothing_else() {
    let mut health = check(
        Rules::default(),
        &[
            (0.0, Observed::Published { is_current: false }, Nothing),
            (0.1, Observed::ToldToDrain, Change::BeganToLeave),
            (0.2, Answered, Nothing),
        ],
    );
    assert!(health.is_outdated && health.is_draining && health.is_up() && !health.is_gone);
    let now = Instant::now() + s(60.0);
    note(&mut health, Observed::Published { is_current: true }, now);
    assert!(!health.is_outdated && health.is_draining);
    assert_eq!(note(&mut health, Observed::Gone, now), Nothing, "nobody has to probe it");
    assert_eq!(note(&mut health, Reached, now + s(60.0)), Nothing);
    assert!(health.is_gone && !health.is_up());
}

/// Whatever is seen in whatever order: without a refusal, two changes are two intervals apart.
#[test]
fn a_flapping_node_changes_no_more_often_than_it_may() {
    for seed in 0..300 {
        let mut dice = Rng::with_seed(seed);
        let interval = s(0.1 + dice.f64() * 3.0);
        let rules = Rules {
            interval,
            rise: dice.u32(1..4),
            fall: dice.u32(1..4),
            failures: dice.u32(1..4),
            errors: dice.u32(0..3),
            ejection: s(dice.f64() * 5.0),
            ejection_max: s(dice.f64() * 60.0),
            ..Rules::default()
        };
        let mut now = Instant::now();
        let mut health = HealthState::new(now);
        let mut changed: Option<Instant> = None;
        let mut was_refused = false;
        let mut changes = 0;
        for _ in 0..2_000 {
            now += interval.mul_f64(dice.f64().powi(3) * 2.0);
            let observed = match dice.u32(0..100) {
                0..30 => Answered,
                30..40 => AnsweredBadly,
                40..60 => Reached,
                60..75 => Missed("y"),
                75..95 => Failed("x"),
                95..97 => Outlier("z"),
                97 => Observed::ToldToDrain,
                98 => Observed::ToldToStay,
                _ => Refused,
            };
            let spare = Spare { one: dice.bool(), outlier: dice.bool() };
            let was_up = health.is_up();
            let change = health.note(observed, &rules, || spare, now);
            assert_eq!(was_up != health.is_up(), matches!(change, Fell | Rose), "seed {seed}: {change:?}");
            if was_up == health.is_up() {
                continue;
            }
            changes += 1;
            let apart = changed.map(|before| now.duration_since(before));
            let least = match (observed, health.is_up()) {
                (Refused, false) => Duration::ZERO,
                // The return of one that was refused: a second, or two of its own intervals.
                (_, true) if was_refused => s(1.0).min(interval * 2),
                _ => interval * 2,
            };
            assert!(apart.is_none_or(|apart| apart >= least), "seed {seed}: {apart:?} after the last change");
            changed = Some(now);
            was_refused = observed == Refused;
        }
        assert!(changes > 20, "seed {seed}: the dice have shown nothing, {changes}");
    }
}

#[test]
fn nothing_held_against_it_is_clear() {
    let start = Instant::now();
    let mut health = HealthState::new(start);
    assert!(health.is_clear());
    note(&mut health, Failed("x"), start);
    assert!(!health.is_clear());
    note(&mut health, Answered, start);
    assert!(health.is_clear());
}
