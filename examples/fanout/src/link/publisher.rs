//! Keeps the connection that messages leave on, and counts those that do not.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};

use super::{
    Shared,
    backoff::Backoff,
    connection::{Connection, Published},
    connector::Connector,
    keep_logged_in,
    pace::Pace,
    patiently,
};
use crate::{
    message::Outgoing,
    options::Credentials,
    stats::{Counters, DropReason, Event, Side},
};

/// Messages in one pipeline. While Redis answers one, the next fills: batches grow with the load.
const BATCH_MAX: usize = 256;

/// And bytes, but for a message that is longer alone. Redis reads a pipeline before it writes to the subscribers, and cuts
/// off those for whom more than 32 MB wait (`client-output-buffer-limit pubsub`).
const BATCH_BYTES_MAX: usize = 1 << 20;

/// The way in for everyone.
pub(crate) struct Queue {
    waiting: mpsc::Sender<Waiting>,
    bytes: Arc<Semaphore>,
    up: watch::Sender<Way>,
}

/// What becomes of a message now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It leaves as soon as Redis takes it.
    Up,
    /// Redis is away, and what fits into the queue waits for it.
    Held,
    /// Redis has never been there, or has been away for too long.
    Down,
}

pub(super) struct Waiting {
    outgoing: Outgoing,
    /// When the first connection ended that it was written to without an answer.
    unanswered: Option<Instant>,
    /// To how many it was written.
    written: u32,
    /// Its bytes, of what waits and of what is on its way.
    _bytes: OwnedSemaphorePermit,
}

impl Waiting {
    fn new(outgoing: Outgoing, bytes: OwnedSemaphorePermit) -> Self {
        Self { outgoing, unanswered: None, written: 0, _bytes: bytes }
    }
}

impl Queue {
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> (Self, mpsc::Receiver<Waiting>) {
        let (waiting, next) = mpsc::channel(messages_max.max(1));
        let bytes = Arc::new(Semaphore::new(bytes_max.min(Semaphore::MAX_PERMITS)));
        (Self { waiting, bytes, up: watch::Sender::new(Way::Down) }, next)
    }

    /// Never waits. Says whether it was queued; if not, it is counted as dropped.
    pub(crate) fn offer(&self, outgoing: Outgoing, counters: &Counters) -> Result<(), DropReason> {
        let queued = match *self.up.borrow() {
            Way::Down => Err(DropReason::Disconnected),
            Way::Held => self.try_enter(outgoing).map_err(|_| DropReason::Disconnected),
            Way::Up => self.try_enter(outgoing).map_err(|_| DropReason::QueueFull),
        };
        queued.inspect_err(|reason| counters.drop_messages(*reason, 1))
    }

    /// Waits for room, for `wait_max` at most and only while there is a connection. Dropped, the message is not counted.
    pub(crate) async fn send(
        &self,
        outgoing: Outgoing,
        wait_max: Duration,
        counters: &Counters,
    ) -> Result<(), DropReason> {
        if *self.up.borrow() != Way::Up {
            return self.offer(outgoing, counters);
        }
        let Err(outgoing) = self.try_enter(outgoing) else { return Ok(()) };
        let mut up = self.up.subscribe();
        let entered = tokio::select! {
            entered = timeout(wait_max, self.enter(outgoing)) => match entered {
                Ok(true) => Ok(()),
                _ => Err(DropReason::QueueFull),
            },
            _ = up.wait_for(|up| *up != Way::Up) => Err(DropReason::Disconnected),
        };
        entered.inspect_err(|reason| counters.drop_messages(*reason, 1))
    }

    fn try_enter(&self, outgoing: Outgoing) -> Result<(), Outgoing> {
        let Ok(bytes) = self.bytes.clone().try_acquire_many_owned(size(&outgoing)) else {
            return Err(outgoing);
        };
        let entered = self.waiting.try_send(Waiting::new(outgoing, bytes));
        entered.map_err(|error| error.into_inner().outgoing)
    }

    async fn enter(&self, outgoing: Outgoing) -> bool {
        let Ok(bytes) = self.bytes.clone().acquire_many_owned(size(&outgoing)).await else { return false };
        self.waiting.send(Waiting::new(outgoing, bytes)).await.is_ok()
    }
}

fn size(outgoing: &Outgoing) -> u32 {
    u32::try_from(outgoing.body.len()).unwrap_or(u32::MAX)
}

/// The next pipeline: what has to be said again, or what waits, within both bounds. Cancel-safe, since it only waits for the first.
async fn next_batch(waiting: &mut mpsc::Receiver<Waiting>, batch: &mut Vec<Waiting>) {
    if !batch.is_empty() {
        return;
    }
    let mut bytes = 0;
    batch.extend(waiting.recv().await);
    while let Some(last) = batch.last() {
        bytes += last.outgoing.body.len();
        if batch.len() >= BATCH_MAX || bytes >= BATCH_BYTES_MAX {
            return;
        }
        let Ok(next) = waiting.try_recv() else { return };
        batch.push(next);
    }
}

pub(super) async fn keep(
    shared: Arc<Shared>,
    connector: Connector,
    mut waiting: mpsc::Receiver<Waiting>,
    tried: Arc<Notify>,
) {
    let mut backoff = Backoff::new(shared.options.retry_max);
    let mut last_error = String::new();
    // On its way, or to be said again.
    let mut batch = Vec::with_capacity(BATCH_MAX);
    // When the connection was lost that messages are held for.
    let mut lost: Option<Instant> = None;
    loop {
        shared.counters.connects.fetch_add(1, Relaxed);
        let credentials = connector.credentials();
        let error = match connector.connect(Side::Publisher, credentials.as_ref(), None).await {
            Err(error) => error.to_string(),
            Ok(connection) => {
                backoff.reset();
                last_error.clear();
                shared.set_current(Some(connection.clone()));
                shared.counters.tell(&Event::Connected(Side::Publisher));
                tried.notify_one();
                if lost.is_some() {
                    others_are_back(&shared).await;
                }
                shared.queue.up.send_replace(Way::Up);
                say_no_echo_again(&shared, &mut batch);
                let error =
                    publish_until_lost(&shared, (connection, credentials), &mut waiting, &mut batch).await;
                shared.queue.up.send_replace(Way::Held);
                shared.set_current(None);
                lost = Some(Instant::now());
                error
            }
        };
        if lost.is_none_or(|lost| lost.elapsed() >= shared.options.hold_max) {
            shared.queue.up.send_replace(Way::Down);
            shared.counters.drop_messages(DropReason::Unconfirmed, batch.len());
            batch.clear();
            drop_waiting(&shared, &mut waiting);
        }
        shared.counters.tell_drops();
        // The same refusal every second is told once.
        if error != last_error {
            shared.counters.tell(&Event::Disconnected { side: Side::Publisher, error: error.clone() });
            last_error = error;
        }
        tried.notify_one();
        sleep(backoff.pause(Instant::now())).await;
    }
}

async fn publish_until_lost(
    shared: &Shared,
    (mut connection, mut credentials): (Connection, Option<Credentials>),
    waiting: &mut mpsc::Receiver<Waiting>,
    batch: &mut Vec<Waiting>,
) -> String {
    let mut probe = interval(shared.options.probe_interval);
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Instant::now();
    let mut pace = Pace::new(shared.options.slow_wait_max);
    loop {
        tokio::select! {
            _ = probe.tick() => {
                let logged_in = keep_logged_in(shared, Side::Publisher, &mut connection, &mut credentials);
                if let Err(error) = logged_in.await {
                    return error;
                }
                if let Err(error) = patiently(shared, Side::Publisher, connection.ping()).await {
                    return error;
                }
                shared.call_roll().await;
            }
            () = next_batch(waiting, batch) => match publish(shared, &mut connection, batch).await {
                Ok(bytes) => pace.keep(shared, &mut connection, bytes).await,
                Err(error) => return error,
            }
        }
        if told.elapsed() >= shared.options.probe_interval {
            shared.counters.tell_drops();
            told = Instant::now();
        }
    }
}

/// Says how many bytes those were. What is left in the batch after an error is to be said again.
async fn publish(
    shared: &Shared,
    connection: &mut Connection,
    batch: &mut Vec<Waiting>,
) -> Result<usize, String> {
    shared.echoes.listen();
    let sent = batch.len();
    let publish = connection.publish(shared.options.mode, batch.iter().map(|waiting| &waiting.outgoing));
    let outcome = patiently(shared, Side::Publisher, async { Ok(publish.await) }).await;
    // A Redis that is given up while it hangs may publish later what it was sent.
    let Ok(Published { refused, unanswered, error }) = &outcome else {
        shared.counters.drop_messages(DropReason::Unconfirmed, batch.len());
        batch.clear();
        return outcome.map(|_| 0);
    };
    shared.counters.published.fetch_add((sent - refused - unanswered.len()) as u64, Relaxed);
    shared.counters.drop_messages(DropReason::Refused, *refused);
    let Some(error) = error else {
        shared.echoes.stop();
        return Ok(batch.drain(..).map(|waiting| waiting.outgoing.body.len()).sum());
    };
    let late = if error.is_timeout() { Duration::ZERO } else { shared.options.hold_max };
    let lost = keep_unanswered(batch, unanswered, late);
    shared.counters.drop_messages(DropReason::Unconfirmed, lost);
    Err(error.to_string())
}

/// How often a message may be written. Redis may end the connection because of it (`proto-max-bulk-len`), and what waits
/// behind it should not wait for long.
const WRITES_MAX: u32 = 3;

/// Leaves what may be said again, as the Redis clients of Node.js do: what was published and had no answer yet. Says how many
/// may not, which are entries of a stream, and what has been said again for too long.
fn keep_unanswered(batch: &mut Vec<Waiting>, unanswered: &[usize], hold_max: Duration) -> usize {
    let mut place = 0;
    let now = Instant::now();
    batch.retain_mut(|waiting| {
        let is_unanswered = unanswered.contains(&place);
        place += 1;
        let since = *waiting.unanswered.get_or_insert(now);
        waiting.written += 1;
        let is_young = now.duration_since(since) < hold_max && waiting.written < WRITES_MAX;
        is_unanswered && waiting.outgoing.entry.is_none() && is_young
    });
    unanswered.len() - batch.len()
}

/// Redis writes to its subscribers what it answers in the same moment, so that what has come back to this node has come to all.
fn say_no_echo_again(shared: &Shared, batch: &mut Vec<Waiting>) {
    let before = batch.len();
    batch.retain(|waiting| !shared.echoes.take(&waiting.outgoing.body));
    shared.counters.published.fetch_add((before - batch.len()) as u64, Relaxed);
    shared.echoes.stop();
}

/// Until as many nodes have subscribed again as there were: a message that came before them would miss them.
async fn others_are_back(shared: &Shared) {
    let mut pace = interval(Duration::from_millis(20));
    let all = async {
        while !shared.is_complete().await {
            pace.tick().await;
        }
    };
    let _ = timeout(shared.options.rejoin_wait_max, all).await;
}

fn drop_waiting(shared: &Shared, waiting: &mut mpsc::Receiver<Waiting>) {
    let mut late = 0;
    while waiting.try_recv().is_ok() {
        late += 1;
    }
    shared.counters.drop_messages(DropReason::Disconnected, late);
}

#[cfg(test)]
mod tests {
    use super::{BATCH_BYTES_MAX, Queue, Waiting, Way, keep_unanswered, next_batch};
    use crate::{
        message::Outgoing,
        stats::{Counters, DropReason},
    };
    use futures_util::FutureExt;
    use std::time::Duration;
    use tokio::time::Instant;

    fn message(size: usize) -> Outgoing {
        Outgoing::publish("c".to_owned(), vec![0; size])
    }

    #[test]
    fn what_does_not_fit_is_counted_and_nothing_waits() {
        let (queue, mut waiting) = Queue::new(2, 10);
        let counters = Counters::default();
        let offer = |size| queue.offer(message(size), &counters);
        assert_eq!(offer(1), Err(DropReason::Disconnected));
        queue.up.send_replace(Way::Up);
        assert_eq!(offer(6), Ok(()));
        assert_eq!(offer(5), Err(DropReason::QueueFull), "eleven bytes");
        assert_eq!(offer(4), Ok(()));
        assert_eq!(offer(0), Err(DropReason::QueueFull), "three messages");
        drop(waiting.try_recv().unwrap());
        queue.up.send_replace(Way::Held);
        assert_eq!(offer(6), Ok(()), "its bytes were given back, and what fits is held");
        assert_eq!(offer(1), Err(DropReason::Disconnected), "an outage fills the queue and nothing else");
        let stats = counters.snapshot(Instant::now());
        assert_eq!((stats.dropped_disconnected, stats.dropped_queue_full), (2, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_waits_for_room_within_its_bound_and_while_there_is_a_connection() {
        let (queue, mut waiting) = Queue::new(8, 10);
        let counters = Counters::default();
        queue.up.send_replace(Way::Up);
        let send = |size| queue.send(message(size), Duration::from_secs(1), &counters);
        assert_eq!(send(8).await, Ok(()));
        let mut second = Box::pin(send(8));
        assert!(second.as_mut().now_or_never().is_none());
        drop(waiting.try_recv().unwrap());
        assert_eq!(second.await, Ok(()));
        assert_eq!(send(8).await, Err(DropReason::QueueFull));
        let mut fourth = Box::pin(send(8));
        assert!(fourth.as_mut().now_or_never().is_none());
        queue.up.send_replace(Way::Down);
        assert_eq!(fourth.await, Err(DropReason::Disconnected));
        let stats = counters.snapshot(Instant::now());
        assert_eq!((stats.dropped_disconnected, stats.dropped_queue_full), (1, 1));
    }

    #[tokio::test]
    async fn what_had_no_answer_is_kept_for_a_time_and_some_attempts() {
        let hold = Duration::from_secs(10);
        let (queue, mut waiting) = Queue::new(8, 100);
        queue.up.send_replace(Way::Up);
        for size in [1, 2, 3] {
            queue.offer(message(size), &Counters::default()).unwrap();
        }
        let mut batch = Vec::new();
        next_batch(&mut waiting, &mut batch).await;
        let sizes =
            |batch: &[Waiting]| batch.iter().map(|waiting| waiting.outgoing.body.len()).collect::<Vec<_>>();
        assert_eq!(keep_unanswered(&mut batch, &[1, 2], hold), 0, "the first was answered");
        assert_eq!(sizes(&batch), [2, 3]);
        assert_eq!(keep_unanswered(&mut batch, &[1], hold), 0);
        assert_eq!(sizes(&batch), [3]);
        assert_eq!(keep_unanswered(&mut batch, &[0], hold), 1, "the third attempt is the last");
        assert!(batch.is_empty());
        queue.offer(message(1), &Counters::default()).unwrap();
        next_batch(&mut waiting, &mut batch).await;
        assert_eq!(keep_unanswered(&mut batch, &[0], Duration::ZERO), 1, "nothing is held");
    }

    #[tokio::test]
    async fn a_pipeline_is_bounded_in_bytes() {
        let (queue, mut waiting) = Queue::new(100, 100 << 20);
        queue.up.send_replace(Way::Up);
        for size in [BATCH_BYTES_MAX / 2, BATCH_BYTES_MAX / 2, 1, 2 * BATCH_BYTES_MAX, 1] {
            queue.offer(message(size), &Counters::default()).unwrap();
        }
        let mut lengths = Vec::new();
        for _ in 0..3 {
            let mut batch = Vec::new();
            next_batch(&mut waiting, &mut batch).await;
            lengths.push(batch.len());
        }
        assert_eq!(lengths, [2, 2, 1]);
    }
}
