//! `[drain]`, whose keys bound each other.

use std::time::Duration;

use crate::file::declare::declare;
use crate::file::declared::Written;
use crate::file::fields::Fields;
use crate::file::kinds::Time;
use crate::problem::Problem;

declare! {
    /// How sessions leave. The window is never longer than the deadline.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Drain in DRAIN = "drain", One:
        "How sessions leave: those of a node that is drained or removed, and all of them when the proxy is told to stop.";
    keys {
        /// The sessions of what leaves are spread over so long, so that their clients do not all come back at once. Not longer
        /// than `deadline`, and as long as it when left out beside a shorter one.
        WINDOW window: Duration = Duration::from_secs(10), Time { least: Duration::ZERO, most: Duration::from_hours(24) };
        /// How long running requests and tunnels may take to finish.
        DEADLINE deadline: Duration = Duration::from_secs(30),
            Time { least: Duration::ZERO, most: Duration::from_hours(24) };
        /// How long `respond = "ready"` says no before anything else happens, when tidelock is told to end. Longer than a
        /// balancer in front needs to see it: its interval, times the failures that it waits for.
        ANNOUNCE announce: Duration = Duration::ZERO, Time { least: Duration::ZERO, most: Duration::from_hours(1) };
    }
}

impl Drain {
    /// Reads the table. A window that is written must not be longer than the deadline; one that is left out never is.
    pub(crate) fn checked(fields: &Fields<'_>) -> Self {
        let drain = Self::read(fields);
        let is_readable = [&WINDOW, &DEADLINE].into_iter().all(|key| fields.is_readable(key));
        if fields.has(WINDOW.name) && is_readable && drain.window > drain.deadline {
            tell(fields);
        }
        // Who writes only a short deadline has said nothing about the window.
        Self { window: drain.window.min(drain.deadline), ..drain }
    }
}

fn tell(fields: &Fields<'_>) {
    let problem =
        Problem::error(fields.span_of(WINDOW.name), "`window` is longer than `deadline` lets anything last");
    let deadline = fields.has(DEADLINE.name).then(|| fields.span_of(DEADLINE.name)).flatten();
    fields.push(match deadline {
        Some(deadline) => problem
            .related(deadline, "here everything ends")
            .hint("make `deadline` at least as long, or `window` shorter"),
        None => {
            let default = DEADLINE.kind.written(&DEADLINE.absent.0);
            problem.hint(format!("`deadline` is left out, and then {default}: write one that is as long"))
        }
    });
}
