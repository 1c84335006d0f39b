//! How slow a client may be on the whole, and how long a connection is kept: what is bounded here moves on all the time, if
//! only by a byte a second, so that no wait of its own ends it.

use std::cell::Cell;
use std::time::Duration;

use config::limits::Limits;
use config::plan::Timeouts;
use tokio::time::Instant;

/// What the plan in force says of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Bytes of a body that come in a second, at least; 0 is no bound.
    body_rate: u32,
    /// Bytes of an answer that are taken in a second, at least; 0 is no bound.
    answer_rate: u32,
    request: Option<Duration>,
    keepalive_requests: u16,
    /// In whole seconds.
    keepalive_age_s: Option<u32>,
}

/// What has come of a request's body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodySoFar {
    pub(crate) bytes: u64,
    /// So long its client has been waited for.
    pub(crate) waited: Duration,
    /// So long ago its request began.
    pub(crate) age: Duration,
}

impl Pace {
    pub(crate) fn of(limits: &Limits, timeouts: &Timeouts) -> Self {
        Self {
            body_rate: limits.body_bytes_per_second_min,
            answer_rate: limits.answer_bytes_per_second_min,
            request: timeouts.request,
            keepalive_requests: limits.keepalive_requests,
            keepalive_age_s: timeouts.keepalive_age.map(seconds),
        }
    }

    /// How long more of a body may be waited for, of which so much has come. `timeout` is what one wait may take,
    /// and what all of them may take beyond what the rate allows.
    pub(crate) fn of_body(&self, timeout: Duration, so_far: BodySoFar) -> Duration {
        let BodySoFar { bytes, waited, age } = so_far;
        let whole = self.request.map_or(Duration::MAX, |most| most.saturating_sub(age));
        left(self.body_rate, timeout, bytes, waited).min(whole)
    }

    /// How long it may take a client to take what brings an answer to so many bytes, for which it has been waited
    /// so long.
    pub(crate) fn of_answer(&self, timeout: Duration, bytes: u64, waited: Duration) -> Duration {
        left(self.answer_rate, timeout, bytes, waited)
    }
}

/// At `rate` so many bytes take some time, and `timeout` more is given. Of that `waited` is over.
fn left(rate: u32, timeout: Duration, bytes: u64, waited: Duration) -> Duration {
    let Some(millis) = bytes.saturating_mul(1000).checked_div(rate.into()) else { return Duration::MAX };
    Duration::from_millis(millis).saturating_add(timeout).saturating_sub(waited)
}

/// How old a client's connection is: in time and in requests. Small, for one that rests keeps it, field by field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age {
    /// In seconds since the worker's start.
    pub(crate) born_s: u32,
    pub(crate) requests: u16,
}

impl Age {
    /// Of one that has just come; the worker has lived for so many seconds.
    pub(crate) fn new(lived_s: u32) -> Self {
        Self { born_s: lived_s, requests: 0 }
    }

    /// Another request has come. Whether it is to be the last.
    pub(crate) fn is_last(&mut self, pace: &Pace, lived_s: u32) -> bool {
        self.requests = self.requests.saturating_add(1);
        (pace.keepalive_requests > 0 && self.requests >= pace.keepalive_requests)
            || pace.keepalive_age_s.is_some_and(|most| lived_s.saturating_sub(self.born_s) >= most)
    }
}

/// The seconds that a worker has lived, reckoned once in each of them: to subtract times takes longer than all else that a
/// request asks of them.
#[derive(Debug)]
pub(crate) struct Lived {
    born: Instant,
    /// When the next second begins, and how many are over.
    next: Cell<(Instant, u32)>,
}

impl Lived {
    pub(crate) fn since(born: Instant) -> Self {
        Self { born, next: Cell::new((born, 0)) }
    }

    pub(crate) fn seconds(&self, now: Instant) -> u32 {
        let (next, lived_s) = self.next.get();
        if now < next {
            return lived_s;
        }
        let lived_s = seconds(now.saturating_duration_since(self.born));
        self.next.set((self.born + Duration::from_secs(u64::from(lived_s) + 1), lived_s));
        lived_s
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    #[test]
    fn slow_is_what_is_slow_on_the_whole() {
        let seconds = Duration::from_secs;
        for (rate, bytes, waited, want) in [
            (0, 0, 1_000_000, Duration::MAX),
            (240, 0, 0, seconds(60)),
            (240, 0, 59, seconds(1)),
            (240, 0, 60, Duration::ZERO),
            // A phone that has sent a megabyte may stop for a while.
            (240, 1 << 20, 60, Duration::from_millis(4_369_066)),
            // slowhttptest: 30 bytes every 10 s.
            (240, 180, 60, Duration::from_millis(750)),
            (240, 210, 70, Duration::ZERO),
            (u32::MAX, u64::MAX, 0, Duration::from_millis(u64::MAX / u64::from(u32::MAX)) + TIMEOUT),
        ] {
            let left = left(rate, TIMEOUT, bytes, seconds(waited));
            assert_eq!(left, want, "{bytes} bytes in {waited} s, {rate} a second");
        }
    }

    #[test]
    fn a_request_ends_however_fast_it_is() {
        let pace = Pace {
            body_rate: 1,
            answer_rate: 0,
            request: Some(Duration::from_secs(100)),
            keepalive_requests: 0,
            keepalive_age_s: None,
        };
        for (after, want) in [(0, 60), (40, 60), (90, 10), (100, 0), (1000, 0)] {
            let age = Duration::from_secs(after);
            let left = pace.of_body(TIMEOUT, BodySoFar { bytes: 1 << 30, waited: Duration::ZERO, age });
            assert_eq!(left.min(TIMEOUT), Duration::from_secs(want), "after {after} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn seconds_are_counted_once_each() {
        let born = Instant::now();
        let lived = Lived::since(born);
        for (after_ms, want) in
            [(0, 0), (999, 0), (1000, 1), (1001, 1), (1999, 1), (7500, 7), (7999, 7), (8000, 8)]
        {
            assert_eq!(lived.seconds(born + Duration::from_millis(after_ms)), want, "after {after_ms} ms");
        }
    }
}
