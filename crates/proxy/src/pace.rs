//! How slow a client may be on the whole, and how long a connection is kept: what is bounded here moves on all the time, if
//! only by a byte a second, so that no wait of its own ends it.

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
    pub(crate) keepalive_requests: u16,
    keepalive_age: Option<Duration>,
}

impl Pace {
    pub(crate) fn of(limits: &Limits, timeouts: &Timeouts) -> Self {
        Self {
            body_rate: limits.body_bytes_per_second_min,
            answer_rate: limits.answer_bytes_per_second_min,
            request: timeouts.request,
            keepalive_requests: limits.keepalive_requests,
            keepalive_age: timeouts.keepalive_age,
        }
    }

    /// How long more of a body may be waited for: of a request that began at `begun`, of whose body so many bytes have come
    /// in so much time. `patience` is what one wait may take, and what all of them may take beyond what the rate allows.
    pub(crate) fn of_body(
        &self,
        patience: Duration,
        (bytes, waited): (u64, Duration),
        (begun, now): (Instant, Instant),
    ) -> Duration {
        let whole = self.request.map_or(Duration::MAX, |most| most.saturating_sub(now - begun));
        left(self.body_rate, patience, bytes, waited).min(whole)
    }

    /// How long it may take a client to take what brings an answer to so many bytes, for which it has been waited so long.
    pub(crate) fn of_answer(&self, patience: Duration, bytes: u64, waited: Duration) -> Duration {
        left(self.answer_rate, patience, bytes, waited)
    }
}

/// At `rate` so many bytes take some time, and `patience` more is given. Of that `waited` is over.
fn left(rate: u32, patience: Duration, bytes: u64, waited: Duration) -> Duration {
    let Some(millis) = bytes.saturating_mul(1000).checked_div(rate.into()) else { return Duration::MAX };
    Duration::from_millis(millis).saturating_add(patience).saturating_sub(waited)
}

/// How old a client's connection is: in time and in requests. A parked connection keeps the small fields of it alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age {
    /// In seconds since the worker's start.
    pub(crate) born_s: u32,
    pub(crate) requests: u16,
    /// From then on each request is the last.
    until: Option<Instant>,
}

impl Age {
    /// Of one that comes `now` to a worker that has been there since `start`.
    pub(crate) fn new(pace: &Pace, start: Instant, now: Instant) -> Self {
        Self::of_parked((seconds(now.saturating_duration_since(start)), 0), pace, start)
    }

    /// Of one that was parked.
    pub(crate) fn of_parked((born_s, requests): (u32, u16), pace: &Pace, start: Instant) -> Self {
        let born = start + Duration::from_secs(born_s.into());
        Self { born_s, requests, until: pace.keepalive_age.and_then(|most| born.checked_add(most)) }
    }

    /// Another request has come. Whether it is to be the last.
    pub(crate) fn is_last(&mut self, keepalive_requests: u16, now: Instant) -> bool {
        self.requests = self.requests.saturating_add(1);
        (keepalive_requests > 0 && self.requests >= keepalive_requests)
            || self.until.is_some_and(|until| now >= until)
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

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
            (u32::MAX, u64::MAX, 0, Duration::from_millis(u64::MAX / u64::from(u32::MAX)) + PATIENCE),
        ] {
            let left = left(rate, PATIENCE, bytes, seconds(waited));
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
            keepalive_age: None,
        };
        let begun = Instant::now();
        for (after, want) in [(0, 60), (40, 60), (90, 10), (100, 0), (1000, 0)] {
            let now = begun + Duration::from_secs(after);
            let left = pace.of_body(PATIENCE, (1 << 30, Duration::ZERO), (begun, now));
            assert_eq!(left.min(PATIENCE), Duration::from_secs(want), "after {after} s");
        }
    }
}
