//! What the apps write: line by line into a ring for each instance, to whoever follows, into files of bounded size,
//! and, in the foreground, to tidelock's own output.
//!
//! The pipes are read on a thread of its own that waits for nobody, so that neither a full disk nor a slow reader nor
//! a stopped terminal stops an app. Whoever does not keep up loses lines, and is told how many.

mod echo;
mod files;
mod folder;
mod lines;
mod queue;
mod readers;
mod ring;

use std::io;
use std::sync::Arc;

use crate::account::Account;
use crate::process::launch::Launch;

pub use echo::Echo;
pub use lines::{Line, Stream};
pub use readers::{LogSelector, READERS_MAX, Reader, Said};
pub(crate) use readers::{Output, Read};

/// The logs of all apps. Clones are the same logs.
#[derive(Debug, Clone)]
pub struct Logs {
    keeping: Arc<readers::Keeping>,
}

impl Logs {
    pub(crate) fn start(echo: Option<Echo>) -> io::Result<Self> {
        Ok(Self { keeping: Arc::new(readers::Keeping::start(echo)?) })
    }

    /// Reads the output of a process from now to its end; `account` is whom it runs as, if not as tidelock does.
    pub(crate) fn follow(&self, launch: &Launch, account: Option<Account>, output: Output) -> Read {
        self.keeping.follow(launch, account, output)
    }

    /// The last `lines` lines of those that are meant, oldest first, and then, if `follow`, each line as it is
    /// written. `None` if more readers are there than is good ([`READERS_MAX`]).
    #[must_use]
    pub fn read(&self, which: &LogSelector, lines: usize, follow: bool) -> Option<Reader> {
        self.keeping.read(which, lines, follow)
    }

    /// Forgets what was written until now: the lines in memory, and those in files.
    pub fn flush(&self, which: &LogSelector) {
        self.keeping.flush(which);
    }

    /// Forgets the lines in memory of an app that is no more. Its files stay.
    pub fn forget(&self, app: &str) {
        self.keeping.forget(app);
    }
}
