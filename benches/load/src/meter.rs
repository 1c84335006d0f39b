//! What a run counts: only what happens between two moments, so that neither connecting nor waiting for the last answer
//! is in it. One thread, hence cells.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::processes::Processes;

/// Counts one run.
#[derive(Debug)]
pub struct Meter {
    begun: Cell<Option<Instant>>,
    ended: Cell<Option<Instant>>,
    latency: RefCell<Histogram<u64>>,
    done: Cell<u64>,
    failed: Cell<u64>,
    resumed: Cell<u64>,
    received: Cell<u64>,
    first_failure: RefCell<Option<String>>,
}

/// When a run counts, and whose work it looks at.
#[derive(Clone, Debug)]
pub struct Window {
    /// Connections are opened, and caches and pools filled, for so long before it counts.
    pub warm: Duration,
    /// It counts for so long, and longer only until something has ended.
    pub measured: Duration,
    /// Whose CPU time is read at both ends.
    pub watched: Processes,
}

/// What a run found. One line of JSON, so that a program can read it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// What ended well within the window.
    pub done: u64,
    /// What did not end well, and the first reason.
    pub failed: u64,
    /// Why the first one failed.
    pub first_failure: Option<String>,
    /// TLS handshakes within the window that resumed a session.
    pub resumed: u64,
    /// Bytes of the answers to HTTP requests that ended well within the window, with their heads; 0 for other runs.
    pub received: u64,
    /// Length of the window.
    pub seconds: f64,
    /// Time on a CPU within it of the watched processes.
    pub watched_cpu_us: f64,
    /// And of the load itself: close to `seconds`, it and not the proxy is what is measured.
    pub own_cpu_us: f64,
    /// From the moment when a request was due, in microseconds.
    pub latency_us: Latency,
    /// Of what rests, memory of the watched processes for each; 0 for other runs.
    pub bytes_each: f64,
}

/// Quantiles, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    /// Half are faster.
    pub p50: f64,
    /// 1 in 10 is slower.
    pub p90: f64,
    /// 1 in 100 is slower.
    pub p99: f64,
    /// 1 in 1000 is slower.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Default for Meter {
    fn default() -> Self {
        // From 100 ns to a minute, exact to 1 in 1000. Longer ones count as a minute.
        let latency = Histogram::new_with_bounds(100, LATENCY_MAX.as_nanos() as u64, 3);
        Self {
            begun: Cell::default(),
            ended: Cell::default(),
            latency: RefCell::new(latency.expect("the bounds are far enough apart")),
            done: Cell::default(),
            failed: Cell::default(),
            resumed: Cell::default(),
            received: Cell::default(),
            first_failure: RefCell::default(),
        }
    }
}

impl Meter {
    /// Something that was due at `due` has just ended well. In a closed loop it is due when it begins; in an open one
    /// when the schedule says so, whether or not the answer before it has come (or what is slow would slow the
    /// questions, and the worst waits would be missing).
    pub fn done(&self, due: Instant) {
        let now = Instant::now();
        if self.is_counting() {
            self.done.set(self.done.get() + 1);
        }
        let in_window = self.begun.get().is_some_and(|begun| due >= begun)
            && self.ended.get().is_none_or(|ended| due < ended);
        if in_window {
            self.latency.borrow_mut().saturating_record(now.duration_since(due).as_nanos() as u64);
        }
    }

    /// A TLS handshake resumed a session.
    pub fn resumed(&self) {
        if self.is_counting() {
            self.resumed.set(self.resumed.get() + 1);
        }
    }

    /// An answer had so many bytes.
    pub fn received(&self, bytes: usize) {
        if self.is_counting() {
            self.received.set(self.received.get() + bytes as u64);
        }
    }

    /// Something failed, at any time.
    pub fn failed(&self, why: &str) {
        self.failed.set(self.failed.get() + 1);
        self.first_failure.borrow_mut().get_or_insert_with(|| why.to_owned());
    }

    /// Whether the window is over, so that a closed loop ends.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ended.get().is_some()
    }

    fn is_counting(&self) -> bool {
        self.begun.get().is_some() && self.ended.get().is_none()
    }

    /// Opens and closes the window, and reads at both ends what the watched processes used.
    ///
    /// # Errors
    /// If one of them is gone.
    pub async fn watch(&self, window: &Window) -> Result<Report> {
        let own = Processes::of(&[std::process::id()]);
        sleep(window.warm).await;
        let (watched, used) = (window.watched.cpu_ns()?, own.cpu_ns()?);
        let begun = Instant::now();
        self.begun.set(Some(begun));
        sleep(window.measured).await;
        // On a machine that is busy with something else the first answer may take longer than the window was meant to.
        while self.done.get() == 0 && self.failed.get() == 0 && begun.elapsed() < EMPTY_MAX {
            sleep(EMPTY_STEP).await;
        }
        let ended = Instant::now();
        self.ended.set(Some(ended));
        let watched_cpu_us = (window.watched.cpu_ns()? - watched) as f64 / 1e3;
        let own_cpu_us = (own.cpu_ns()? - used) as f64 / 1e3;
        let seconds = ended.duration_since(begun).as_secs_f64();
        Ok(Report { seconds, watched_cpu_us, own_cpu_us, ..Report::default() })
    }

    /// Completes `report` when everything that was under way has ended.
    ///
    /// # Errors
    /// If nothing ended well: then it has nothing to say.
    pub fn report(&self, report: Report) -> Result<Report> {
        let latency = self.latency.borrow();
        let us = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        let first_failure = self.first_failure.borrow().clone();
        let report = Report {
            done: self.done.get(),
            failed: self.failed.get(),
            resumed: self.resumed.get(),
            received: self.received.get(),
            first_failure,
            latency_us: Latency {
                p50: us(0.5),
                p90: us(0.9),
                p99: us(0.99),
                p999: us(0.999),
                max: latency.max() as f64 / 1e3,
            },
            ..report
        };
        let why = report.first_failure.as_deref().unwrap_or("no answer came in time");
        ensure!(report.done > 0, "nothing ended well: {why}");
        Ok(report)
    }
}

impl Report {
    /// CPU time of the watched processes for each that ended well, in microseconds.
    #[must_use]
    pub fn cpu_us_each(&self) -> f64 {
        self.watched_cpu_us / self.done.max(1) as f64
    }

    /// Bytes of an answer with its head, on the average.
    #[must_use]
    pub fn received_each(&self) -> f64 {
        self.received as f64 / self.done.max(1) as f64
    }

    /// How many ended well in a second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.done as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

const LATENCY_MAX: Duration = Duration::from_secs(60);
/// How long a window stays open in which nothing ends.
const EMPTY_MAX: Duration = Duration::from_secs(20);
const EMPTY_STEP: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn window(warm_ms: u64, measured_ms: u64) -> Window {
        let ms = Duration::from_millis;
        Window { warm: ms(warm_ms), measured: ms(measured_ms), watched: Processes::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_ends_in_the_window_counts() {
        let meter = Meter::default();
        let work = async {
            // It ends at 10, 20, … 100 ms; the window is from 25 to 75.
            for _ in 0..10 {
                let due = Instant::now();
                sleep(Duration::from_millis(10)).await;
                meter.done(due);
            }
        };
        let window = window(25, 50);
        let (report, ()) = tokio::join!(meter.watch(&window), work);
        let report = meter.report(report.unwrap()).unwrap();
        assert_eq!(report.done, 5, "those at 30, 40, 50, 60 and 70");
        assert!((report.latency_us.max - 10_000.0).abs() < 20.0, "{:?}", report.latency_us);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_due_in_the_window_and_ends_late_is_in_the_latency() {
        let meter = Meter::default();
        let work = async {
            let due = Instant::now();
            sleep(Duration::from_millis(5)).await;
            meter.done(due);
            let due = Instant::now();
            sleep(Duration::from_millis(500)).await;
            meter.done(due);
        };
        let window = window(0, 10);
        let (report, ()) = tokio::join!(meter.watch(&window), async {
            tokio::task::yield_now().await;
            work.await;
        });
        let report = meter.report(report.unwrap()).unwrap();
        assert_eq!(report.done, 1);
        assert!(report.latency_us.max > 499_000.0, "{:?}", report.latency_us);
    }

    #[test]
    fn a_run_in_which_nothing_went_well_is_an_error_that_says_why() {
        let meter = Meter::default();
        meter.failed("the reason");
        meter.failed("another");
        let error = meter.report(Report::default()).unwrap_err().to_string();
        assert!(error.contains("the reason"), "{error}");
    }
}
