//! Reads `[drain]`, whose keys bound each other.

use super::declared::Written;
use super::fields::Fields;
use super::keys;
use crate::plan::Drain;
use crate::problem::Problem;

/// Reads the table. A window that is written must not be longer than the deadline; one that is left out never is.
pub(crate) fn read(fields: &Fields<'_>) -> Drain {
    let window = fields.readable(&keys::WINDOW);
    let deadline = fields.readable(&keys::DEADLINE);
    if fields.has(keys::WINDOW.name) && deadline.is_some_and(|deadline| window > Some(deadline)) {
        tell(fields);
    }
    let deadline = deadline.unwrap_or(keys::DEADLINE.absent.0);
    // Who writes only a short deadline has said nothing about the window.
    Drain { window: window.unwrap_or(keys::WINDOW.absent.0).min(deadline), deadline }
}

fn tell(fields: &Fields<'_>) {
    let problem = Problem::error(
        fields.span_of(keys::WINDOW.name),
        "`window` is longer than `deadline` lets anything last",
    );
    let deadline = fields.has(keys::DEADLINE.name).then(|| fields.span_of(keys::DEADLINE.name)).flatten();
    fields.push(match deadline {
        Some(deadline) => problem
            .related(deadline, "here everything ends")
            .hint("make `deadline` at least as long, or `window` shorter"),
        None => {
            let default = keys::DEADLINE.kind.written(&keys::DEADLINE.absent.0);
            problem.hint(format!("`deadline` is left out, and then {default}: write one that is as long"))
        }
    });
}
