//! What time it is, and waits that end. Reading the system's clock and setting a timer for each wait of each request
//! cost more than reading the request; here the clock is read once each time a task wakes, and a connection's one
//! timer is moved only when it has fired.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::coop::has_budget_remaining;
use tokio::time::{Instant, Sleep, sleep_until};

/// A worker's clock. Stands still while a task runs.
#[derive(Debug)]
pub(crate) struct Clock(Cell<Instant>);

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Cell::new(Instant::now()))
    }

    /// The instant at which the running task woke: the same until it sleeps, however long it works.
    pub(crate) fn now(&self) -> Instant {
        self.0.get()
    }

    /// Called by a task first of all, whenever it wakes.
    pub(crate) fn tick(&self) {
        self.0.set(Instant::now());
    }
}

/// Runs a task by a worker's clock. What it returns is as small as tokio's task can be (128 bytes, of which it always
/// takes a multiple), and the task itself lies in a box of its own size.
pub(crate) fn by_clock<T>(
    clock: Rc<Clock>,
    mut task: Pin<Box<dyn Future<Output = T>>>,
) -> impl Future<Output = T> {
    poll_fn(move |cx| {
        clock.tick();
        task.as_mut().poll(cx)
    })
}

/// The alarm of one task. All its waits share one timer, which rings no later than the earliest of them ends, and
/// often earlier: whoever waits asks the clock whether it is time, and has the timer set again if it is not. So a
/// wait that ends in time, as nearly all do, touches no timer at all.
#[derive(Debug)]
pub(crate) struct Alarm {
    clock: Rc<Clock>,
    set: RefCell<Option<Set>>,
}

/// A timer that is set.
#[derive(Debug)]
struct Set {
    sleep: Pin<Box<Sleep>>,
    /// It rings then; `None` while nobody is sure of it.
    at: Option<Instant>,
}

impl Alarm {
    pub(crate) fn new(clock: Rc<Clock>) -> Self {
        Self { clock, set: RefCell::new(None) }
    }

    /// The instant at which the running task woke: the same until it sleeps, however long it works.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// What `poll` gives, or `None` after so long without. Cancel-safe if `poll` is. All waits on one alarm must
    /// belong to one task. It takes a function and not a future, because a future within a future is kept twice.
    pub(crate) fn within<T>(
        &self,
        timeout: Duration,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> impl Future<Output = Option<T>> {
        let mut until = None;
        poll_fn(move |cx| match poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                let until = *until.get_or_insert_with(|| self.now() + timeout);
                self.poll_until(cx, until).map(|()| None)
            }
        })
    }

    /// Ready once it is time; else the task is woken when it may be.
    pub(crate) fn poll_until(&self, cx: &mut Context<'_>, until: Instant) -> Poll<()> {
        let now = self.now();
        if now >= until {
            return Poll::Ready(());
        }
        let mut set = self.set.borrow_mut();
        if let Some(Set { at: Some(at), .. }) = &*set
            && now < *at
            && *at <= until
        {
            return Poll::Pending;
        }
        let Set { sleep, at } = match &mut *set {
            Some(set) => {
                set.sleep.as_mut().reset(until);
                set
            }
            None => set.insert(Set { sleep: Box::pin(sleep_until(until)), at: None }),
        };
        // Without budget the timer wakes this task at once instead of being set.
        *at = has_budget_remaining().then_some(until);
        let rings = sleep.as_mut().poll(cx);
        if rings.is_ready() {
            *at = None;
            self.clock.tick();
        }
        rings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn by_test_clock<T: 'static>(task: impl AsyncFnOnce(Alarm) -> T + 'static) -> T {
        let clock = Rc::new(Clock::new());
        let alarm = Alarm::new(clock.clone());
        by_clock(clock, Box::pin(task(alarm))).await
    }

    #[tokio::test(start_paused = true)]
    async fn every_wait_ends_in_its_own_time() {
        by_test_clock(async |alarm| {
            let begun = Instant::now();
            for timeout_ms in [50, 20, 5, 500, 1, 100] {
                let timeout = Duration::from_millis(timeout_ms);
                let begun = Instant::now();
                assert_eq!(alarm.within(timeout, |_| Poll::<()>::Pending).await, None);
                assert_eq!(begun.elapsed(), timeout, "{timeout_ms}");
            }
            assert_eq!(begun.elapsed(), Duration::from_millis(676));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn waits_side_by_side_do_not_disturb_each_other() {
        by_test_clock(async |alarm| {
            let begun = Instant::now();
            let ended_at = async |timeout_ms| {
                alarm.within(Duration::from_millis(timeout_ms), |_| Poll::<()>::Pending).await;
                begun.elapsed().as_millis()
            };
            let ended = tokio::join!(ended_at(30), ended_at(10), ended_at(20), ended_at(40));
            assert_eq!(ended, (30, 10, 20, 40));
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_in_time_is_given_and_moves_no_timer() {
        by_test_clock(async |alarm| {
            let second = Duration::from_secs(1);
            assert_eq!(alarm.within(second, |_| Poll::Ready(7)).await, Some(7));
            assert!(alarm.set.borrow().is_none());
            for value in 0..10 {
                let mut soon = Box::pin(tokio::time::sleep(Duration::from_millis(400)));
                let given = alarm.within(second, |cx| soon.as_mut().poll(cx).map(|()| value)).await;
                assert_eq!(given, Some(value));
            }
            assert_eq!(alarm.within(second, |_| Poll::<()>::Pending).await, None);
        })
        .await;
    }
}
