//! The app's processes: started, made ready, watched, rolled and stopped. Knows nothing of the proxy: it publishes
//! which instances can be reached, and asks for one to be emptied before it stops it.
//!
//! [`Supervisor`] is the handle: it lives on the control thread, and everything that it is told is done by one task
//! there. What that task decides, it decides in pure functions of the state, an event and the time.
//!
//! # The leaves, in the order of an instance's life
//!
//! ```no_run
//! # async fn one(app: std::sync::Arc<config::app::App>) -> Result<(), Box<dyn std::error::Error>> {
//! use supervisor::{host::Host, process::{Launch, Process}, ready};
//! use config::roster::InstanceId;
//!
//! // Once: the private folder, the ports that are given out, the logs, and the keeper's program.
//! let host = Host::prepare()?;
//! // Looks everything up, starts the process under a keeper of its own, and lets its output run into the logs.
//! let id = InstanceId { slot: 0, generation: 1 };
//! let process = Process::start(&host, Launch { app: app.clone(), id }).await?;
//! // Where it was told to listen.
//! let _address = process.address();
//! // Both of these are cancel-safe; they race.
//! let deadline = tokio::time::Instant::now() + app.ready.deadline;
//! tokio::select! {
//!     is_ready = ready::until_ready(&process, &app.ready.when, deadline) => println!("at {}", is_ready?.address),
//!     ending = process.ended() => println!("it {ending}"),
//! }
//! // What it takes now, its descendants included.
//! let _usage = process.usage().await;
//! // Politely, then not; `ended` says when nothing of it is left. Dropping it kills it.
//! process.stop(&app.stop);
//! process.kill();
//! println!("it {}", process.ended().await);
//! # Ok(())
//! # }
//! ```

mod supervise;
mod verb;
mod progress;
mod status;
mod task;
mod machine;
mod triggers;
mod trust;
mod usage;
mod run_instance;
pub mod handover;
pub mod requests;
pub mod host;
pub mod ports;
pub mod privileges;
mod account;
mod environment;
mod preload;
pub mod process;
pub mod keeper;
pub mod process_table;
mod ipc;
mod bus;
pub mod ready;
mod candidates;
mod listen_diagnosis;
pub mod logs;
mod foresight;

pub use account::own_home;
pub use foresight::{Obstacle, obstacles, why_not_writable};
pub use progress::Progress;
pub use status::{AppState, AppStatus, InstanceState, InstanceStatus};
pub use supervise::{Options, Supervisor};
pub use verb::Verb;
