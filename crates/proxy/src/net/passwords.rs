//! Passwords are verified on threads of their own, for each takes longer than a thousand requests. A good one is known by a keyed
//! digest for a while, so that this is done once and not with each request; those that are wrong wait in lines that are
//! served in turn.

mod hashes;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use config::routing::StoredPassword;
use siphasher::sip128::{Hasher128, SipHasher24};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::net::fair_queue::FairQueue;
use crate::net::places::ClientKey;
use crate::net::secret_key;

/// All that is known of passwords, and who verifies others.
pub(crate) struct Verifier {
    key: [u8; 16],
    /// By the digest, so that workers seldom wait for each other.
    known: [Mutex<Known>; SHARDS],
    work: Arc<Work>,
}

/// A password as it was sent, and what it should be.
#[derive(Clone, Copy, Hash)]
pub(crate) struct Claim<'a> {
    pub(crate) password: &'a [u8],
    pub(crate) stored: &'a StoredPassword,
    /// Whether there is such a user. It takes as long to find out if there is not.
    pub(crate) is_known: bool,
}

/// The same, for as long as it takes.
struct Job {
    password: Vec<u8>,
    stored: StoredPassword,
    is_known: bool,
}

/// What becomes of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Right,
    Wrong,
    /// There is too much to do.
    Busy,
}

/// Good ones, and until when they are.
#[derive(Default)]
struct Known(HashMap<u128, Instant>);

/// What is to be done, and who waits for it.
struct Work {
    state: Mutex<WorkState>,
    is_there_more: Condvar,
}

struct WorkState {
    queue: FairQueue<(u128, Job)>,
    /// Several wait for one: clients begin with many requests at once.
    waiting: HashMap<u128, Vec<oneshot::Sender<Verdict>>>,
    threads: usize,
}

impl Verifier {
    pub(crate) fn new() -> Self {
        let state = WorkState { queue: FairQueue::new(QUEUE_MAX), waiting: HashMap::new(), threads: 0 };
        Self {
            key: secret_key::draw(),
            known: std::array::from_fn(|_| Mutex::default()),
            work: Arc::new(Work { state: Mutex::new(state), is_there_more: Condvar::new() }),
        }
    }

    /// Verifies what a client claims. Cancel-safe: somebody else may wait for the same.
    pub(crate) async fn verify(&self, claim: Claim<'_>, client: ClientKey, now: Instant) -> Verdict {
        let digest = self.digest(claim);
        let known = &self.known[digest as usize % SHARDS];
        if claim.is_known && lock(known).0.get(&digest).is_some_and(|until| now < *until) {
            return Verdict::Right;
        }
        let Some(verdict) = self.work.add(digest, claim, client) else { return Verdict::Busy };
        let verdict = tokio::time::timeout(TIMEOUT, verdict).await;
        let verdict = verdict.ok().and_then(Result::ok).unwrap_or(Verdict::Busy);
        if verdict == Verdict::Right {
            lock(known).keep(digest, now);
        }
        verdict
    }

    /// What a claim is known by, to this process alone. It is another one when another password is stored.
    fn digest(&self, claim: Claim<'_>) -> u128 {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        claim.hash(&mut hasher);
        hasher.finish128().as_u128()
    }
}

impl Known {
    fn keep(&mut self, digest: u128, now: Instant) {
        if self.0.len() >= KNOWN_MAX / SHARDS {
            self.0.retain(|_, until| now < *until);
        }
        // Where so many are good at once, another one is verified again next time.
        if self.0.len() < KNOWN_MAX / SHARDS {
            self.0.insert(digest, now + KNOWN_FOR);
        }
    }
}

impl Work {
    /// Puts a claim into its client's line, unless somebody waits for the same already. `None` if there is no room, nor a thread.
    fn add(
        self: &Arc<Self>,
        digest: u128,
        claim: Claim<'_>,
        client: ClientKey,
    ) -> Option<oneshot::Receiver<Verdict>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = lock(&self.state);
        if let Some(waiting) = state.waiting.get_mut(&digest) {
            // Who asks for the same again and again, and leaves each time, must not fill the memory.
            if waiting.len() >= QUEUE_MAX {
                waiting.retain(|waiting| !waiting.is_closed());
            }
            if waiting.len() >= QUEUE_MAX {
                return None;
            }
            waiting.push(sender);
            return Some(receiver);
        }
        state.waiting.insert(digest, vec![sender]);
        let Claim { password, stored, is_known } = claim;
        let job = Job { password: password.to_vec(), stored: stored.clone(), is_known };
        if let Some((dropped, _)) = state.queue.push(client, (digest, job)) {
            state.tell(dropped, Verdict::Busy);
        }
        let is_wanted = state.threads < threads_max();
        if is_wanted && self.start() {
            state.threads += 1;
        }
        let has_threads = state.threads > 0;
        drop(state);
        self.is_there_more.notify_one();
        has_threads.then_some(receiver)
    }

    /// One more thread. They stay: whoever has one route with passwords needs them again.
    fn start(self: &Arc<Self>) -> bool {
        let work = self.clone();
        std::thread::Builder::new().name("passwords".to_owned()).spawn(move || work.run()).is_ok()
    }

    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            let Some((digest, job)) = state.queue.pop() else {
                state = self.is_there_more.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            // Who has left does not have it done.
            if state.waiting.get(&digest).is_none_or(|waiting| waiting.iter().all(oneshot::Sender::is_closed))
            {
                state.waiting.remove(&digest);
                continue;
            }
            drop(state);
            let is_right = hashes::is_right(&job.password, &job.stored) && job.is_known;
            state = lock(&self.state);
            state.tell(digest, if is_right { Verdict::Right } else { Verdict::Wrong });
        }
    }
}

impl WorkState {
    fn tell(&mut self, digest: u128, verdict: Verdict) {
        for waiting in self.waiting.remove(&digest).into_iter().flatten() {
            // Who has left is not told.
            let _ = waiting.send(verdict);
        }
    }
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// Nothing in there is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Half of the cores, so that the workers have the others.
fn threads_max() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 4)
}

/// A password that is taken out of the file counts no longer from the reload on, whatever this is.
const KNOWN_FOR: Duration = Duration::from_mins(5);
/// 32 bytes each.
const KNOWN_MAX: usize = 1 << 14;
const SHARDS: usize = 16;
/// Beyond it whoever wants most is told to come again.
const QUEUE_MAX: usize = 1024;
/// Nobody waits longer for a line that does not move.
const TIMEOUT: Duration = Duration::from_secs(10);
