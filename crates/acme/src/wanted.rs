//! What is wanted, and what has become of it so far: all that the rest of the program and the thread of certificates share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use config::plan::{Acme, Issuer, Plan, Scheme};

/// A certificate that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Job {
    /// Who makes it.
    pub issuer: Issuer,
    /// The name that it is for.
    pub host: String,
}

/// All that is wanted at a moment.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) acme: Acme,
    pub(crate) jobs: BTreeSet<Job>,
    /// Whether there is a listen without TLS, over which an authority may look.
    pub(crate) has_http: bool,
}

impl Wanted {
    pub(crate) fn by(plan: &Plan) -> Self {
        let mut jobs = BTreeSet::new();
        let mut has_http = false;
        for listen in &plan.listens {
            match &listen.scheme {
                Scheme::Plain | Scheme::RedirectToHttps { .. } => has_http = true,
                Scheme::Tls(_) => {}
                Scheme::Automatic { issuer, hosts } => {
                    jobs.extend(hosts.iter().map(|host| Job { issuer: *issuer, host: host.clone() }));
                }
            }
        }
        Self { acme: plan.acme.clone(), jobs, has_http }
    }
}

/// How a certificate that is wanted stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Now {
    /// When it is asked for next, in seconds since 1970.
    pub next_attempt: Option<i64>,
    /// Why the last attempt has failed, if it has.
    pub last_error: Option<String>,
}

/// How all of them stand.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<BTreeMap<Job, Now>>);

impl Seen {
    pub(crate) fn note(&self, job: &Job, note: impl FnOnce(&mut Now)) {
        note(self.all().entry(job.clone()).or_default());
    }

    pub(crate) fn retain(&self, jobs: &BTreeSet<Job>) {
        self.all().retain(|job, _| jobs.contains(job));
    }

    pub(crate) fn all(&self) -> MutexGuard<'_, BTreeMap<Job, Now>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
