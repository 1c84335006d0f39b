//! What the file says about an app has changed: what has to be done for it.

use std::sync::Arc;

use config::app::App;

use super::aims::Kind;
use super::slot::{Slot, Spec};
use super::{AppMachine, Mode, StepOutput};

impl AppMachine {
    pub(super) fn change(&mut self, app: Arc<App>, output: &mut StepOutput) -> Kind {
        let was_removed = self.mode == Mode::Removed;
        let (written, before) = (self.written(&app), self.written(&self.spec.app));
        let kind = if was_removed || self.mode == Mode::Stopped {
            // Nothing runs that would have to be replaced, or it is leaving already.
            self.become_now(app);
            if was_removed { Kind::Up { after: 0, only: None } } else { Kind::Done }
        } else if self.goes_back_to(&app) {
            self.fail_roll("the file says again what it said before", output);
            self.take_over(app);
            Kind::Done
        } else if starts_otherwise(&self.spec.app, &app) {
            Kind::Rolled { revision: self.begin_roll(app, None, output) }
        } else {
            self.take_over(app);
            Kind::Done
        };
        if was_removed {
            self.mode = Mode::On;
            self.slots.values_mut().for_each(Slot::reset_backoff);
        }
        // A number that was set by `scale` stays until the file has something new to say about it.
        if written != before || was_removed {
            self.scale(written, output);
            return if kind == Kind::Done { Kind::Scaled } else { kind };
        }
        kind
    }

    /// The file was changed, that did not work, and it was changed back.
    fn goes_back_to(&self, app: &App) -> bool {
        self.roll.as_ref().is_some_and(|roll| !roll.is_proven && !starts_otherwise(&roll.before.app, app))
    }

    /// The next starts are of a new revision, without a roll.
    fn become_now(&mut self, app: Arc<App>) {
        self.revision_last += 1;
        self.spec = Spec { revision: self.revision_last, app };
        for slot in self.slots.values_mut() {
            slot.spec = self.spec.clone();
        }
    }

    /// The same revision, looked after otherwise.
    fn take_over(&mut self, app: Arc<App>) {
        let revision = self.spec.revision;
        for slot in self.slots.values_mut() {
            for spec in slot.runs_mut().map(|run| &mut run.spec).filter(|spec| spec.revision == revision) {
                spec.app = app.clone();
            }
            if slot.spec.revision == revision {
                slot.spec.app = app.clone();
            }
        }
        self.spec.app = app;
    }
}

/// Whether a process would be started in another way; all else is between tidelock and itself. Without `..`, so
/// that whoever adds a key has to decide.
fn starts_otherwise(old: &App, new: &App) -> bool {
    let of = |app: &App| {
        let App {
            name: _,
            command,
            args,
            shown: _,
            cwd,
            env,
            env_file,
            user,
            group,
            no_new_privs,
            instances: _,
            fanout,
            port,
            ports,
            socket,
            ready,
            stop,
            restart: _,
            memory_max: _,
            cron: _,
            watch: _,
            logs: _,
        } = app.clone();
        // Whether there is a channel of PM2's kind is decided at the start.
        let is_told = ready.when == config::app::ReadyWhen::Message || stop.tell;
        let argv = [command, args].concat();
        (argv, cwd, env, env_file, (user, group, no_new_privs), (port, ports, socket), fanout, is_told)
    };
    of(old) != of(new)
}
