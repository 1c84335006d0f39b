//! Gets the certificates that nobody brings: from an ACME authority (RFC 8555), renewed in time, or from an authority of this
//! machine's own. It speaks with the rest of tidelock by a folder: certificates and challenges are put there, and the data
//! plane, of this process and of others that share the folder, finds them.

mod failure;
mod http;
mod keep;
mod local;
mod order;
mod proof;
mod renewal;
mod state;
mod wanted;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::thread;

use config::plan::{Acme, Issuer, Plan};
use tokio::sync::watch;

use crate::wanted::{Seen, Wanted};

pub use local::{authority, authority_file};
pub use wanted::{Job, Now};

/// The certificates that are kept, on a thread of its own, for a disk may take its time. Ends with the process.
#[derive(Debug, Default)]
pub struct Certificates {
    /// Who tells the thread, once there is one.
    wanted: RefCell<Option<watch::Sender<Wanted>>>,
    seen: Arc<Seen>,
}

impl Certificates {
    /// Keeps what `plan` wants from now on. What has failed is tried again at once, unless the authority forbids it.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn want(&self, plan: &Plan) -> io::Result<()> {
        let next = Wanted::by(plan);
        if let Some(wanted) = &*self.wanted.borrow() {
            wanted.send_replace(next);
            return Ok(());
        }
        if !next.jobs.is_empty() {
            *self.wanted.borrow_mut() = Some(begin(next, self.seen.clone())?);
        }
        Ok(())
    }

    /// Keeps nothing any more: another tidelock does, or will.
    pub fn rest(&self) {
        self.wanted.borrow_mut().take();
    }

    /// How all of them stand.
    pub fn now(&self) -> BTreeMap<Job, Now> {
        self.seen.all().clone()
    }
}

fn begin(wanted: Wanted, seen: Arc<Seen>) -> io::Result<watch::Sender<Wanted>> {
    let (sender, receiver) = watch::channel(wanted);
    let keeping = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default());
        match runtime {
            Ok(runtime) => runtime.block_on(keep::keep(receiver, seen)),
            Err(error) => tracing::error!(event = "acme_failed", reason = %error, "no certificates are kept"),
        }
    };
    thread::Builder::new().name("tidelock-acme".to_owned()).spawn(keeping)?;
    Ok(sender)
}

/// Makes ready what has to be there before anything is served: the folders, and the certificates of this machine's own
/// authority, so that they are there for the first client.
///
/// # Errors
/// If they cannot be written.
pub fn prepare(plan: &Plan) -> io::Result<()> {
    let Wanted { acme, jobs, .. } = Wanted::by(plan);
    if jobs.iter().any(|job| job.issuer == Issuer::Acme) {
        prepare_challenges(&acme)?;
    }
    for job in jobs.iter().filter(|job| job.issuer == Issuer::Local) {
        local::issue(&acme, &job.host)?;
    }
    Ok(())
}

fn prepare_challenges(acme: &Acme) -> io::Result<()> {
    state::make_folder(&acme.http_challenges())?;
    state::make_folder(&acme.tls_challenges())
}
