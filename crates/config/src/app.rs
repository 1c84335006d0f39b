//! The apps of a plan: what the supervisor runs. Validated and immutable like the rest of the plan.

pub(crate) mod values;

pub use crate::file::sections::app::App;
pub use crate::file::sections::app::logs::Logs;
pub use crate::file::sections::app::restart::Restart;
pub use crate::file::sections::app::stop::Stop;
pub use crate::file::sections::app::watch::Watch;
pub use values::{ExitCodes, Instances, LogFormat, Port, Ready, ReadyWhen, Socket};

impl Restart {
    /// Whether a process that ends with this code has done what it was for. A process that is not started again
    /// anyway (`max = 0`) has done so by the code 0 as well, which `stop_exit_codes` need not name.
    #[must_use]
    pub fn is_done(&self, code: i32) -> bool {
        self.stop_exit_codes.contains(code) || (code == 0 && self.max == Some(0))
    }
}
