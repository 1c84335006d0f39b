//! `tidelock scale`: how many processes of an app there are to be.

use std::path::PathBuf;
use std::process::ExitCode;

use admin::api::{AppRequest, Status};
use admin::client::{self, Ask};

use super::shown::{ended, show};
use crate::change::Change;
use crate::edit::value;
use crate::verbs;

/// How many processes there are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    Exactly(u32),
    /// More than now, or fewer.
    By(i32),
    Max,
}

impl std::str::FromStr for Count {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a number from 1 to 1024, `+1`, `-1` or `max`";
        if text == "max" {
            return Ok(Self::Max);
        }
        if text.starts_with(['+', '-']) {
            return text.parse().map(Self::By).map_err(|_| wrong);
        }
        text.parse().ok().filter(|count| (1..=1024).contains(count)).map(Self::Exactly).ok_or(wrong)
    }
}

/// `tidelock scale APP N`: in the file, where it is ours, or else as long as that tidelock is told nothing else.
pub(crate) fn scale(app: &str, count: Count, socket: Option<PathBuf>) -> ExitCode {
    if socket.is_none()
        && let Ok(change) = Change::begin()
        && change.edit().is_ok_and(|edit| edit.apps().iter().any(|known| known == app))
        && change.running.is_some()
    {
        return ended(scale_in_file(change, app, count));
    }
    let paths = socket.map_or_else(admin::places::paths_to_ask, |path| vec![path]);
    let wanted = verbs::runtime().map_err(|error| error.to_string()).and_then(|runtime| {
        let status = runtime.block_on(client::status(&paths)).map_err(|problem| problem.to_string())?;
        wanted(&status, app, count)
    });
    match wanted {
        Ok(instances) => {
            let told =
                AppRequest { app: app.to_owned(), instances: Some(instances), ..AppRequest::default() };
            verbs::ask(&paths, &Ask::Scale(told))
        }
        Err(why) => ended(Err(why)),
    }
}

fn scale_in_file(change: Change, app: &str, count: Count) -> Result<(), String> {
    let mut edit = change.edit()?;
    let status = change.running.as_ref().map(|running| &running.status).ok_or("nothing runs")?;
    let said = match count {
        Count::Max => "max".to_owned(),
        count => wanted(status, app, count)?.to_string(),
    };
    edit.set(app, "instances", value(&said, false))?;
    let done = change.apply(&edit, &[app.to_owned()])?;
    show(&done.status);
    Ok(())
}

/// How many there are to be.
fn wanted(status: &Status, app: &str, count: Count) -> Result<u32, String> {
    let now = status.apps.iter().find(|known| known.name == app).map(|known| known.wanted);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let wanted = match (count, now) {
        (Count::Exactly(count), _) => return Ok(count),
        (Count::Max, _) => u32::try_from(cores).unwrap_or(1),
        (Count::By(more), Some(now)) => now.saturating_add_signed(more),
        // The running tidelock says which there are.
        (Count::By(_), None) => 1,
    };
    if (1..=1024).contains(&wanted) {
        Ok(wanted)
    } else {
        Err(format!(
            "{app} would have {wanted} processes; 1 to 1024 are possible, and `tidelock stop {app}` runs none"
        ))
    }
}
