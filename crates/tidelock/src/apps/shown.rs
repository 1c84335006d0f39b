//! What verbs for the background show and how they end.

use std::path::PathBuf;
use std::process::ExitCode;

use admin::api::Status;
use admin::client;

use crate::edit::Edit;
use crate::output::{self, tell};
use crate::{colour, table, verbs};

/// Where a browser finds an app.
pub(super) fn urls(edit: &Edit, app: &str) -> Vec<String> {
    edit.listens_of(app).iter().map(|address| url(edit, address)).collect()
}

pub(super) fn url(edit: &Edit, address: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or(("", address));
    let host = if ["", "0.0.0.0", "[::]", "*"].contains(&host) { "localhost" } else { host };
    let (scheme, usual) = if edit.is_tls(address) { ("https", "443") } else { ("http", "80") };
    if port == usual { format!("{scheme}://{host}") } else { format!("{scheme}://{host}:{port}") }
}

pub(super) fn status_of(paths: &[PathBuf]) -> Result<Status, String> {
    let runtime = verbs::runtime().map_err(|error| error.to_string())?;
    runtime.block_on(client::status(paths)).map_err(|problem| problem.to_string())
}

pub(super) fn there_are(names: &[&str]) -> String {
    if names.is_empty() { "there is none".to_owned() } else { format!("there are: {}", names.join(", ")) }
}

pub(super) fn show(status: &Status) {
    output::out(format_args!("{}", table::apps(status, colour::is_wanted(&std::io::stdout()))));
}

pub(super) fn ended(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tell!("{}", why.trim_end());
            ExitCode::FAILURE
        }
    }
}
