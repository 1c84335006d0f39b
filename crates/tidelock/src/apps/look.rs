//! What runs in the background, as a person looks at it: all apps, one of them, its environment.

use std::path::PathBuf;
use std::process::ExitCode;

use admin::api::{App, Status};

use super::shown::{ended, show, status_of, there_are, urls};
use crate::edit::Edit;
use crate::output::{self, say, tell};
use crate::{colour, environment, table};

/// `tidelock list`.
pub(crate) fn list(paths: &[PathBuf]) -> ExitCode {
    ended(status_of(paths).map(|status| {
        show(&status);
        if let Some(file) = &status.file {
            tell!("tidelock {}, process {}, runs {}", status.version, status.pid, file.display());
        }
    }))
}

/// `tidelock describe APP`.
pub(crate) fn describe(name: &str, paths: &[PathBuf]) -> ExitCode {
    ended((|| {
        let status = status_of(paths)?;
        let app = find(&status, name)?;
        output::out(format_args!("{}", table::description(app, colour::is_wanted(&std::io::stdout()))));
        let file = status.file.as_ref();
        let edit = file.and_then(|file| Edit::of(&std::fs::read_to_string(file).ok()?).ok());
        if let (Some(file), Some(edit)) = (file, edit) {
            for url in urls(&edit, &app.name) {
                say!("served at  {url}");
            }
            if let Some(text) = edit.text_of_app(&app.name) {
                say!("\nin {}:\n{}", file.display(), text.trim());
            }
        }
        Ok(())
    })())
}

/// `tidelock env APP`, of the first of its processes that runs, or of one.
pub(crate) fn env(name: &str, paths: &[PathBuf]) -> ExitCode {
    ended((|| {
        let status = status_of(paths)?;
        let (app, slot) = match name.rsplit_once('/').and_then(|(app, slot)| Some((app, slot.parse().ok()?)))
        {
            Some((app, slot)) => (app, Some(slot)),
            None => (name, None::<u32>),
        };
        let app = find(&status, app)?;
        let mut instances = app.instances.iter().filter(|one| slot.is_none_or(|slot| slot == one.slot));
        let pid = instances.find_map(|one| one.pid).ok_or_else(|| format!("{name} does not run"))?;
        let all = environment::of_process(pid).ok_or_else(|| {
            format!(
                "this user may not see the environment of the process {pid}; ask as the user that it runs as"
            )
        })?;
        for (name, value) in all {
            say!("{name}={value}");
        }
        Ok(())
    })())
}

fn find<'s>(status: &'s Status, name: &str) -> Result<&'s App, String> {
    status.apps.iter().find(|app| app.name == name).ok_or_else(|| {
        let names: Vec<&str> = status.apps.iter().map(|app| app.name.as_str()).collect();
        format!("there is no app `{name}`; {}", there_are(&names))
    })
}
