//! Whom an app runs as. Looked up at every start by getpwnam_r(3) and its like, which also know users of LDAP, sssd and
//! systemd; numbers are taken as they are.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use config::app::App;
use nix::errno::Errno;
use nix::unistd::{Group, User};
use rustix::fs::{Gid, Uid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::process::launch::StartProblem;

/// A user that an app becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// Of the user, if it has a name.
    pub(crate) name: Option<String>,
    pub(crate) home: Option<PathBuf>,
}

impl Account {
    /// Whom `app` runs as, if not as tidelock does. May wait for a directory service.
    pub(crate) fn of(app: &App) -> Result<Option<Self>, StartProblem> {
        account(app.user.as_deref(), app.group.as_deref(), Own::now())
    }

    /// `None` for the user that this process is: nothing has to be changed then.
    pub(crate) fn named(user: Option<&str>, group: Option<&str>) -> Result<Option<Self>, StartProblem> {
        account(user, group, Own::now())
    }

    /// Whom `app` runs as, if not as a tidelock that has become this user.
    pub(crate) fn of_app_beside(&self, app: &App) -> Result<Option<Self>, StartProblem> {
        let own = Own { user: self.user, group: self.group, may_become_others: true };
        account(app.user.as_deref(), app.group.as_deref(), own)
    }

    /// From now on this thread opens files with the rights of this user, and there is no way back: whoever calls this ends
    /// the thread when it is done. In Linux each thread has its own rights; only the effective ones are changed, since
    /// whoever has the same real user may send signals to a thread, and SIGKILL ends all of the process.
    pub(crate) fn become_on_this_thread(&self) -> io::Result<()> {
        self.become_on_this_thread_in(&[])
    }

    /// The same as a member of `groups`.
    pub(crate) fn become_on_this_thread_in(&self, groups: &[Gid]) -> io::Result<()> {
        let (user, group) = (Uid::from_raw(self.user), Gid::from_raw(self.group));
        set_thread_groups(groups)?;
        set_thread_res_gid(None, group, None)?;
        set_thread_res_uid(None, user, None)?;
        Ok(())
    }
}

/// The home of the user that this process runs as, by what the system knows: where `$HOME` is not set.
pub fn own_home() -> Option<PathBuf> {
    let user = nix::unistd::Uid::effective();
    User::from_uid(user).ok().flatten().map(|user| user.dir)
}

/// Whom this process has become since it was started as root, if it has.
pub(crate) fn become_since() -> Option<&'static Account> {
    BECOME.get()
}

/// Says whom this process has become.
pub(crate) fn set_become(account: Account) {
    // It happens once.
    let _ = BECOME.set(account);
}

static BECOME: OnceLock<Account> = OnceLock::new();

/// Whom tidelock runs as.
#[derive(Debug, Clone, Copy)]
struct Own {
    user: u32,
    group: u32,
    may_become_others: bool,
}

impl Own {
    fn now() -> Self {
        Self {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            may_become_others: may_become_others(),
        }
    }
}

/// Whether this process may start processes of other users: it is root, or it can become others itself and a keeper
/// can be lent the same.
pub(crate) fn may_become_others() -> bool {
    let may_lend =
        |now: CapabilitySets| now.effective.contains(OF_OTHERS) && now.inheritable.contains(OF_OTHERS);
    rustix::process::geteuid().is_root() || capabilities(None).is_ok_and(may_lend)
}

/// What it takes to start a process of another user, and to end it.
pub(crate) const OF_OTHERS: CapabilitySet =
    CapabilitySet::SETUID.union(CapabilitySet::SETGID).union(CapabilitySet::KILL);

fn account(user: Option<&str>, group: Option<&str>, own: Own) -> Result<Option<Account>, StartProblem> {
    if user.is_none() && group.is_none() {
        return Ok(None);
    }
    let mut account = match user {
        None => Account { user: own.user, group: own.group, name: None, home: None },
        Some(user) => find_user(user)?.ok_or_else(|| StartProblem::NoUser(user.to_owned()))?,
    };
    if let Some(group) = group {
        account.group = find_group(group)?.ok_or_else(|| StartProblem::NoGroup(group.to_owned()))?;
    }
    if (account.user, account.group) == (own.user, own.group) {
        return Ok(None);
    }
    if !own.may_become_others {
        let wanted = [user, group].into_iter().flatten().collect::<Vec<_>>().join(":");
        return Err(match become_since() {
            Some(_) => StartProblem::GaveUp(wanted),
            None => StartProblem::NotRoot(wanted),
        });
    }
    Ok(Some(account))
}

/// The account of `user`, with `group` in the place of its own. May wait for a directory service.
pub(crate) fn find(user: &str, group: Option<&str>) -> Result<Account, StartProblem> {
    let mut account = find_user(user)?.ok_or_else(|| StartProblem::NoUser(user.to_owned()))?;
    if let Some(group) = group {
        account.group = find_group(group)?.ok_or_else(|| StartProblem::NoGroup(group.to_owned()))?;
    }
    Ok(account)
}

fn find_user(wanted: &str) -> Result<Option<Account>, StartProblem> {
    let problem = |error: Errno| StartProblem::Account { name: wanted.to_owned(), error: error.into() };
    let number = wanted.parse::<u32>().ok();
    let found = match (User::from_name(wanted).map_err(problem)?, number) {
        (None, Some(number)) => User::from_uid(number.into()).map_err(problem)?,
        (found, _) => found,
    };
    let known = found.map(|user| Account {
        user: user.uid.as_raw(),
        group: user.gid.as_raw(),
        name: Some(user.name),
        home: Some(user.dir).filter(|home| !home.as_os_str().is_empty()),
    });
    let bare = || number.map(|user| Account { user, group: user, name: None, home: None });
    Ok(known.or_else(bare))
}

fn find_group(wanted: &str) -> Result<Option<u32>, StartProblem> {
    let problem = |error: Errno| StartProblem::Account { name: wanted.to_owned(), error: error.into() };
    let named = Group::from_name(wanted).map_err(problem)?;
    Ok(named.map(|group| group.gid.as_raw()).or_else(|| wanted.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(user: Option<&str>, group: Option<&str>, own_user: u32) -> String {
        let own = Own { user: own_user, group: own_user, may_become_others: own_user == 0 };
        match account(user, group, own) {
            Ok(None) => "as tidelock".to_owned(),
            Ok(Some(Account { user, group, name, home })) => {
                format!("{user}:{group} {} {}", name.unwrap_or_default(), home.unwrap_or_default().display())
            }
            Err(problem) => problem.to_string(),
        }
    }

    /// What the system itself says, wherever it knows it from: `name:password:uid:gid:comment:home:shell`.
    #[test]
    fn accounts_are_those_that_the_system_knows() {
        let listed = std::process::Command::new("getent").arg("passwd").output().expect("libc has it");
        let listed = String::from_utf8(listed.stdout).expect("text");
        for line in listed.lines().filter(|line| !line.starts_with("root:")).take(5) {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, user, group, _, home, ..] = fields[..] else { panic!("{line}") };
            let expected = format!("{user}:{group} {name} {home}");
            assert_eq!(check(Some(name), None, 0), expected);
            assert_eq!(check(Some(user), None, 0), expected);
        }
    }

    #[test]
    fn numbers_need_no_name() {
        assert_eq!(check(None, None, 0), "as tidelock");
        assert_eq!(check(Some("4000111222"), None, 0), "4000111222:4000111222  ");
        assert_eq!(check(None, Some("4000111222"), 0), "0:4000111222  ");
        assert_eq!(check(Some("root"), None, 0), "as tidelock");
        assert_eq!(check(Some("4000111222"), Some("4000111222"), 4_000_111_222), "as tidelock");
    }

    #[test]
    fn what_cannot_be_is_said() {
        assert!(check(Some("no-such-user"), None, 0).contains("no user `no-such-user`"));
        assert!(check(Some("root"), Some("no-such-group"), 0).contains("no group `no-such-group`"));
        assert!(check(Some("root"), None, 1000).contains("root"));
    }
}
