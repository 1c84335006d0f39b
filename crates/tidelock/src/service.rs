//! The service of systemd that serves the user's file, where there is one: asked for, started and stopped. Who writes its unit is
//! `startup`.

use std::process::Command;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::home::Home;

/// The unit as systemd calls it.
pub(crate) const NAME: &str = "tidelock.service";

/// A unit called [`NAME`], and whose it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Service {
    is_of_system: bool,
}

/// How far it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// It is not there, and nothing is under way.
    Ended,
}

impl Service {
    /// Of the user that this runs as, whether or not there is one.
    pub(crate) fn of_user() -> Self {
        Self { is_of_system: rustix::process::geteuid().is_root() }
    }

    pub(crate) fn is_of_system(self) -> bool {
        self.is_of_system
    }

    /// The one that serves the file of `home` from boot on, if there is one and systemd can be asked.
    pub(crate) fn serving(home: &Home) -> Option<Self> {
        let service = Self::of_user();
        let said = service.systemctl(&["show", "--property=UnitFileState,ExecStart", NAME]).ok()?;
        let is_enabled = said.lines().any(|line| line == "UnitFileState=enabled");
        let file = format!(" {} ;", home.file.display());
        let is_it = said.lines().any(|line| line.starts_with("ExecStart=") && line.contains(&file));
        (is_enabled && is_it).then_some(service)
    }

    /// How a person asks for its state.
    pub(crate) fn status_command(self) -> &'static str {
        if self.is_of_system { "systemctl status tidelock" } else { "systemctl --user status tidelock" }
    }

    pub(crate) fn start(self) -> Result<(), String> {
        // What has failed too often in a row would be refused, and the file is another one by now.
        let _ = self.systemctl(&["reset-failed", NAME]);
        // What comes of it is waited for elsewhere: `systemctl` would wait until it serves, and would not say why it does not.
        self.systemctl(&["start", "--no-block", NAME]).map(drop)
    }

    /// Without this it would be started again and again.
    pub(crate) fn stop(self) {
        let _ = self.systemctl(&["stop", NAME]);
    }

    pub(crate) fn state(self) -> State {
        let asked = ["show", "--property=ActiveState,SubState,Job", NAME];
        let said = self.systemctl(&asked).unwrap_or_default();
        let is = |line: &str| said.lines().any(|said| said == line);
        // One that waits for its turn is not ended.
        let is_queued =
            said.lines().any(|line| line.strip_prefix("Job=").is_some_and(|job| !["", "0"].contains(&job)));
        let is_ended = is("ActiveState=failed") || is("ActiveState=inactive") || is("SubState=auto-restart");
        if is_ended && !is_queued { State::Ended } else { State::Running }
    }

    /// The last that it said, as far as the journal can be read.
    pub(crate) fn last_lines(self) -> String {
        let mut command = Command::new("journalctl");
        if !self.is_of_system {
            command.arg("--user");
        }
        command.args(["--unit", NAME, "--lines", "10", "--output", "cat", "--quiet", "--no-pager"]);
        run(self.with_bus(&mut command)).unwrap_or_default()
    }

    /// Says `words` to systemd; gives back what it answered.
    pub(crate) fn systemctl(self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new("systemctl");
        if !self.is_of_system {
            command.arg("--user");
        }
        run(self.with_bus(command.args(words)))
    }

    /// cron and `su` do not say where the user's systemd is.
    fn with_bus(self, command: &mut Command) -> &mut Command {
        let is_set = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|folder| !folder.is_empty());
        if self.is_of_system || is_set {
            return command;
        }
        let user = rustix::process::geteuid().as_raw();
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{user}"))
    }
}

/// Waits until `is_there` says so, as long as the service runs. `Err` is that it has ended.
pub(crate) fn wait<T>(
    runtime: &Runtime,
    service: Service,
    mut is_there: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let mut looks = 0_u32;
    loop {
        if let Some(found) = is_there() {
            return Ok(found);
        }
        // A process for each question, which is not worth it at every look.
        if looks % STATE_EVERY == STATE_EVERY - 1 && service.state() == State::Ended {
            return Err(format!(
                "{}\nthe service has ended; `{}` says more",
                service.last_lines().trim_end(),
                service.status_command()
            ));
        }
        looks = looks.wrapping_add(1);
        runtime.block_on(async { sleep(LOOK_AGAIN).await });
    }
}

/// Runs a program to its end; gives back what it printed.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let shown = format!("{command:?}").replace('"', "");
    let output = command.output().map_err(|error| format!("`{shown}`: {error}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("`{shown}`: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

const LOOK_AGAIN: Duration = Duration::from_millis(20);
const STATE_EVERY: u32 = 10;
