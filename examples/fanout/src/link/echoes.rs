//! What of a pipeline without an answer has come back to this node as to any other: it was published, and must not be said again.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
};

use bytes::Bytes;

/// A few pipelines: what was published before may come back while the next one is on its way.
const MESSAGES_MAX: usize = 1024;
const BYTES_MAX: usize = 4 << 20;

/// This node's own messages, as they came back while a pipeline was on its way.
#[derive(Default)]
pub(crate) struct Echoes {
    listening: AtomicBool,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    bodies: VecDeque<Bytes>,
    bytes: usize,
}

impl Echoes {
    /// A pipeline leaves.
    pub(super) fn listen(&self) {
        self.listening.store(true, Release);
    }

    /// It was answered.
    pub(super) fn stop(&self) {
        self.listening.store(false, Release);
        *self.lock() = Heard::default();
    }

    pub(crate) fn are_wanted(&self) -> bool {
        self.listening.load(Acquire)
    }

    pub(crate) fn hear(&self, body: &Bytes) {
        let mut heard = self.lock();
        heard.bytes += body.len();
        heard.bodies.push_back(body.clone());
        while heard.bodies.len() > MESSAGES_MAX || heard.bytes > BYTES_MAX && heard.bodies.len() > 1 {
            let oldest = heard.bodies.pop_front();
            heard.bytes -= oldest.map_or(0, |body| body.len());
        }
    }

    /// Whether a message has come back. Each echo is that of one message: a node may say the same twice.
    pub(super) fn take(&self, body: &[u8]) -> bool {
        let mut heard = self.lock();
        let Some(at) = heard.bodies.iter().position(|echo| echo == body) else { return false };
        heard.bodies.remove(at);
        heard.bytes -= body.len();
        true
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Echoes, MESSAGES_MAX};
    use bytes::Bytes;

    #[test]
    fn an_echo_is_that_of_one_message() {
        let echoes = Echoes::default();
        echoes.listen();
        assert!(echoes.are_wanted());
        for body in ["tick", "tick", "tock"] {
            echoes.hear(&Bytes::from(body));
        }
        let taken = ["tick", "tick", "tick", "tock", "other"].map(|body| echoes.take(body.as_bytes()));
        assert_eq!(taken, [true, true, false, true, false]);
        echoes.hear(&Bytes::from("tick"));
        echoes.stop();
        assert!(!echoes.are_wanted() && !echoes.take(b"tick"), "of a pipeline that was answered");
    }

    #[test]
    fn echoes_are_bounded_and_the_newest_are_kept() {
        let echoes = Echoes::default();
        for n in 0..2 * MESSAGES_MAX {
            echoes.hear(&Bytes::from(n.to_string()));
        }
        assert!(!echoes.take(b"0") && echoes.take((2 * MESSAGES_MAX - 1).to_string().as_bytes()));
        let long = Bytes::from(vec![0; BYTES_MAX]);
        echoes.hear(&long);
        echoes.hear(&long);
        assert_eq!(echoes.lock().bodies.len(), 1);
        assert!(echoes.take(&long));
        assert_eq!(echoes.lock().bytes, 0);
    }
}
