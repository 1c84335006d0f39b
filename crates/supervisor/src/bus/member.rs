//! One who hears what the others say, and what waits for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::{Notify, watch};

use super::frame::Frame;
use super::rooms::Rooms;

/// What an instance has lost, and what it has said of its rooms.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    lost: AtomicU64,
    rooms: watch::Sender<Option<Rooms>>,
}

/// Whose a seat and its connections are.
#[derive(Debug, Clone)]
pub(crate) struct Occupant {
    pub(crate) app: String,
    /// As people know it: `chat/0`.
    pub(crate) instance: String,
    pub(crate) generation: u64,
    /// Whom its processes run as.
    pub(crate) user: u32,
    /// Another tidelock has it now.
    pub(crate) is_anothers: Arc<AtomicBool>,
}

/// A connection of an instance.
#[derive(Debug)]
pub(super) struct Member {
    generation: u64,
    instance: String,
    counts: Arc<Counts>,
    queue: Mutex<Queue>,
    wakes: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// So many were lost since it last had room.
    lost: u64,
}

impl Counts {
    /// How many messages for the instance were lost, because it took them too slowly.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// What it says of its rooms, as soon as it does.
    pub(crate) fn rooms(&self) -> watch::Receiver<Option<Rooms>> {
        self.rooms.subscribe()
    }

    pub(super) fn note_rooms(&self, said: &[u8]) {
        if let Some(rooms) = Rooms::read(said) {
            self.rooms.send_if_modified(|before| before.replace(rooms.clone()) != Some(rooms));
        }
    }
}

impl Member {
    pub(super) fn new(occupant: &Occupant, counts: Arc<Counts>) -> Self {
        let Occupant { generation, instance, .. } = occupant.clone();
        Self { generation, instance, counts, queue: Mutex::default(), wakes: Notify::new() }
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Puts a frame behind those that wait for it; one for which there is no room is lost.
    pub(super) fn give(&self, frame: Frame) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = queue.bytes + frame.bytes().len() + FRAME_BYTES;
        if bytes > QUEUE_BYTES_MAX {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
            queue.lost += 1;
            if queue.lost == 1 {
                tracing::warn!(
                    event = "messages_lost",
                    app = self.instance,
                    "an instance does not read what the others say; {} MiB wait for it, and the rest is lost until it does",
                    QUEUE_BYTES_MAX >> 20
                );
            }
            return;
        }
        queue.bytes = bytes;
        queue.frames.push_back(frame);
        drop(queue);
        self.wakes.notify_one();
    }

    /// Writes what comes, until nobody reads it any more.
    pub(super) async fn write_all_to(&self, to: impl AsyncWrite + Unpin) {
        let mut to = BufWriter::with_capacity(WRITE_BYTES, to);
        loop {
            let Some(frame) = self.next() else {
                if to.flush().await.is_err() {
                    return;
                }
                self.wakes.notified().await;
                continue;
            };
            if to.write_all(frame.bytes()).await.is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<Frame> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let frame = queue.frames.pop_front();
        match &frame {
            Some(frame) => queue.bytes -= frame.bytes().len() + FRAME_BYTES,
            None if queue.lost > 0 => {
                let lost = std::mem::take(&mut queue.lost);
                tracing::warn!(
                    event = "messages_read_again",
                    app = self.instance,
                    lost,
                    "an instance reads again"
                );
            }
            None => {}
        }
        frame
    }
}

/// What may wait for one instance. It is shared with those for whom the same waits.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// What a frame takes beside its bytes.
const FRAME_BYTES: usize = 64;
const WRITE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn what_one_does_not_read_is_bounded_and_counted() {
        let counts = Arc::new(Counts::default());
        let occupant = Occupant {
            app: "chat".into(),
            instance: "chat/0".into(),
            generation: 1,
            user: 0,
            is_anothers: Arc::default(),
        };
        let member = Member::new(&occupant, counts.clone());
        let frame = Frame::left(2);
        let each = frame.bytes().len() + FRAME_BYTES;
        let fits = QUEUE_BYTES_MAX / each;
        for _ in 0..fits + 5 {
            member.give(frame.clone());
        }
        assert_eq!(counts.lost(), 5);
        let (to, mut from) = tokio::io::duplex(4096);
        let mut read = Vec::new();
        tokio::select! {
            () = member.write_all_to(to) => {}
            read = async {
                for _ in 0..fits {
                    let mut one = vec![0; frame.bytes().len()];
                    from.read_exact(&mut one).await.expect("it is written");
                    read.extend(one);
                }
                read.len()
            } => assert_eq!(read, fits * frame.bytes().len()),
        }
        member.give(frame);
        assert_eq!(counts.lost(), 5, "there is room again");
    }
}
