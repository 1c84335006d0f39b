//! Holds this node back for subscribers that do not keep up. Redis takes what is published as fast as it comes, keeps for each
//! subscriber what that one has not read, and cuts it off at 32 MB (`client-output-buffer-limit pubsub`), which is a gap. A
//! loop of emits gets there in a second if the other nodes have less of the processor than this one.

use std::time::Duration;

use redis::Value;
use tokio::time::{Instant, sleep};

use super::{Shared, connection::Connection, patiently};
use crate::stats::Side;

/// What may wait in Redis for the slowest subscriber: a quarter of what it keeps.
const BEHIND_MAX: u64 = 8 << 20;

/// Bytes published between two looks, and how many times the length of Redis' answer at least: it names every subscriber.
const LOOK_BYTES: usize = 1 << 20;
const LOOK_ANSWERS: usize = 16;

const PAUSE: Duration = Duration::from_millis(2);

pub(super) struct Pace {
    published: usize,
    look_after: usize,
    /// What is left of [`Options::slow_wait_max`](crate::Options::slow_wait_max). It is given back when all have caught up: one
    /// node that hangs may hold up the others once.
    patience: Duration,
}

impl Pace {
    pub(super) fn new(patience: Duration) -> Self {
        // Without patience there is nothing to look for.
        let look_after = if patience.is_zero() { usize::MAX } else { LOOK_BYTES };
        Self { published: 0, look_after, patience }
    }

    /// Waits until the slowest subscriber is near enough, or patience is over.
    pub(super) async fn keep(&mut self, shared: &Shared, connection: &mut Connection, published: usize) {
        self.published = self.published.saturating_add(published);
        if self.published < self.look_after {
            return;
        }
        self.published = 0;
        let began = Instant::now();
        let mut list = redis::cmd("CLIENT");
        list.arg("LIST").arg("TYPE").arg("pubsub");
        loop {
            let Connection::One(_) = connection else { return };
            let Some(text) =
                patiently(shared, Side::Publisher, connection.query(&list)).await.ok().and_then(text)
            else {
                // It may not ask, or there is no such question. If the connection is lost, the next message finds out.
                self.look_after = usize::MAX;
                return;
            };
            self.look_after = LOOK_BYTES.max(text.len() * LOOK_ANSWERS);
            if furthest_behind(&text) < BEHIND_MAX {
                self.patience = shared.options.slow_wait_max;
                return;
            }
            if began.elapsed() >= self.patience {
                self.patience = Duration::ZERO;
                return;
            }
            sleep(PAUSE).await;
        }
    }
}

fn text(answer: Value) -> Option<Vec<u8>> {
    match answer {
        Value::BulkString(text) => Some(text),
        Value::VerbatimString { text, .. } => Some(text.into_bytes()),
        _ => None,
    }
}

/// The most that waits for one client: `omem` in a line for each.
fn furthest_behind(list: &[u8]) -> u64 {
    let behind = memchr::memmem::find_iter(list, b" omem=").map(|at| {
        let digits = list[at + 6..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
    });
    behind.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::furthest_behind;

    #[test]
    fn the_slowest_of_a_list_is_found() {
        let list = "id=3 addr=127.0.0.1:1 name= qbuf=0 obl=0 oll=2 omem=41000 tot-mem=63000 cmd=psubscribe\n\
                    id=4 addr=127.0.0.1:2 name= qbuf=0 obl=0 oll=900 omem=20504000 tot-mem=1 cmd=subscribe\n";
        assert_eq!(furthest_behind(list.as_bytes()), 20_504_000);
        assert_eq!(furthest_behind(b""), 0);
        assert_eq!(furthest_behind(b"id=1 omem=99999999999999999999999\n"), u64::MAX);
    }
}
