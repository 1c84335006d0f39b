//! Keeps the connection that messages leave on, and counts those that do not.

use std::sync::{
    Arc,
    atomic::{
        AtomicBool, AtomicUsize,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
};

use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{
    Shared,
    backoff::Backoff,
    connection::{Connection, Connector},
    patiently,
};
use crate::{
    message::Outgoing,
    stats::{Counters, DropReason, Event, Side},
};

/// Messages in one pipeline. While Redis answers one, the next fills: batches grow with the load.
const BATCH_MAX: usize = 256;

/// The way in for everyone. Never waits.
pub(crate) struct Queue {
    waiting: mpsc::Sender<Outgoing>,
    /// Of what waits and of what is on its way.
    bytes: AtomicUsize,
    bytes_max: usize,
    up: AtomicBool,
}

impl Queue {
    pub(super) fn new(messages_max: usize, bytes_max: usize) -> (Self, mpsc::Receiver<Outgoing>) {
        let (waiting, next) = mpsc::channel(messages_max.max(1));
        (Self { waiting, bytes: AtomicUsize::new(0), bytes_max, up: AtomicBool::new(false) }, next)
    }

    /// Says whether it was queued; if not, it is counted as dropped.
    pub(crate) fn offer(&self, outgoing: Outgoing, counters: &Counters) -> bool {
        if !self.up.load(Acquire) {
            counters.drop_messages(DropReason::Disconnected, 1);
            return false;
        }
        let size = outgoing.body.len();
        let queued = self.bytes.fetch_add(size, AcqRel) + size <= self.bytes_max
            && self.waiting.try_send(outgoing).is_ok();
        if !queued {
            self.bytes.fetch_sub(size, AcqRel);
            counters.drop_messages(DropReason::QueueFull, 1);
        }
        queued
    }

    fn settle(&self, batch: &mut Vec<Outgoing>) {
        let size = batch.drain(..).map(|outgoing| outgoing.body.len()).sum();
        self.bytes.fetch_sub(size, AcqRel);
    }
}

pub(super) async fn keep(
    shared: Arc<Shared>,
    connector: Connector,
    mut waiting: mpsc::Receiver<Outgoing>,
    tried: Arc<Notify>,
) {
    let mut backoff = Backoff::new(shared.options.retry_max);
    let mut last_error = String::new();
    loop {
        shared.counters.connects.fetch_add(1, Relaxed);
        let error = match connector.connect(None).await {
            Err(error) => error.to_string(),
            Ok(connection) => {
                backoff.reset();
                last_error.clear();
                shared.set_current(Some(connection.clone()));
                shared.queue.up.store(true, Release);
                shared.counters.tell(&Event::Connected(Side::Publisher));
                tried.notify_one();
                let error = publish_until_lost(&shared, connection, &mut waiting).await;
                shared.queue.up.store(false, Release);
                shared.set_current(None);
                error
            }
        };
        drop_waiting(&shared, &mut waiting);
        shared.counters.tell_drops();
        // The same refusal every second is told once.
        if error != last_error {
            shared.counters.tell(&Event::Disconnected { side: Side::Publisher, error: error.clone() });
            last_error = error;
        }
        tried.notify_one();
        sleep(backoff.pause()).await;
    }
}

async fn publish_until_lost(
    shared: &Shared,
    mut connection: Connection,
    waiting: &mut mpsc::Receiver<Outgoing>,
) -> String {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    let mut probe = interval(shared.options.probe_interval);
    probe.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = Instant::now();
    loop {
        tokio::select! {
            _ = probe.tick() => {
                if let Err(error) = patiently(shared, Side::Publisher, connection.ping()).await {
                    return error;
                }
            }
            _ = waiting.recv_many(&mut batch, BATCH_MAX) => {
                let sent = batch.len();
                let publish = connection.publish(shared.options.mode, &batch);
                let outcome = patiently(shared, Side::Publisher, publish).await;
                shared.queue.settle(&mut batch);
                match outcome {
                    Ok(refused) => {
                        shared.counters.published.fetch_add((sent - refused) as u64, Relaxed);
                        shared.counters.drop_messages(DropReason::Refused, refused);
                    }
                    Err(error) => {
                        shared.counters.drop_messages(DropReason::Unconfirmed, sent);
                        return error;
                    }
                }
            }
        }
        if told.elapsed() >= shared.options.probe_interval {
            shared.counters.tell_drops();
            told = Instant::now();
        }
    }
}

fn drop_waiting(shared: &Shared, waiting: &mut mpsc::Receiver<Outgoing>) {
    let mut late = Vec::new();
    while let Ok(outgoing) = waiting.try_recv() {
        late.push(outgoing);
    }
    shared.counters.drop_messages(DropReason::Disconnected, late.len());
    shared.queue.settle(&mut late);
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use crate::{message::Outgoing, stats::Counters};
    use std::sync::atomic::Ordering::Release;
    use tokio::time::Instant;

    #[test]
    fn what_does_not_fit_is_counted_and_nothing_waits() {
        let (queue, mut waiting) = Queue::new(2, 10);
        let counters = Counters::default();
        let offer = |size| queue.offer(Outgoing { channel: "c".to_owned(), body: vec![0; size] }, &counters);
        assert!(!offer(1), "not connected yet");
        queue.up.store(true, Release);
        assert!(offer(6));
        assert!(!offer(5), "eleven bytes");
        assert!(offer(4));
        assert!(!offer(0), "three messages");
        let mut sent = vec![waiting.try_recv().unwrap()];
        queue.settle(&mut sent);
        assert!(offer(6), "its bytes were given back");
        let stats = counters.snapshot(Instant::now());
        assert_eq!((stats.dropped_disconnected, stats.dropped_queue_full), (1, 2));
    }
}
