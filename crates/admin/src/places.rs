//! Where things are that outlive a login: the admin socket, and the state folder. By the environment that there is, which
//! in `su -`, in cron and in a container is hardly any.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::process::geteuid;

/// Where the socket is when the file does not say, the first that there is: `$RUNTIME_DIRECTORY`, which is
/// systemd's for a service, `tidelock` under `$XDG_RUNTIME_DIR`, /run/tidelock for root, `tidelock` under
/// /run/user/ID, the state folder. `None` for a user without any of them.
pub fn default_path() -> Option<PathBuf> {
    Here::now().default_path()
}

/// Where a verb looks for tidelock when it is not told, the likeliest place first: a service of the system has its
/// socket in another place than the person who asks, and one in the background in another than one in a terminal.
pub fn paths_to_ask() -> Vec<PathBuf> {
    Here::now().paths_to_ask()
}

/// The socket of a user's tidelock in the background. It outlives the login, which `$XDG_RUNTIME_DIR` does not.
pub fn background_path() -> Option<PathBuf> {
    state_folder().map(|state| state.join(SOCKET))
}

/// The folder for what the apps' processes need while they run, where it is not the supervisor's usual one: beside the
/// socket of a service, and where a login would have it.
pub fn apps_folder() -> Option<PathBuf> {
    Here::now().apps_folder()
}

/// The folder of what is kept over restarts: `$STATE_DIRECTORY`, which is systemd's, or `tidelock` under
/// `$XDG_STATE_HOME` or ~/.local/state.
pub fn state_folder() -> Option<PathBuf> {
    Here::now().state_folder()
}

/// Where files of logs go that nobody has chosen a place for: `$LOGS_DIRECTORY`, which is systemd's, or `logs` in
/// the state folder.
pub fn logs_folder() -> Option<PathBuf> {
    let here = Here::now();
    here.first_of("LOGS_DIRECTORY").or_else(|| Some(here.state_folder()?.join("logs")))
}

/// From now on places are those of a service of the system, whoever runs it: tidelock is about to become another user than
/// the one whose login it was started from.
pub fn become_a_service() {
    // Once is enough.
    let _ = IS_SERVICE.set(());
}

static IS_SERVICE: OnceLock<()> = OnceLock::new();

/// The user's home, by `$HOME` or else by what the system knows of the user.
pub fn home() -> Option<PathBuf> {
    Here::now().home()
}

/// All that decides about places.
struct Here<V> {
    variable: V,
    user: u32,
    home_known: fn() -> Option<PathBuf>,
    run: &'static str,
    /// Where a service keeps its state that has no other place.
    state: Option<&'static str>,
}

impl Here<fn(&str) -> Option<OsString>> {
    fn now() -> Self {
        let is_service = IS_SERVICE.get().is_some();
        Self {
            variable: match is_service {
                true => |name| SYSTEMDS.contains(&name).then(|| std::env::var_os(name)).flatten(),
                false => |name| std::env::var_os(name),
            },
            user: geteuid().as_raw(),
            home_known: supervisor::own_home,
            run: "/run",
            state: is_service.then_some("/var/lib/tidelock"),
        }
    }
}

impl<V: Fn(&str) -> Option<OsString>> Here<V> {
    fn set(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Of systemd's lists of folders the first is the service's own.
    fn first_of(&self, name: &str) -> Option<PathBuf> {
        let folders = self.set(name)?;
        let first = folders.as_bytes().split(|&byte| byte == b':').next()?;
        Some(PathBuf::from(OsStr::from_bytes(first)))
    }

    fn home(&self) -> Option<PathBuf> {
        self.set("HOME").map(PathBuf::from).or_else(self.home_known)
    }

    fn state_folder(&self) -> Option<PathBuf> {
        let given = self.first_of("STATE_DIRECTORY");
        let states = || match self.set("XDG_STATE_HOME") {
            Some(states) => Some(PathBuf::from(states)),
            None => self.home().map(|home| home.join(".local/state")),
        };
        let of_system = || self.state.map(PathBuf::from);
        given.or_else(of_system).or_else(|| states().map(|states| states.join("tidelock")))
    }

    fn default_path(&self) -> Option<PathBuf> {
        let root = || (self.user == 0 || self.state.is_some()).then(|| self.of_the_system());
        let state = || self.state_folder().map(|state| state.join(SOCKET));
        self.of_service().or_else(|| self.of_login()).or_else(root).or_else(|| self.of_user()).or_else(state)
    }

    fn paths_to_ask(&self) -> Vec<PathBuf> {
        let state = self.state_folder().map(|state| state.join(SOCKET));
        let all = [self.of_service(), self.of_login(), self.of_user(), state, Some(self.of_the_system())];
        let mut paths: Vec<PathBuf> = Vec::new();
        for path in all.into_iter().flatten() {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }

    fn apps_folder(&self) -> Option<PathBuf> {
        if let Some(service) = self.of_service() {
            return Some(service.with_file_name("apps"));
        }
        if self.state.is_some() {
            return Some(self.of_the_system().with_file_name("apps"));
        }
        if self.user == 0 || self.of_login().is_some() {
            return None;
        }
        let beside = self.of_user().or_else(|| Some(self.state_folder()?.join(SOCKET)))?;
        Some(beside.with_file_name("apps"))
    }

    fn of_service(&self) -> Option<PathBuf> {
        self.first_of("RUNTIME_DIRECTORY").map(|folder| folder.join(SOCKET))
    }

    fn of_login(&self) -> Option<PathBuf> {
        self.set("XDG_RUNTIME_DIR").map(|folder| Path::new(&folder).join("tidelock").join(SOCKET))
    }

    /// Where a login of this user would have it. `su -` and cron set no `$XDG_RUNTIME_DIR`, though the folder that
    /// it would name may be there.
    fn of_user(&self) -> Option<PathBuf> {
        let folder = Path::new(self.run).join("user").join(self.user.to_string());
        let is_ours = folder.metadata().is_ok_and(|there| there.is_dir() && there.uid() == self.user);
        is_ours.then(|| folder.join("tidelock").join(SOCKET))
    }

    fn of_the_system(&self) -> PathBuf {
        Path::new(self.run).join("tidelock").join(SOCKET)
    }
}

const SOCKET: &str = "admin.sock";
/// What systemd says to a service; all else is of the login.
const SYSTEMDS: [&str; 3] = ["RUNTIME_DIRECTORY", "STATE_DIRECTORY", "LOGS_DIRECTORY"];

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of the socket, and where verbs look, without those that are there on this machine by chance.
    fn check(user: u32, variables: &[(&str, &str)], socket: Option<&str>, asked: &[&str]) {
        let here = Here {
            variable: |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            },
            user,
            home_known: || None,
            run: "/no-such-run",
            state: None,
        };
        assert_eq!(here.default_path(), socket.map(PathBuf::from), "{variables:?}");
        assert_eq!(here.paths_to_ask(), asked.iter().map(PathBuf::from).collect::<Vec<_>>(), "{variables:?}");
    }

    #[test]
    fn the_socket_has_a_place_everywhere() {
        let system = "/no-such-run/tidelock/admin.sock";
        check(
            7,
            &[("XDG_RUNTIME_DIR", "/r")],
            Some("/r/tidelock/admin.sock"),
            &["/r/tidelock/admin.sock", system],
        );
        let state = "/h/.local/state/tidelock/admin.sock";
        check(7, &[("HOME", "/h")], Some(state), &[state, system]);
        check(0, &[("HOME", "/h")], Some(system), &[state, system]);
        check(
            7,
            &[("HOME", "/h"), ("XDG_STATE_HOME", "/s")],
            Some("/s/tidelock/admin.sock"),
            &["/s/tidelock/admin.sock", system],
        );
        let service =
            [("RUNTIME_DIRECTORY", "/run/a:/run/b"), ("STATE_DIRECTORY", "/lib/a"), ("XDG_RUNTIME_DIR", "")];
        check(7, &service, Some("/run/a/admin.sock"), &["/run/a/admin.sock", "/lib/a/admin.sock", system]);
        check(7, &[], None, &[system]);
        check(0, &[], Some(system), &[system]);
    }

    #[test]
    fn the_state_is_the_services_or_the_users() {
        let check = |set: &[(&str, &str)], want: Option<&str>| {
            let variable =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            let here = Here { variable, user: 7, home_known: || None, run: "/no-such-run", state: None };
            assert_eq!(here.state_folder(), want.map(PathBuf::from), "{set:?}");
        };
        check(&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("HOME", "/h")], Some("/var/lib/a"));
        check(&[("XDG_STATE_HOME", "/x"), ("HOME", "/h")], Some("/x/tidelock"));
        check(&[("STATE_DIRECTORY", ""), ("HOME", "/h")], Some("/h/.local/state/tidelock"));
        check(&[], None);
    }

    #[test]
    fn what_apps_need_stands_beside_the_socket() {
        let check = |user, set: &[(&str, &str)], want: Option<&str>| {
            let variable =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            let here =
                Here { variable, user, home_known: || Some("/h".into()), run: "/no-such-run", state: None };
            assert_eq!(here.apps_folder(), want.map(PathBuf::from), "{set:?}");
        };
        check(7, &[("RUNTIME_DIRECTORY", "/run/a")], Some("/run/a/apps"));
        check(0, &[("RUNTIME_DIRECTORY", "/run/a")], Some("/run/a/apps"));
        check(7, &[], Some("/h/.local/state/tidelock/apps"));
        for (user, set) in [(7, &[("XDG_RUNTIME_DIR", "/r")][..]), (0, &[])] {
            check(user, set, None);
        }
    }

    #[test]
    fn a_service_that_was_root_has_the_systems_places() {
        let variable = |_: &str| None;
        let here = Here {
            variable,
            user: 7,
            home_known: || Some("/h".into()),
            run: "/no-such-run",
            state: Some("/var/lib/tidelock"),
        };
        assert_eq!(here.state_folder(), Some("/var/lib/tidelock".into()));
        assert_eq!(here.default_path(), Some("/no-such-run/tidelock/admin.sock".into()));
        assert_eq!(here.apps_folder(), Some("/no-such-run/tidelock/apps".into()));
    }

    #[test]
    fn a_login_of_the_user_is_found_from_cron() {
        let run = tempfile::tempdir().unwrap();
        let user = geteuid().as_raw();
        let folder = run.path().join("user").join(user.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let path = run.path().to_str().unwrap().to_owned().leak();
        let here = Here { variable: |_: &str| None, user, home_known: || None, run: path, state: None };
        assert_eq!(here.paths_to_ask()[0], folder.join("tidelock/admin.sock"));
    }
}
