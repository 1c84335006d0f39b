//! Which variables of a shell are whose: those of the login are for the tidelock in the background, those of the terminal for
//! nobody, and all others are meant for the app that is started from there, as PM2 takes them.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// The variables that a tidelock in the background begins with: those of a login, and not what this terminal
/// happens to hold.
pub(crate) fn of_login() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_of_login))
}

/// What the app gets of this terminal's environment beside what `tidelock` has, which is the process that will
/// start it; `None` if there is none yet.
pub(crate) fn for_app(tidelock: Option<u32>) -> BTreeMap<String, String> {
    let there = tidelock.and_then(of_process);
    let mut all = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { continue };
        let is_there =
            there.as_ref().is_some_and(|there| there.get(name).is_some_and(|known| known == value));
        // Which `node` is meant is said by it.
        let is_wanted = !is_of_login(name) || (name == "PATH" && there.is_some());
        if is_wanted && !is_there && !is_of_terminal(name) {
            all.insert(name.to_owned(), value.to_owned());
        }
    }
    all
}

/// The environment that a process began with, if this user may see it.
pub(crate) fn of_process(pid: u32) -> Option<BTreeMap<String, String>> {
    let bytes = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let pairs = bytes.split(|&byte| byte == 0).filter_map(|pair| {
        let (name, value) = std::str::from_utf8(pair).ok()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    Some(pairs.collect())
}

fn is_of_login(name: &str) -> bool {
    LOGIN.contains(&name) || LOGIN_BEGIN.iter().any(|begin| name.starts_with(begin))
}

fn is_of_terminal(name: &str) -> bool {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    !is_name || TERMINAL.contains(&name) || TERMINAL_BEGIN.iter().any(|begin| name.starts_with(begin))
}

const LOGIN: [&str; 13] = [
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "PATH",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "NVM_DIR",
    "VOLTA_HOME",
    "TIDELOCK_LOG",
    "LOGS_DIRECTORY",
];
const LOGIN_BEGIN: [&str; 4] = ["LC_", "XDG_CONFIG_", "XDG_STATE_", "SSL_CERT_"];
/// PORT and its like are tidelock's to set.
const TERMINAL: [&str; 42] = [
    "_",
    "SHLVL",
    "PWD",
    "OLDPWD",
    "TERM",
    "TERMINFO",
    "COLORTERM",
    "COLUMNS",
    "LINES",
    "DISPLAY",
    "WAYLAND_DISPLAY",
    "XAUTHORITY",
    "WINDOWID",
    "PAGER",
    "EDITOR",
    "VISUAL",
    "PS1",
    "PS2",
    "PROMPT_COMMAND",
    "STY",
    "WINDOW",
    "VTE_VERSION",
    "DESKTOP_SESSION",
    "MAIL",
    "HOSTNAME",
    "HOSTTYPE",
    "OSTYPE",
    "MACHTYPE",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "NOTIFY_SOCKET",
    "MANAGERPID",
    "MOTD_SHOWN",
    "PORT",
    "HOST",
    "NODE_APP_INSTANCE",
    "INSTANCE_ID",
    "NODE_CHANNEL_FD",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "LS_COLORS",
    "COPROC",
];
const TERMINAL_BEGIN: [&str; 18] = [
    "XDG_",
    "SSH_",
    "GPG_",
    "DBUS_",
    "LESS",
    "HIST",
    "TMUX",
    "TERM_",
    "GNOME_",
    "KDE_",
    "SUDO_",
    "LISTEN_",
    "SYSTEMD_",
    "NVM_",
    "npm_",
    "BASH",
    "ZSH",
    "TIDELOCK_",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_owners() {
        for (name, login, terminal) in [
            ("HOME", true, false),
            ("LC_ALL", true, false),
            ("XDG_STATE_HOME", true, true),
            ("XDG_RUNTIME_DIR", false, true),
            ("SSH_CLIENT", false, true),
            ("BASH_FUNC_x%%", false, true),
            ("PORT", false, true),
            ("NODE_ENV", false, false),
            ("DATABASE_URL", false, false),
        ] {
            assert_eq!((is_of_login(name), is_of_terminal(name)), (login, terminal), "{name}");
        }
    }
}
