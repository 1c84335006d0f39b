//! Questions that wait for the answers of other nodes. An entry lives as long as its ticket.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use socketioxide_core::Sid;
use tokio::sync::{mpsc, oneshot};

use crate::{error::Error, message::Answer};

enum Waiting {
    /// For one answer of each node.
    Answers { expected: usize, answers: Vec<Answer>, done: oneshot::Sender<Vec<Answer>> },
    /// For counts and acknowledgements, as many as come.
    Acks(mpsc::Sender<Answer>),
}

#[derive(Default)]
pub(crate) struct Pending {
    waiting: Mutex<HashMap<String, Waiting>>,
    max: usize,
}

/// Holds a place in [`Pending`] and gives it back when dropped, however the asking future ends.
pub(crate) struct Ticket {
    pub(crate) id: String,
    pending: Arc<Pending>,
}

impl Pending {
    pub(crate) fn new(max: usize) -> Self {
        Self { waiting: Mutex::default(), max }
    }

    pub(crate) fn answers(
        self: &Arc<Self>,
        expected: usize,
    ) -> Result<(Ticket, oneshot::Receiver<Vec<Answer>>), Error> {
        let (done, all) = oneshot::channel();
        Ok((self.enter(Waiting::Answers { expected, answers: Vec::new(), done })?, all))
    }

    pub(crate) fn acks(self: &Arc<Self>, max: usize) -> Result<(Ticket, mpsc::Receiver<Answer>), Error> {
        let (each, acks) = mpsc::channel(max);
        Ok((self.enter(Waiting::Acks(each))?, acks))
    }

    fn enter(self: &Arc<Self>, waiting: Waiting) -> Result<Ticket, Error> {
        let mut all = self.lock();
        if all.len() >= self.max {
            return Err(Error::Busy);
        }
        let id = Sid::new().to_string();
        all.insert(id.clone(), waiting);
        Ok(Ticket { id, pending: self.clone() })
    }

    /// Late answers and answers to other nodes find no entry, which is their usual end.
    pub(crate) fn resolve(&self, id: &str, answer: Answer, acks_dropped: &AtomicU64) {
        let mut all = self.lock();
        let complete = match all.get_mut(id) {
            None => false,
            Some(Waiting::Acks(each)) => {
                if each.try_send(answer).is_err() {
                    acks_dropped.fetch_add(1, Relaxed);
                }
                false
            }
            Some(Waiting::Answers { expected, answers, .. }) => {
                answers.push(answer);
                answers.len() >= *expected
            }
        };
        if complete && let Some(Waiting::Answers { answers, done, .. }) = all.remove(id) {
            // The asker may have given up a moment ago.
            let _ = done.send(answers);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    /// How many nodes have answered.
    pub(crate) fn answered(&self) -> usize {
        match self.pending.lock().get(&self.id) {
            Some(Waiting::Answers { answers, .. }) => answers.len(),
            _ => 0,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.pending.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::Pending;
    use crate::{error::Error, message::Answer};
    use std::sync::{Arc, atomic::AtomicU64};

    #[test]
    fn an_entry_lives_as_long_as_its_ticket() {
        let pending = Arc::new(Pending::new(2));
        let lost = AtomicU64::new(0);
        let (ticket, mut all) = pending.answers(2).unwrap();
        let (acks_ticket, mut acks) = pending.acks(1).unwrap();
        assert!(matches!(pending.answers(1), Err(Error::Busy)));

        pending.resolve(&ticket.id, Answer::Done, &lost);
        assert_eq!(ticket.answered(), 1);
        assert!(all.try_recv().is_err());
        pending.resolve(&ticket.id, Answer::Done, &lost);
        assert_eq!(all.try_recv().unwrap().len(), 2);

        pending.resolve(&acks_ticket.id, Answer::ClientCount(1), &lost);
        pending.resolve(&acks_ticket.id, Answer::ClientCount(2), &lost);
        assert_eq!(acks.try_recv(), Ok(Answer::ClientCount(1)));
        assert_eq!(lost.into_inner(), 1);
        drop((ticket, acks_ticket));
        assert!(pending.lock().is_empty());
    }
}
