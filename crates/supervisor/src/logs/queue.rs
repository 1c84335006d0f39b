//! What stands between the thread that reads pipes and a thread that writes, which a full disk or a stopped terminal
//! may block. The reading side waits for room as long as the other side gets on, as any pipe makes its writer wait;
//! once it does not, lines are lost and counted instead.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::lines::Line;

/// What the writing thread gets.
#[derive(Debug)]
pub(crate) enum Piece {
    Lines(Vec<Arc<Line>>),
    /// Forget the lines of this slot, or of all.
    Flush(Option<u32>),
}

/// The reading side.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    sender: mpsc::Sender<Piece>,
    load: Arc<Load>,
}

/// The writing side.
#[derive(Debug)]
pub(crate) struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    load: Arc<Load>,
}

#[derive(Debug, Default)]
struct Load {
    bytes: AtomicUsize,
    flushes: AtomicUsize,
    is_stuck: AtomicBool,
    room: Notify,
    /// By slot.
    lost: Mutex<BTreeMap<u32, u64>>,
}

pub(crate) fn queue() -> (Queue, Pieces) {
    let (sender, receiver) = mpsc::channel();
    let load = Arc::new(Load::default());
    (Queue { sender, load: load.clone() }, Pieces { receiver, load })
}

impl Queue {
    /// Hands lines over, all of one slot, or loses them.
    pub(crate) async fn put(&self, lines: &[Arc<Line>]) {
        let Some(first) = lines.first() else { return };
        while self.load.bytes.load(Ordering::Acquire) >= QUEUE_BYTES_MAX {
            let mut room = pin!(self.load.room.notified());
            room.as_mut().enable();
            if self.load.bytes.load(Ordering::Acquire) < QUEUE_BYTES_MAX {
                break;
            }
            if self.load.is_stuck.load(Ordering::Acquire) || timeout(STUCK_AFTER, room).await.is_err() {
                self.load.is_stuck.store(true, Ordering::Release);
                let mut lost = self.load.lost.lock().unwrap_or_else(PoisonError::into_inner);
                *lost.entry(first.instance.slot).or_default() += lines.len() as u64;
                return;
            }
        }
        self.load.bytes.fetch_add(weight(lines), Ordering::AcqRel);
        // If the thread is gone, the whole of the logs is about to be.
        let _ = self.sender.send(Piece::Lines(lines.to_vec()));
    }

    pub(crate) fn flush(&self, slot: Option<u32>) {
        // So many wait only for a disk that is stuck, and then more of the same would do no more.
        if self.load.flushes.fetch_add(1, Ordering::AcqRel) >= FLUSHES_MAX {
            self.load.flushes.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        let _ = self.sender.send(Piece::Flush(slot));
    }
}

impl Pieces {
    /// Waits for the next piece and lets `write` do with it what takes long; `false` when no more will come.
    pub(crate) fn next(&self, write: impl FnOnce(&Piece)) -> bool {
        let Ok(piece) = self.receiver.recv() else { return false };
        write(&piece);
        match piece {
            Piece::Lines(lines) => self.load.bytes.fetch_sub(weight(&lines), Ordering::AcqRel),
            Piece::Flush(_) => self.load.flushes.fetch_sub(1, Ordering::AcqRel),
        };
        self.load.is_stuck.store(false, Ordering::Release);
        self.load.room.notify_waiters();
        true
    }

    /// How many lines of a slot were lost on the way since this was asked. Asking begins the count anew.
    pub(crate) fn lost(&self, slot: u32) -> u64 {
        self.load.lost.lock().unwrap_or_else(PoisonError::into_inner).remove(&slot).unwrap_or(0)
    }
}

fn weight(lines: &[Arc<Line>]) -> usize {
    lines.iter().map(|line| line.weight()).sum()
}

/// Lines that wait to be written; one more read of a pipe may come on top.
const QUEUE_BYTES_MAX: usize = 4 << 20;
const FLUSHES_MAX: usize = 1024;
/// A writer that has not written anything for so long is not waited for.
const STUCK_AFTER: Duration = Duration::from_millis(200);
