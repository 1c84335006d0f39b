//! When a request of an open loop is due. The schedule is drawn up before and does not wait for answers.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::time::Instant;

/// So many requests in a second, dealt out in turn.
#[derive(Debug)]
pub struct Pace {
    begin: Instant,
    per_second: f64,
    turns: Vec<Rc<Notify>>,
    ended: Rc<Cell<Option<Instant>>>,
}

/// The place of one connection in a [`Pace`].
#[derive(Debug)]
pub struct Turn {
    begin: Instant,
    per_second: f64,
    index: u64,
    of: u64,
    notify: Rc<Notify>,
    ended: Rc<Cell<Option<Instant>>>,
}

impl Pace {
    /// Begins now; `turns` connections share it.
    #[must_use]
    pub fn new(per_second: f64, turns: usize) -> Self {
        let turns = (0..turns).map(|_| Rc::default()).collect();
        Self { begin: Instant::now(), per_second, turns, ended: Rc::default() }
    }

    /// The turn of connection `index`.
    #[must_use]
    pub fn turn(&self, index: usize) -> Turn {
        Turn {
            begin: self.begin,
            per_second: self.per_second,
            index: index as u64,
            of: self.turns.len() as u64,
            notify: self.turns[index].clone(),
            ended: self.ended.clone(),
        }
    }

    /// Wakes each connection when its request is due, until `over`. tokio's timers have steps of a millisecond, in
    /// which fifty requests may be due; the kernel's have none.
    ///
    /// # Errors
    /// If the kernel gives no timer.
    pub async fn run(&self, over: impl Fn() -> bool) -> io::Result<()> {
        let alarm = Alarm::new()?;
        for request in 0.. {
            alarm.until(due(self.begin, self.per_second, request)).await?;
            if over() {
                break;
            }
            self.turns[(request % self.turns.len() as u64) as usize].notify_one();
        }
        self.ended.set(Some(Instant::now()));
        for turn in &self.turns {
            turn.notify_one();
        }
        Ok(())
    }
}

impl Turn {
    /// Waits until the next request of this connection is due, and says when that was; `None` when the schedule is over.
    /// One that is overdue, because the answer before it was slow, is due at once, and its wait has begun long ago; it
    /// is not let off by the end.
    pub async fn next(&mut self) -> Option<Instant> {
        let due = due(self.begin, self.per_second, self.index);
        self.index += self.of;
        loop {
            if self.ended.get().is_some_and(|ended| due >= ended) {
                return None;
            }
            if Instant::now() >= due {
                return Some(due);
            }
            self.notify.notified().await;
        }
    }
}

fn due(begin: Instant, per_second: f64, request: u64) -> Instant {
    begin + Duration::from_secs_f64(request as f64 / per_second)
}

/// One timer of the kernel.
#[derive(Debug)]
struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    // Unsound only for types whose file may change or close while it is watched. `OwnedFd` cannot.
    #[allow(deprecated)]
    fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    async fn until(&self, due: Instant) -> io::Result<()> {
        let wait = due.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        timerfd_settime(
            self.0.get_ref(),
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: never, it_value },
        )?;
        let mut ready = self.0.readable().await?;
        let mut expirations = [0; 8];
        match rustix::io::read(self.0.get_ref(), &mut expirations) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dues of connection `index` of `of`, in milliseconds from the begin, when each answer takes `answer_ms`.
    async fn dues(per_second: f64, index: usize, of: usize, answer_ms: u64) -> Vec<u128> {
        let begin = Instant::now();
        let pace = Pace::new(per_second, of);
        let mut turn = pace.turn(index);
        let mut dues = Vec::new();
        while dues.len() < 4 {
            tokio::time::sleep_until(due(pace.begin, per_second, turn.index)).await;
            let Some(due) = turn.next().await else { break };
            dues.push((due - begin).as_millis());
            tokio::time::sleep(Duration::from_millis(answer_ms)).await;
        }
        dues
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_dealt_out_in_turn() {
        assert_eq!(dues(100.0, 0, 2, 1).await, [0, 20, 40, 60]);
        assert_eq!(dues(100.0, 1, 2, 1).await, [10, 30, 50, 70]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_answer_moves_no_due() {
        assert_eq!(dues(100.0, 1, 2, 500).await, [10, 30, 50, 70]);
    }

    #[tokio::test]
    async fn the_kernels_timer_paces_a_thousand_in_turn() {
        let pace = Pace::new(20_000.0, 3);
        let seen = Cell::new(0);
        let taking = async |mut turn: Turn| {
            while turn.next().await.is_some() {
                seen.set(seen.get() + 1);
            }
        };
        let (first, second, third) = (pace.turn(0), pace.turn(1), pace.turn(2));
        let all = async {
            tokio::join!(taking(first), taking(second), taking(third));
        };
        let (paced, ()) = tokio::join!(pace.run(|| seen.get() >= 1000), all);
        paced.unwrap();
        assert!(seen.get() >= 1000);
    }
}
