//! The open-file limit, which bounds how many connections there can be.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The soft limit of most systems, 1024, is a courtesy to programs that use `select`; the hard one is meant.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, "the open-file limit stays as it is");
    }
}

/// RLIMIT_NOFILE of this process, the soft one.
pub(crate) fn files_max() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(1 << 20)
}
