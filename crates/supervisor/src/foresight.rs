//! What would keep an app from starting here, or end it again and again, seen without starting it. Reads the disk and the
//! system's accounts, and changes nothing.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use config::app::App;
use rustix::fs::Access;

use crate::account::Account;
use crate::environment::lines_of;
use crate::process::launch::StartProblem;
use crate::process::start::{check_cwd, find};

/// What is in the way of an app.
#[derive(Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// The key of `[app.NAME]` that it has to do with.
    pub key: &'static str,
    /// A sentence without the app's name and without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// Whether it is said of this user and of where the file is now: another user, or the file in another folder, may do better.
    pub is_of_here: bool,
}

/// All that is in the way of `app`. May wait for a directory service or a disk that is far away.
pub fn obstacles(app: &App) -> Vec<Obstacle> {
    let mut found = Vec::new();
    let account = match Account::of(app) {
        Ok(account) => Ok(account),
        Err(problem) => {
            found.push(of_start(&problem));
            Err(())
        }
    };
    let user = account.as_ref().ok().and_then(Option::as_ref);
    let is_cwd_there = match check_cwd(&app.cwd) {
        Ok(()) => true,
        Err(problem) => {
            found.push(of_start(&problem));
            false
        }
    };
    let lines = app.env_file.as_ref().filter(|path| path.exists()).map(|path| lines_of(path, user));
    let from_file = match lines.transpose() {
        Ok(lines) => lines.unwrap_or_default(),
        Err(problem) => {
            found.push(of_start(&problem));
            Vec::new()
        }
    };
    // Where it would be sought in is not known otherwise.
    if is_cwd_there {
        found.extend(command(app, from_file));
    }
    found.extend(app.logs.folder.as_deref().and_then(|folder| {
        let message = why_not_writable(folder, user.is_none())?;
        let hint = Some(
            "make it with the rights of the user that tidelock runs as, or say another `folder`".to_owned(),
        );
        let message = format!("its logs cannot be written: {message}");
        Some(Obstacle { key: "logs.folder", message, hint, is_of_here: true })
    }));
    found
}

/// Why nothing can be written into a folder that is made if it is not there, `None` if nothing is known to be in
/// the way. `by_us` is whether this process's own rights decide.
pub fn why_not_writable(folder: &Path, by_us: bool) -> Option<String> {
    let there = folder.ancestors().find(|folder| fs::symlink_metadata(folder).is_ok())?;
    let there = if there.as_os_str().is_empty() { Path::new(".") } else { there };
    match fs::metadata(there) {
        Ok(found) if !found.is_dir() => Some(format!("{} is no folder", there.display())),
        Err(error) => Some(format!("{}: {error}", there.display())),
        Ok(_) if by_us => {
            let error = rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK).err()?;
            Some(format!("{}: {}", there.display(), std::io::Error::from(error)))
        }
        Ok(_) => None,
    }
}

fn command(app: &App, from_file: Vec<(String, String)>) -> Option<Obstacle> {
    let said = |(name, value): (&String, &String)| (name == "PATH").then(|| OsString::from(value));
    let path = app.env.iter().find_map(said);
    let path = path.or_else(|| from_file.iter().rev().find_map(|(name, value)| said((name, value))));
    let path = path.or_else(|| std::env::var_os("PATH"));
    let argv = app.argv();
    let program = *argv.first()?;
    if let Err(problem) = find(program, &app.cwd, path.as_deref()) {
        return Some(of_start(&problem));
    }
    let script = script(&argv)?;
    let file = app.cwd.join(script);
    (!file.exists()).then(|| Obstacle {
        key: "command",
        message: format!("there is no {}, which {program} is to run", file.display()),
        hint: Some("a path without a slash in front is relative to `cwd`, which is the folder of the file if left out".to_owned()),
        is_of_here: false,
    })
}

/// The file that an interpreter is given first, where there is no doubt that it is one.
fn script(command: &[&str]) -> Option<PathBuf> {
    let interpreter = Path::new(command.first()?).file_name().and_then(OsStr::to_str)?;
    let script = Path::new(command.get(1)?);
    let extension = script.extension().and_then(OsStr::to_str)?;
    let is_known = INTERPRETERS
        .iter()
        .any(|(names, extensions)| names.contains(&interpreter) && extensions.contains(&extension));
    (is_known && !command[1].starts_with('-')).then(|| script.to_owned())
}

fn of_start(problem: &StartProblem) -> Obstacle {
    let (key, hint) = match problem {
        StartProblem::NoUser(_) | StartProblem::Account { .. } => ("user", None),
        StartProblem::NotRoot(_) => ("user", Some(AS_ROOT)),
        StartProblem::GaveUp(_) => ("user", None),
        StartProblem::SocketOfAnother => ("socket", None),
        StartProblem::NoGroup(_) => ("group", None),
        StartProblem::Cwd { .. } => ("cwd", None),
        StartProblem::EnvFile(..) | StartProblem::EnvFileLine { .. } => ("env_file", None),
        _ => ("command", None),
    };
    let is_of_here = matches!(problem, StartProblem::NotRoot(_));
    Obstacle { key, message: problem.to_string(), hint: hint.map(str::to_owned), is_of_here }
}

const AS_ROOT: &str = "if tidelock is to run as root here, check the file as root";
const INTERPRETERS: [(&[&str], &[&str]); 4] = [
    (&["node", "nodejs", "bun", "deno", "tsx", "ts-node"], &["js", "mjs", "cjs", "ts", "mts", "cts"]),
    (&["python", "python3"], &["py"]),
    (&["ruby"], &["rb"]),
    (&["sh", "bash"], &["sh"]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::example;

    fn check(change: impl FnOnce(&mut App, &Path), want: &[(&str, &str)]) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("app.sh"), "true").expect("written");
        fs::write(folder.path().join("plain"), "true").expect("written");
        fs::write(folder.path().join("broken.env"), "no value").expect("written");
        let mut app = App {
            command: ["sh", "app.sh"].map(str::to_owned).to_vec(),
            args: Vec::new(),
            cwd: folder.path().to_owned(),
            ..example()
        };
        app.logs.folder = Some(folder.path().join("logs/more"));
        change(&mut app, folder.path());
        let found = obstacles(&app);
        assert_eq!(found.len(), want.len(), "{found:?}");
        for (found, (key, said)) in found.iter().zip(want) {
            assert!(found.key == *key && found.message.contains(said), "{found:?}");
        }
        let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
        assert_eq!(left.len(), 3, "nothing is made: {left:?}");
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn what_is_in_the_way_is_seen_before_the_start() {
        check(|_, _| (), &[]);
        check(|app, _| app.command = words(&["no-such-program"]), &[("command", "is not found in PATH")]);
        check(|app, _| app.command = words(&["./plain"]), &[("command", "chmod +x")]);
        check(|app, _| app.command = words(&["./nowhere"]), &[("command", "there is no")]);
        check(
            |app, _| app.command = words(&["sh", "nowhere.sh"]),
            &[("command", "nowhere.sh, which sh is to run")],
        );
        check(|app, _| app.command = words(&["sh", "-c", "nowhere.sh"]), &[]);
        check(
            |app, _| app.env = [("PATH".to_owned(), "/nowhere".to_owned())].into(),
            &[("command", "(/nowhere)")],
        );
        check(|app, folder| app.cwd = folder.join("nowhere"), &[("cwd", "is not there")]);
        check(|app, folder| app.cwd = folder.join("plain"), &[("cwd", "is no folder")]);
        check(|app, folder| app.env_file = Some(folder.join("broken.env")), &[("env_file", "line 1")]);
        check(
            |app, _| app.user = Some("no-such-user".to_owned()),
            &[("user", "there is no user `no-such-user`")],
        );
        check(|app, _| app.group = Some("no-such-group".to_owned()), &[("group", "there is no group")]);
        check(
            |app, folder| app.logs.folder = Some(folder.join("plain/logs")),
            &[("logs.folder", "is no folder")],
        );
        check(|app, _| app.logs.folder = None, &[]);
    }

    #[test]
    fn all_of_it_is_seen_at_once() {
        let want = [
            ("user", "no user"),
            ("env_file", "line 1"),
            ("command", "not found"),
            ("logs.folder", "no folder"),
        ];
        let change = |app: &mut App, folder: &Path| {
            app.user = Some("no-such-user".to_owned());
            app.env_file = Some(folder.join("broken.env"));
            app.command = words(&["no-such-program"]);
            app.logs.folder = Some(folder.join("plain"));
        };
        check(change, &want);
    }
}
