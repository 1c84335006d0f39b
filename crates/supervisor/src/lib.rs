//! The app's processes: started, made ready, watched, rolled and stopped. Knows nothing of the proxy: it publishes
//! which instances can be reached, and asks for one to be emptied before it stops it.
//!
//! [`Supervisor`] is the handle: it lives on the control thread, and everything that it is told is done by one task
//! there. What that task decides, it decides in pure functions of the state, an event and the time.

mod status;
mod supervise;
pub mod wish;

pub use status::{AppState, AppStatus, InstanceState, InstanceStatus};
pub use supervise::{Options, Progress, Supervisor, Verb};
