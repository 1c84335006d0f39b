//! What is kept of root's rights. Started as root with `user`, tidelock becomes that user while it has one thread, since in
//! Linux each thread has rights of its own; what it keeps are capabilities(7) of its own that nothing inherits. Only a
//! keeper that has to become another user gets any, and only for as long as it needs them.

use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use config::app::App;
use config::plan::Plan;
use nix::unistd::{Gid, Uid, getgrouplist, setgroups, setresgid, setresuid};
use rustix::io::Errno;
use rustix::process::geteuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_no_new_privs,
};

use crate::account::{self, Account, OF_OTHERS};
use crate::process::launch::StartProblem;

/// The user that a tidelock becomes that was started as root.
#[derive(Debug, Clone)]
pub struct ServiceUser {
    account: Account,
    written: String,
}

/// By what the kernel knows a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserIds {
    /// Its number.
    pub user: u32,
    /// That of its group.
    pub group: u32,
}

/// A step on the way to another user that was refused.
struct Refused {
    what: &'static str,
    error: io::Error,
}

/// Why tidelock cannot become that user.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeProblem {
    /// There is no such user or group, or nobody can say so.
    #[error("`{key} = \"{value}\"`: {problem}")]
    Nobody {
        /// Which of the two keys of the file.
        key: &'static str,
        /// What it says.
        value: String,
        /// Why it is nobody.
        problem: Box<StartProblem>,
    },
    /// Rights are each thread's own: one more would go on as root.
    #[error("cannot become the user `{user}`: there are {threads} threads already; please report this")]
    Threads {
        /// Who.
        user: String,
        /// How many.
        threads: usize,
    },
    /// The kernel does not let this root do what root may.
    #[error(
        "cannot become the user `{user}`: {what}: {error}; it takes CAP_SETUID and CAP_SETGID, which a container may have \
         dropped: start it as this user instead, and leave out `user`"
    )]
    System {
        /// Who.
        user: String,
        /// What was refused.
        what: &'static str,
        /// The kernel's reason.
        error: io::Error,
    },
}

impl ServiceUser {
    /// Whom a tidelock with this plan becomes: nobody else if it was not started as root, or is to stay root.
    ///
    /// # Errors
    /// If the plan names somebody whom the system does not know.
    pub fn of(plan: &Plan) -> Result<Option<Self>, PrivilegeProblem> {
        if !geteuid().is_root() || plan.user.is_none() {
            return Ok(None);
        }
        let nobody = |problem: StartProblem| {
            let (key, value) = match &problem {
                StartProblem::NoGroup(group) => ("group", group.clone()),
                _ => ("user", plan.user.clone().unwrap_or_default()),
            };
            PrivilegeProblem::Nobody { key, value, problem: Box::new(problem) }
        };
        let found = Account::named(plan.user.as_deref(), plan.group.as_deref()).map_err(nobody)?;
        let written = plan.user.clone().unwrap_or_else(|| "root".to_owned());
        Ok(found.filter(|account| account.user != 0).map(|account| Self { account, written }))
    }

    /// As the file names it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.written
    }

    /// By what the kernel knows it.
    #[must_use]
    pub fn ids(&self) -> UserIds {
        UserIds { user: self.account.user, group: self.account.group }
    }

    /// Whether `app` runs as somebody else than this user. One whose user cannot be found counts as that.
    #[must_use]
    pub fn is_other(&self, app: &App) -> bool {
        !matches!(self.account.of_app_beside(app), Ok(None))
    }

    /// The user that the tidelock before became and that this one is from its start, if the plan names it.
    ///
    /// # Errors
    /// If the plan names somebody else, or somebody whom the system does not know: that takes a restart.
    pub fn be_it_already(plan: &Plan) -> Result<String, String> {
        let user = plan.user.clone().ok_or("`user` is in the file no more, which takes a restart")?;
        let found = account::find(&user, plan.group.as_deref()).map_err(|problem| problem.to_string())?;
        if found.user != geteuid().as_raw() {
            return Err(format!(
                "`user = \"{user}\"` is another than tidelock has become, which takes a restart"
            ));
        }
        account::set_become(found);
        Ok(user)
    }

    /// Becomes it for good. What is kept: low ports, and what apps of other users take, if one of `apps` has another.
    ///
    /// # Errors
    /// If there is a second thread already, or the kernel refuses a step. Nothing may be served then.
    pub fn become_it(&self, apps: &[Arc<App>]) -> Result<(), PrivilegeProblem> {
        let user = || self.written.clone();
        let mut threads = threads_of_ours();
        let mut looks = 0;
        // The allocator's has its name a moment after it has begun.
        while threads > 1 && looks < LOOKS_MAX {
            thread::sleep(LOOK_AGAIN);
            threads = threads_of_ours();
            looks += 1;
        }
        if threads > 1 {
            return Err(PrivilegeProblem::Threads { user: user(), threads });
        }
        self.take_steps(apps).map_err(|Refused { what, error }| PrivilegeProblem::System {
            user: user(),
            what,
            error,
        })?;
        account::set_become(self.account.clone());
        Ok(())
    }

    fn take_steps(&self, apps: &[Arc<App>]) -> Result<(), Refused> {
        let at = |what| move |error: Errno| Refused { what, error: error.into() };
        let by_nix = |what| move |error: nix::errno::Errno| Refused { what, error: error.into() };
        let had = capabilities(None).map_err(at("capget"))?;
        let others =
            if apps.iter().any(|app| self.is_other(app)) { OF_OTHERS } else { CapabilitySet::empty() };
        let kept = (CapabilitySet::NET_BIND_SERVICE | others) & had.permitted;
        set_keep_capabilities(true).map_err(at("PR_SET_KEEPCAPS"))?;
        // What a keeper or the next tidelock is lent must be in here, and nothing comes in once the bounding set is empty.
        let inheritable = kept;
        set_capabilities(None, CapabilitySets { inheritable, ..had }).map_err(at("capset"))?;
        empty_bounding_set().map_err(at("PR_CAPBSET_DROP"))?;
        let (uid, gid) = (Uid::from_raw(self.account.user), Gid::from_raw(self.account.group));
        setgroups(&self.groups()).map_err(by_nix("setgroups"))?;
        setresgid(gid, gid, gid).map_err(by_nix("setresgid"))?;
        setresuid(uid, uid, uid).map_err(by_nix("setresuid"))?;
        let left = CapabilitySets { effective: kept, permitted: kept, inheritable };
        set_capabilities(None, left).map_err(at("capset"))?;
        set_keep_capabilities(false).map_err(at("PR_SET_KEEPCAPS"))?;
        clear_ambient().map_err(at("PR_CAP_AMBIENT"))?;
        set_no_new_privs(true).map_err(at("PR_SET_NO_NEW_PRIVS"))
    }

    /// As a login of the user has them.
    fn groups(&self) -> Vec<Gid> {
        let own = Gid::from_raw(self.account.group);
        let name = self.account.name.as_ref().and_then(|name| CString::new(name.as_str()).ok());
        name.and_then(|name| getgrouplist(&name, own).ok()).unwrap_or_else(|| vec![own])
    }

    /// Those of `places` that this user may not read, though root may; to be asked while still root, in a thread of
    /// its own that becomes the user. Empty where no thread can be had.
    #[must_use]
    pub fn forbidden(&self, places: Vec<PathBuf>) -> Vec<PathBuf> {
        let groups: Vec<_> =
            self.groups().iter().map(|group| rustix::fs::Gid::from_raw(group.as_raw())).collect();
        let account = self.account.clone();
        let asking = move || {
            account.become_on_this_thread_in(&groups)?;
            Ok::<_, io::Error>(places.into_iter().filter(|place| is_forbidden(place)).collect())
        };
        // The thread ends with its rights. Without it nobody knows, which is no fault of the file.
        let asked =
            thread::Builder::new().name("as-user".to_owned()).spawn(asking).map(thread::JoinHandle::join);
        match asked {
            Ok(Ok(Ok(forbidden))) => forbidden,
            _ => Vec::new(),
        }
    }
}

/// How many threads there are, but for the allocator's, which begins with the process and gives memory back. Libc takes that
/// one along when it changes users and groups, by which it loses all capabilities; it executes nothing, so that there is
/// nothing more to take from it.
fn threads_of_ours() -> usize {
    let is_ours =
        |thread: &Path| fs::read(thread.join("comm")).is_ok_and(|name| !name.starts_with(ALLOCATORS));
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    threads.filter(|thread| is_ours(&thread.path())).count()
}

/// Five seconds, for a machine that is very busy.
const LOOKS_MAX: u32 = 5000;
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// What jemalloc calls its thread.
const ALLOCATORS: &[u8] = b"jemalloc_bg_thd";

/// Whether this thread may not read what is at `place`. What is not there is not forbidden.
#[must_use]
pub fn is_forbidden(place: &Path) -> bool {
    let read = match fs::metadata(place) {
        Ok(there) if there.is_dir() => fs::read_dir(place).map(drop),
        // Opening a FIFO would wait for whoever writes to it.
        Ok(there) if there.is_file() => File::open(place).map(drop),
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    };
    read.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

/// What tidelock has got by systemd's `AmbientCapabilities=` is its own, and nothing that it starts inherits it.
///
/// # Errors
/// If the kernel says so.
pub fn keep_to_oneself() -> io::Result<()> {
    clear_ambient()?;
    let had = capabilities(None)?;
    // Only what a keeper or the next tidelock may be lent, if that is there.
    let others = had.inheritable & OF_OTHERS;
    let others = if others == OF_OTHERS { others } else { CapabilitySet::empty() };
    let inheritable = others | (had.inheritable & CapabilitySet::NET_BIND_SERVICE);
    set_capabilities(None, CapabilitySets { inheritable, ..had })?;
    Ok(())
}

/// Does `start` so that what it starts may become another user. The rights are lent by this thread alone, for as long as
/// that takes.
pub(crate) fn lending<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    if geteuid().is_root() {
        return start();
    }
    let _lent = Lent;
    for capability in OF_OTHERS.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    start()
}

/// Does `start` so that the program that it starts has what this one has of root's rights. For another tidelock alone.
///
/// # Errors
/// What `start` says, or the kernel.
pub fn handing_on<T>(start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let had = capabilities(None)?;
    if geteuid().is_root() || had.permitted.is_empty() {
        return start();
    }
    let _lent = Lent;
    // What the bounding set keeps out stays out.
    let all = CapabilitySets { inheritable: had.inheritable | had.permitted, ..had };
    let _ = set_capabilities(None, all);
    let inheritable = capabilities(None)?.inheritable;
    for capability in (had.permitted & inheritable).iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    let started = start();
    set_capabilities(None, had)?;
    started
}

/// Why this program may not be started with the rights that this one has, if so: whoever else than root could
/// change it would get them.
#[must_use]
pub fn why_not_to_be_trusted(program: &Path) -> Option<String> {
    let has_rights = capabilities(None).is_ok_and(|had| !had.permitted.is_empty());
    if geteuid().is_root() || !has_rights {
        return None;
    }
    let program = match program.canonicalize() {
        Ok(program) => program,
        Err(error) => return Some(format!("{}: {error}", program.display())),
    };
    let is_roots =
        |place: &Path| fs::metadata(place).is_ok_and(|there| there.uid() == 0 && there.mode() & 0o022 == 0);
    let open = program.ancestors().find(|place| !is_roots(place))?;
    Some(format!(
        "{} would get rights that root has given to tidelock, and others than root can change {}",
        program.display(),
        open.display()
    ))
}

#[derive(Debug)]
struct Lent;

impl Drop for Lent {
    fn drop(&mut self) {
        // There is no reason for which the kernel would refuse it.
        let _ = clear_ambient();
    }
}

/// What a keeper does before it starts its app, which is to inherit nothing.
pub(crate) fn hand_nothing_on() -> io::Result<()> {
    clear_ambient()?;
    let had = capabilities(None)?;
    Ok(set_capabilities(None, CapabilitySets { inheritable: CapabilitySet::empty(), ..had })?)
}

/// What a keeper does with rights that it does not need any more, once its app has been started: it only ends others.
pub(crate) fn keep_ends_alone() -> io::Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    let had = capabilities(None)?;
    let kept = had.permitted & CapabilitySet::KILL;
    let left = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, left)?)
}

fn clear_ambient() -> rustix::io::Result<()> {
    match clear_ambient_capability_set() {
        // A kernel before 4.3 has no such set.
        Err(Errno::INVAL) => Ok(()),
        cleared => cleared,
    }
}

/// It bounds what a program gets by being executed, so that what is kept now is not touched.
fn empty_bounding_set() -> rustix::io::Result<()> {
    for number in 0..u64::BITS {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            // There are no more.
            Err(Errno::INVAL) => break,
            // A container's root may lack CAP_SETPCAP; nothing gains rights all the same, by PR_SET_NO_NEW_PRIVS.
            Err(Errno::PERM) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
