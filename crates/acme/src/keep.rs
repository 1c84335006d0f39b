//! Keeps the certificates of all hosts: gets what is missing, renews what ends, and tries again what failed.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use config::plan::{Acme, Issuer};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout};

use crate::failure::Failure;
use crate::http::noting_refusals;
use crate::local;
use crate::order::{Attempt, Authority, seconds};
use crate::renewal;
use crate::state::{Held, Lock, Record};
use crate::wanted::{Job, Seen, Wanted};

/// What one host needs.
struct Kept {
    task: JoinHandle<()>,
    nudge: Rc<Notify>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Keeps what is wanted, for as long as somebody wants anything.
pub(crate) async fn keep(mut wanted: watch::Receiver<Wanted>, seen: Arc<Seen>) {
    let mut kept: HashMap<Job, Kept> = HashMap::new();
    let mut before: Option<(Acme, bool)> = None;
    // An authority is asked for a few at a time.
    let turns = Rc::new(Semaphore::new(ORDERS_AT_ONCE));
    let mut authority = None;
    loop {
        let now = wanted.borrow_and_update().clone();
        let settings = (now.acme.clone(), now.has_http);
        if before.as_ref() != Some(&settings) {
            kept.clear();
            before = Some(settings);
            authority = None;
        }
        let mut is_without = false;
        kept.retain(|job, _| now.jobs.contains(job));
        seen.retain(&now.jobs);
        for job in &now.jobs {
            if let Some(kept) = kept.get(job) {
                kept.nudge.notify_one();
                continue;
            }
            let nudge = Rc::new(Notify::new());
            let host = job.host.clone();
            let task = match job.issuer {
                Issuer::Local => spawn_local(keep_local(now.acme.clone(), host, seen.clone())),
                Issuer::Acme => {
                    let made = authority.get_or_insert_with(|| Authority::new(&now.acme, now.has_http));
                    match made {
                        Ok(authority) => {
                            let (authority, job, seen) = (authority.clone(), job.clone(), seen.clone());
                            let host = Host { authority, job, seen, record: Record::default() };
                            spawn_local(host.keep(nudge.clone(), turns.clone()))
                        }
                        Err(failure) => {
                            tracing::error!(event = "acme_failed", host, reason = %failure, "no certificates can be got");
                            seen.note(job, |now| now.last_error = Some(failure.to_string()));
                            is_without = true;
                            continue;
                        }
                    }
                }
            };
            kept.insert(job.clone(), Kept { task, nudge });
        }
        if is_without {
            // A disk that is full, or a file that is not there, may be so no more in a while.
            authority = None;
            if matches!(timeout(WITHOUT_AUTHORITY, wanted.changed()).await, Ok(Err(_))) {
                return;
            }
        } else if wanted.changed().await.is_err() {
            return;
        }
    }
}

async fn keep_local(acme: Acme, host: String, seen: Arc<Seen>) {
    let job = Job { issuer: Issuer::Local, host };
    loop {
        let pause = match local::issue(&acme, &job.host) {
            Ok(next) => {
                seen.note(&job, |now| (now.next_attempt, now.last_error) = (Some(next), None));
                next - seconds(SystemTime::now())
            }
            Err(error) => {
                tracing::error!(event = "acme_failed", host = job.host, reason = %error, "no certificate can be made");
                seen.note(&job, |now| now.last_error = Some(error.to_string()));
                LOCAL_AGAIN_S
            }
        };
        sleep(for_a_while(pause)).await;
    }
}

/// One host of an authority.
struct Host {
    authority: Arc<Authority>,
    job: Job,
    seen: Arc<Seen>,
    /// What is remembered, also where the disk is full.
    record: Record,
}

impl Host {
    async fn keep(mut self, nudge: Rc<Notify>, turns: Rc<Semaphore>) {
        // A start is as good as being asked.
        let mut is_nudged = true;
        loop {
            let now = seconds(SystemTime::now());
            let held = self.look();
            let next = self.next_attempt(held.as_ref(), renewal::Asked { now, is_nudged });
            if next <= now {
                let Ok(turn) = turns.acquire().await else { return };
                match self.authority.lock(&self.job.host) {
                    Ok(Some(lock)) => self.attempt(&lock, is_nudged).await,
                    Ok(None) => {
                        // Another tidelock is at it, and what it gets is seen here.
                        drop(turn);
                        sleep(ANOTHER_IS_AT_IT).await;
                        continue;
                    }
                    Err(failure) => self.remember_failure(failure),
                }
                is_nudged = false;
                continue;
            }
            is_nudged = false;
            let mut wait = next - now;
            if let Some(held) = held {
                if self.record.ask_again_at <= now {
                    self.ask_for_window(&held, now).await;
                    continue;
                }
                wait = wait.min(self.record.ask_again_at - now);
            }
            is_nudged |= timeout(for_a_while(wait), nudge.notified()).await.is_ok();
        }
    }

    /// What there is, and what is remembered: here, or by another tidelock that has tried since.
    fn look(&mut self) -> Option<Held> {
        let on_disk = Record::read(&self.authority.record_file(&self.job.host));
        if on_disk.last_attempt >= self.record.last_attempt {
            self.record = on_disk;
        }
        Held::read(&self.authority.certificate_file(&self.job.host))
    }

    fn next_attempt(&self, held: Option<&Held>, asked: renewal::Asked) -> i64 {
        let next = renewal::next_attempt(&self.job.host, held, &self.record, asked);
        let error = self.record.last_error.clone().filter(|_| self.record.failures > 0);
        self.seen.note(&self.job, |seen| (seen.next_attempt, seen.last_error) = (Some(next), error));
        next
    }

    /// Gets the certificate, unless another tidelock had it in the meantime.
    async fn attempt(&mut self, _only_one: &Lock, is_nudged: bool) {
        let held = self.look();
        let now = seconds(SystemTime::now());
        if self.next_attempt(held.as_ref(), renewal::Asked { now, is_nudged }) > now {
            return;
        }
        let host = self.job.host.clone();
        // A process that is killed in the midst of it, over and over, must not be a burden to the authority; nor one that can
        // keep nothing of what it gets.
        let before = self.record.clone();
        renewal::failed(&mut self.record, "the attempt was cut short".to_owned(), now, None);
        let written = self.record.write(&self.authority.record_file(&host));
        self.record = Record { last_attempt: now, ..before };
        if let Err(error) = written {
            return self.remember_failure(error.into());
        }
        tracing::info!(event = "acme_began", host, "asking the authority for a certificate");
        let attempt = Attempt { host: &host, number: self.record.failures, held: held.as_ref() };
        let late = || Failure::new(format!("it takes more than {} s", ATTEMPT_WITHIN.as_secs()));
        let mut obtained = timeout(ATTEMPT_WITHIN, noting_refusals(self.authority.obtain(&attempt))).await;
        // A nonce that was good is refused now and then, which says nothing of the name (RFC 8555 section 6.5).
        for _ in 0..NONCES_REFUSED_MAX {
            if !matches!(&obtained, Ok(Err(failure)) if failure.is("badNonce")) {
                break;
            }
            obtained = timeout(ATTEMPT_WITHIN, noting_refusals(self.authority.obtain(&attempt))).await;
        }
        match obtained.unwrap_or_else(|_| Err(late())) {
            Ok(()) => {
                tracing::info!(event = "acme_obtained", host, "got a certificate");
                self.record = Record { last_attempt: seconds(SystemTime::now()), ..Record::default() };
                self.write_record();
            }
            Err(failure) => self.remember_failure(failure),
        }
    }

    fn remember_failure(&mut self, failure: Failure) {
        let now = seconds(SystemTime::now());
        let Failure { message, retry_at, .. } = failure;
        renewal::failed(&mut self.record, message, now, retry_at);
        let (host, again_in_s) = (&self.job.host, self.record.next_attempt - now);
        let reason = self.record.last_error.as_deref().unwrap_or_default();
        tracing::error!(event = "acme_failed", host, again_in_s, reason, "no certificate was got");
        self.write_record();
    }

    /// Asks the authority when it wants the certificate to be renewed.
    async fn ask_for_window(&mut self, held: &Held, now: i64) {
        let asked = timeout(ATTEMPT_WITHIN, noting_refusals(self.authority.renewal_window(held))).await;
        match asked.unwrap_or_else(|_| Err(Failure::new("it takes too long"))) {
            Ok((start, end, again_in)) => {
                let is_known = self.record.renews_not_after == held.not_after
                    && self.record.renew_at.is_some_and(|at| (start..=end.max(start)).contains(&at));
                if !is_known {
                    self.record.renew_at = Some(renewal::within(start, end));
                    self.record.renews_not_after = held.not_after;
                }
                let again_in = i64::try_from(again_in.as_secs()).unwrap_or(i64::MAX);
                self.record.ask_again_at = now + again_in.clamp(ASKS_AGAIN_S.0, ASKS_AGAIN_S.1);
            }
            Err(failure) => {
                // Many do not know of it.
                tracing::debug!(host = self.job.host, reason = %failure, "the authority does not say when to renew");
                self.record.ask_again_at = now + NOT_SAID_AGAIN_S;
            }
        }
        self.write_record();
    }

    fn write_record(&self) {
        if let Err(error) = self.record.write(&self.authority.record_file(&self.job.host)) {
            tracing::warn!(host = self.job.host, %error, "what became of the attempt is remembered by this process alone");
        }
    }
}

/// The clock of the wall may be put right meanwhile.
fn for_a_while(wait_s: i64) -> Duration {
    Duration::from_secs(u64::try_from(wait_s).unwrap_or(0)).clamp(WAITS.0, WAITS.1)
}

const ORDERS_AT_ONCE: usize = 4;
const NONCES_REFUSED_MAX: u32 = 3;
/// Longer than an authority and a program for the DNS may take together.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(1200);
const ANOTHER_IS_AT_IT: Duration = Duration::from_secs(5);
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// How often an authority is asked for the time of a renewal: from ten minutes to a day.
const ASKS_AGAIN_S: (i64, i64) = (600, 86_400);
const NOT_SAID_AGAIN_S: i64 = 3600;
const LOCAL_AGAIN_S: i64 = 60;
const WITHOUT_AUTHORITY: Duration = Duration::from_secs(60);
