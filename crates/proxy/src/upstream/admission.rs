//! The way in for new sessions, where the plan says how many of them a node takes in a second. Whoever comes too early
//! waits in a queue, first come, first served. What belongs to a session never passes here.
//!
//! The queue is shared by the workers. Its first one sleeps until a node's next turn, takes it, and wakes the next one;
//! nobody else runs. A wait that is dropped, because its client has left, leaves the queue. One that ends because there is
//! another plan by now keeps its [`Ticket`], by which it comes back to its place.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// When a node takes its next new session. Pure.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    next: Option<Instant>,
}

impl Pace {
    /// Takes the node's next turn if its time has come; else says when it comes. Turns are evenly spaced. One that
    /// waited for its turn and woke a little late does not put off those behind it.
    pub(crate) fn take(&mut self, rate: NonZeroU32, has_waited: bool, now: Instant) -> Result<(), Instant> {
        let due = self.next.unwrap_or(now);
        if due > now {
            return Err(due);
        }
        let late_by = now.duration_since(due);
        let taken = if has_waited && late_by <= LATE_MAX { due } else { now };
        self.next = Some(taken + Duration::from_secs(1) / rate.get());
        Ok(())
    }
}

/// What came of trying to have a turn.
#[derive(Debug)]
pub(crate) enum Claim<T> {
    Now(T),
    /// Nobody has one before then.
    At(Instant),
    /// Whoever asks does not know the nodes that there are now.
    Outdated,
}

/// Since when a request waits, and who has come before it, whatever queue each of them is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    number: u64,
    since: Instant,
}

/// The queue in front of the nodes of one upstream.
#[derive(Debug, Default)]
pub(crate) struct Admission(Mutex<Queue>);

/// Who waits, in the order of their tickets. Pure.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<(u64, Arc<Notify>)>,
}

/// How long somebody waits at most, and how quickly the queue moves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QueueTimeout {
    pub(crate) wait: Duration,
    /// From one turn to the next, over all nodes.
    pub(crate) spacing: Duration,
}

/// Why somebody has not been let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAdmitted {
    /// It would take too long.
    Overrun,
    /// There are other nodes by now. Whoever comes back with its ticket has lost nothing.
    Outdated,
}

impl Admission {
    /// Waits for a turn, which `claim` takes; it is told whether it was waited for. Those who would wait for too long
    /// are told so at once. `ticket` is that of an earlier wait, and afterwards of this one, if there was any.
    ///
    /// # Cancel safety
    /// Whoever stops waiting has left the queue.
    pub(crate) async fn admit<T>(
        &self,
        timeout: QueueTimeout,
        ticket: &mut Option<Box<Ticket>>,
        mut claim: impl FnMut(bool) -> Claim<T>,
    ) -> Result<T, NotAdmitted> {
        let (place, until) = {
            let mut queue = self.queue();
            let until = ticket.as_ref().map_or_else(Instant::now, |ticket| ticket.since) + timeout.wait;
            if queue.waiting.is_empty() {
                match claim(ticket.is_some()) {
                    Claim::Now(claimed) => return Ok(claimed),
                    Claim::At(at) if at > until => return Err(NotAdmitted::Overrun),
                    Claim::At(_) => {}
                    Claim::Outdated => return Err(NotAdmitted::Outdated),
                }
            }
            // Drawn while nobody else can: the queue is in the order of its tickets.
            let ticket = **ticket.get_or_insert_with(|| Box::new(Ticket::draw()));
            (self.join(&mut queue, timeout, ticket)?, until)
        };
        loop {
            let at = {
                let queue = self.queue();
                if queue.is_first(place.ticket) {
                    match claim(true) {
                        // Dropping the place wakes the next one.
                        Claim::Now(claimed) => {
                            drop(queue);
                            return Ok(claimed);
                        }
                        Claim::Outdated => {
                            drop(queue);
                            return Err(NotAdmitted::Outdated);
                        }
                        Claim::At(at) => Some(at),
                    }
                } else {
                    None
                }
            };
            let waits_until = at.map_or(until, |at| at.min(until));
            tokio::select! {
                () = place.called.notified() => {}
                () = sleep_until(waits_until) => {
                    if at.is_none_or(|at| at > until) {
                        return Err(NotAdmitted::Overrun);
                    }
                }
            }
        }
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.queue().waiting.len()
    }

    fn join(
        &self,
        queue: &mut Queue,
        timeout: QueueTimeout,
        ticket: Ticket,
    ) -> Result<InQueue<'_>, NotAdmitted> {
        if queue.waiting.len() >= WAITING_MAX {
            return Err(NotAdmitted::Overrun);
        }
        let ahead = u32::try_from(queue.ahead_of(ticket.number)).unwrap_or(u32::MAX);
        let left = timeout.wait.saturating_sub(ticket.since.elapsed());
        if timeout.spacing.saturating_mul(ahead) > left {
            return Err(NotAdmitted::Overrun);
        }
        let called = queue.join(ticket.number);
        Ok(InQueue { admission: self, ticket: ticket.number, called })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    pub(crate) fn waited(&self) -> Duration {
        self.since.elapsed()
    }

    fn draw() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self { number: NEXT.fetch_add(1, Relaxed), since: Instant::now() }
    }
}

impl Queue {
    fn ahead_of(&self, ticket: u64) -> usize {
        self.waiting.partition_point(|(other, _)| *other < ticket)
    }

    fn join(&mut self, ticket: u64) -> Arc<Notify> {
        let called = Arc::new(Notify::new());
        self.waiting.insert(self.ahead_of(ticket), (ticket, called.clone()));
        called
    }

    fn is_first(&self, ticket: u64) -> bool {
        self.waiting.front().is_some_and(|(first, _)| *first == ticket)
    }

    /// Leaves the queue, from wherever in it.
    fn leave(&mut self, ticket: u64) {
        let was_first = self.is_first(ticket);
        if let Ok(place) = self.waiting.binary_search_by_key(&ticket, |(ticket, _)| *ticket) {
            self.waiting.remove(place);
        }
        if let Some((_, next)) = self.waiting.front().filter(|_| was_first) {
            next.notify_one();
        }
    }
}

/// A place in the queue, for as long as somebody holds it.
struct InQueue<'g> {
    admission: &'g Admission,
    ticket: u64,
    called: Arc<Notify>,
}

impl Drop for InQueue<'_> {
    fn drop(&mut self) {
        self.admission.queue().leave(self.ticket);
    }
}

/// Timers ring in whole milliseconds and threads are busy; what is later than that has been idle.
const LATE_MAX: Duration = Duration::from_millis(10);
/// Whatever the rate: each holds a connection of its client.
const WAITING_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use fastrand::Rng;
    use tokio::task::JoinSet;
    use tokio::time::{advance, sleep};

    use super::*;

    const RATE: NonZeroU32 = NonZeroU32::new(200).expect("not zero");
    const SPACING: Duration = Duration::from_millis(5);

    /// An admission queue in front of nodes, and when each took somebody in.
    #[derive(Clone)]
    struct Crowd {
        admission: Rc<Admission>,
        nodes: Rc<Vec<RefCell<Pace>>>,
        taken: Rc<RefCell<Vec<(usize, Instant, usize)>>>,
    }

    impl Crowd {
        fn new(nodes: usize) -> Self {
            let nodes = Rc::new((0..nodes).map(|_| RefCell::default()).collect());
            Self { admission: Rc::default(), nodes, taken: Rc::default() }
        }

        /// Comes as number `who` and takes whatever node is free first.
        async fn admit(&self, who: usize, wait: Duration) -> Result<usize, NotAdmitted> {
            let timeout = QueueTimeout { wait, spacing: SPACING / self.nodes.len() as u32 };
            let claim = |has_waited| {
                let now = Instant::now();
                let mut soonest = None;
                for (index, node) in self.nodes.iter().enumerate() {
                    match node.borrow_mut().take(RATE, has_waited, now) {
                        Ok(()) => {
                            self.taken.borrow_mut().push((index, now, who));
                            return Claim::Now(index);
                        }
                        Err(at) => soonest = Some(soonest.map_or(at, |soonest: Instant| soonest.min(at))),
                    }
                }
                Claim::At(soonest.expect("there is a node"))
            };
            self.admission.admit(timeout, &mut None, claim).await
        }

        /// In any second, by each node's own count.
        fn most_in_a_second(&self) -> usize {
            let taken = self.taken.borrow();
            (0..self.nodes.len())
                .map(|index| {
                    let times: Vec<_> =
                        taken.iter().filter(|(node, ..)| *node == index).map(|(_, at, _)| *at).collect();
                    let within = |from: &Instant| {
                        times.iter().filter(|at| (*from..*from + Duration::from_secs(1)).contains(at)).count()
                    };
                    times.iter().map(within).max().unwrap_or(0)
                })
                .max()
                .unwrap_or(0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_storm_is_let_in_at_the_rate_and_in_its_order() {
        tokio::task::LocalSet::new()
            .run_until(async {
                let crowd = Crowd::new(1);
                let start = Instant::now();
                let mut coming = JoinSet::new();
                for who in 0..3_000 {
                    let crowd = crowd.clone();
                    coming.spawn_local(async move { crowd.admit(who, Duration::from_secs(15)).await });
                }
                while let Some(entered) = coming.join_next().await {
                    assert_eq!(entered.expect("no panic"), Ok(0));
                }
                let order: Vec<_> = crowd.taken.borrow().iter().map(|(.., who)| *who).collect();
                assert!(order.is_sorted() && order.len() == 3_000);
                assert_eq!(crowd.most_in_a_second(), 200);
                // The first goes at once, so that the last is 2,999 turns later; timers round up to a millisecond.
                let lasted = start.elapsed();
                let least = SPACING * 2_999;
                assert!((least..=least + Duration::from_millis(2)).contains(&lasted), "{lasted:?}");
            })
            .await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_and_goes_no_node_is_overrun() {
        for seed in 0..20 {
            let mut dice = Rng::with_seed(seed);
            tokio::task::LocalSet::new()
                .run_until(async {
                    let crowd = Crowd::new(dice.usize(1..4));
                    let mut coming = JoinSet::new();
                    for who in 0..1_000 {
                        let (crowd, mut dice) = (crowd.clone(), Rng::with_seed(seed * 1_000 + who as u64));
                        let comes_in = Duration::from_micros(dice.u64(0..3_000_000));
                        coming.spawn_local(async move {
                            sleep(comes_in).await;
                            let stays = Duration::from_millis(dice.u64(0..4_000));
                            let entering = crowd.admit(who, Duration::from_secs(3));
                            matches!(tokio::time::timeout(stays, entering).await, Ok(Ok(_)))
                        });
                    }
                    let mut entered = 0;
                    while let Some(came_in) = coming.join_next().await {
                        entered += usize::from(came_in.expect("no panic"));
                    }
                    assert_eq!(
                        crowd.taken.borrow().len(),
                        entered,
                        "a turn is taken by somebody who is there"
                    );
                    // A timer's last millisecond is all that it may be off by.
                    assert!(crowd.most_in_a_second() <= 201, "seed {seed}: {}", crowd.most_in_a_second());
                    assert!(entered > 400, "seed {seed}: {entered}");
                    assert_eq!(crowd.admission.waiting(), 0);
                })
                .await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_could_not_have_a_turn_in_time_is_told_at_once() {
        let crowd = Crowd::new(1);
        let wait = Duration::from_millis(50);
        let mut waiting: Vec<_> = (0..20).map(|who| Box::pin(crowd.admit(who, wait))).collect();
        let mut turned_away = 0;
        for admit in &mut waiting {
            let first_look = std::future::poll_fn(|cx| std::task::Poll::Ready(admit.as_mut().poll(cx))).await;
            turned_away +=
                usize::from(matches!(first_look, std::task::Poll::Ready(Err(NotAdmitted::Overrun))));
        }
        // One has gone in, and ten turns fit into the wait, the last at its very end.
        assert_eq!((crowd.admission.waiting(), turned_away), (11, 8));
        drop(waiting);
        assert_eq!(crowd.admission.waiting(), 0);
        advance(SPACING).await;
        assert_eq!(crowd.admit(20, wait).await, Ok(0));
    }
}
