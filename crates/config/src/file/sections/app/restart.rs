//! `[app.NAME.restart]`.

use std::time::Duration;

use crate::app::values::ExitCodes;
use crate::file::declare::declare;
use crate::file::fields::Fields;
use crate::file::kinds::app::ExitCodeList;
use crate::file::kinds::{Count, OrNone, Time};
use crate::problem::Problem;

declare! {
    /// What happens when an instance ends by itself. The longest pause is never shorter than the shortest.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Restart in RESTART = "restart", One: "What happens when a process ends by itself.";
    keys {
        /// The pause before the first start again. It is doubled with each that follows, and a part of it is chance.
        PAUSE_MIN pause_min: Duration = Duration::from_millis(100),
            Time { least: Duration::ZERO, most: Duration::from_hours(1) };
        /// The longest pause. Not shorter than `pause_min`, and as long as it when left out beside a longer one.
        PAUSE_MAX pause_max: Duration = Duration::from_secs(15),
            Time { least: Duration::ZERO, most: Duration::from_hours(1) };
        /// A process that has run for so long begins again with the first pause.
        STABLE stable: Duration = Duration::from_secs(30),
            Time { least: Duration::from_millis(100), most: Duration::from_hours(24) };
        /// So many starts again in a row without a stable time, and it is given up; or "none": never.
        MAX max: Option<u32> = None, OrNone<Count>(Count { least: 0, most: 1_000_000 });
        /// A process that ends with one of these codes has finished, and is started again by `cron`, a reload or a start, not
        /// by itself. With `max = 0` 0 is one of them.
        STOP_EXIT_CODES stop_exit_codes: ExitCodes = ExitCodes::NONE, ExitCodeList;
    }
}

impl Restart {
    /// Reads the table. A longest pause that is left out is as long as the shortest.
    pub(crate) fn checked(fields: &Fields<'_>) -> Self {
        let restart = Self::read(fields);
        if fields.has(PAUSE_MAX.name) && restart.pause_max < restart.pause_min {
            fields.push(
                Problem::error(fields.span_of(PAUSE_MAX.name), "`pause_max` is shorter than `pause_min`")
                    .hint("make it at least as long"),
            );
        }
        Self { pause_max: restart.pause_max.max(restart.pause_min), ..restart }
    }
}
