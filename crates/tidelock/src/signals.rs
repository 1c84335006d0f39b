//! The signals that mean something to us. A thread of its own waits for them, so that the second request to end is heard
//! whatever the control thread does.

use std::io;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use tokio::sync::watch;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM, SIGINT or SIGQUIT: end politely.
    Leave,
    /// SIGHUP: apply the changed file.
    Reload,
    /// SIGUSR1: open the access log again.
    Reopen,
    /// SIGUSR2: let another tidelock go on, of the program that is there now.
    Upgrade,
}

/// The signals as they come. From its creation on, only the second request to end ends the process by itself.
#[derive(Debug)]
pub(crate) struct Signals {
    told: watch::Receiver<Arrived>,
    seen: Arrived,
}

/// How many of each have come. Any number of the same kind may be taken for one, as the kernel itself does it.
#[derive(Debug, Clone, Copy, Default)]
struct Arrived {
    leave: u64,
    reload: u64,
    reopen: u64,
    upgrade: u64,
}

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        let all = [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2];
        let mut signals = signal_hook::iterator::Signals::new(all)?;
        let (tell, told) = watch::channel(Arrived::default());
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                let mut leave = 0;
                tell.send_modify(|told| {
                    match signal {
                        SIGHUP => told.reload += 1,
                        SIGUSR1 => told.reopen += 1,
                        SIGUSR2 => told.upgrade += 1,
                        _ => told.leave += 1,
                    }
                    leave = told.leave;
                });
                if leave == 2 {
                    demand_the_end();
                }
            }
        })?;
        Ok(Self { told, seen: Arrived::default() })
    }

    /// The next one. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Signal {
        loop {
            let told = *self.told.borrow_and_update();
            let seen = &mut self.seen;
            // Each second request to leave counts by itself: it asks for something else than the first.
            if told.leave > seen.leave {
                seen.leave += 1;
                return Signal::Leave;
            }
            if told.reload > seen.reload {
                seen.reload = told.reload;
                return Signal::Reload;
            }
            if told.reopen > seen.reopen {
                seen.reopen = told.reopen;
                return Signal::Reopen;
            }
            if told.upgrade > seen.upgrade {
                seen.upgrade = told.upgrade;
                return Signal::Upgrade;
            }
            if self.told.changed().await.is_err() {
                // The thread never ends by itself; without it no signal comes.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Gives what is under way a moment to end in order, and then ends the process, whatever it waits for. The apps' keepers
/// see that tidelock is gone and kill what they keep.
fn demand_the_end() {
    let ending = || {
        thread::sleep(LAST_MOMENT);
        signal_hook::low_level::exit(1);
    };
    if thread::Builder::new().name("end".into()).spawn(ending).is_err() {
        signal_hook::low_level::exit(1);
    }
}

/// From the second request to the end.
const LAST_MOMENT: Duration = Duration::from_secs(2);
