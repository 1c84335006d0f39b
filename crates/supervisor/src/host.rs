//! What all processes share: a folder of this tidelock's own, the ports that are given out, the logs, and the
//! program that becomes a keeper.
//!
//! The folder is tidelock's alone, or can only be passed through if apps run as other users; each instance has one of
//! its own in it, for its Unix socket and for what its processes agree on among themselves. A tidelock that was killed
//! leaves its folder behind; the next one removes it, which it knows by a lock that ends with its holder.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use config::roster::InstanceId;
use rustix::fs::{Gid, Uid, XattrFlags, chown};
use siphasher::sip::SipHasher24;

use crate::account::{self, Account};
use crate::bus::Bus;
use crate::logs::{Echo, Logs};
use crate::ports::Ports;
use crate::preload;

/// See the head of the module. Clones share it; the folder is removed with the last of them.
#[derive(Debug, Clone)]
pub struct Host {
    pub(crate) folder: Arc<Folder>,
    pub(crate) ports: Ports,
    pub(crate) keeper: Arc<Path>,
    pub(crate) bus: Bus,
    logs: Logs,
}

/// What may be other than usual.
#[derive(Debug, Clone, Default)]
pub struct HostPlan {
    /// Where the folder is made (default: under `$XDG_RUNTIME_DIR`, or under /run for root, or else under the system's
    /// temporary directory).
    pub under: Option<PathBuf>,
    /// The program that becomes a keeper (default: this one). Its `main` asks [`crate::keeper::asked_to_be_one`].
    pub keeper: Option<PathBuf>,
    /// Whether lines of apps go to tidelock's own output too.
    pub echo: Option<Echo>,
}

impl Host {
    /// With everything as usual.
    ///
    /// # Errors
    /// If the folder cannot be made, or no thread started.
    pub fn prepare() -> io::Result<Self> {
        Self::with(HostPlan::default())
    }

    /// # Errors
    /// If the folder cannot be made, or no thread started.
    pub fn with(plan: HostPlan) -> io::Result<Self> {
        let under = plan.under.unwrap_or_else(usual_place);
        let folder = Folder::make(&under).map_err(|error| {
            io::Error::new(error.kind(), format!("no private folder in {}: {error}", under.display()))
        })?;
        // Even if the file is replaced meanwhile, this is the program that runs now.
        let keeper = plan.keeper.unwrap_or_else(|| "/proc/self/exe".into()).into();
        Self::on(folder, keeper, plan.echo)
    }

    /// With the folder at `path` of another tidelock, whose instances go on in it, and its lock `alive`. Until
    /// [`Self::is_ours_now`] says so it stays the other's.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn take_over(plan: HostPlan, path: PathBuf, alive: OwnedFd) -> io::Result<Self> {
        let folder = Folder { path, alive: File::from(alive), is_ours: AtomicBool::new(false) };
        let keeper = plan.keeper.unwrap_or_else(|| "/proc/self/exe".into()).into();
        Self::on(folder, keeper, plan.echo)
    }

    fn on(folder: Folder, keeper: Arc<Path>, echo: Option<Echo>) -> io::Result<Self> {
        let (ports, bus) = (Ports::default(), Bus::default());
        Ok(Self { folder: Arc::new(folder), ports, keeper, bus, logs: Logs::start(echo)? })
    }

    /// The folder is this tidelock's, or is not any more: it is removed by whose it is.
    pub(crate) fn is_ours_now(&self, is_ours: bool) {
        self.folder.is_ours.store(is_ours, Ordering::Relaxed);
    }

    /// The lines that the apps wrote, those in memory and those to come.
    #[must_use]
    pub fn logs(&self) -> &Logs {
        &self.logs
    }
}

/// The folder of one tidelock.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Locked as long as this tidelock lives, or the one that has taken over from it.
    alive: File,
    is_ours: AtomicBool,
}

/// The folder of one instance; removed with this.
#[derive(Debug)]
pub(crate) struct InstanceFolder {
    pub(crate) path: PathBuf,
    pub(crate) preload: PathBuf,
    /// It is the folder of a process that is not this tidelock's any more, or not yet, and stays.
    pub(crate) is_anothers: bool,
}

impl Folder {
    fn make(under: &Path) -> io::Result<Self> {
        let mode = if account::may_become_others() { PASSED_THROUGH } else { OURS_ALONE };
        DirBuilder::new().recursive(true).mode(mode).create(under)?;
        // In the temporary directory anybody could have made it first.
        let there = fs::symlink_metadata(under)?;
        if !there.is_dir() || there.uid() != rustix::process::geteuid().as_raw() {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it belongs to somebody else"));
        }
        remove_left_behind(under);
        let path = under.join(format!("{}-{:08x}", std::process::id(), fastrand::u32(..)));
        DirBuilder::new().mode(mode).create(&path)?;
        let unfinished = path.join("alive.new");
        let alive = File::options().write(true).create_new(true).mode(0o600).open(&unfinished)?;
        alive.lock()?;
        fs::rename(unfinished, path.join(ALIVE))?;
        Ok(Self { path, alive, is_ours: AtomicBool::new(true) })
    }

    /// Its path, and its lock once more.
    pub(crate) fn hand_over(&self) -> io::Result<(PathBuf, OwnedFd)> {
        Ok((self.path.clone(), self.alive.try_clone()?.into()))
    }

    /// The folder of an instance that another tidelock has started.
    pub(crate) fn taken_over(&self, app: &str, id: InstanceId) -> InstanceFolder {
        let preload = self.path.join(preload::file_name());
        InstanceFolder { path: self.place(app, id), preload, is_anothers: true }
    }

    /// The folder of an instance, there or not. No two live ones share it: a generation is not given twice.
    fn place(&self, app: &str, id: InstanceId) -> PathBuf {
        let name = folder_name(app);
        self.path.join(format!("{name}-{}-{}", id.slot, id.generation))
    }

    /// Where an instance with `socket = "unix"` listens: in its folder, which is its user's.
    pub(crate) fn socket(&self, app: &str, id: InstanceId) -> PathBuf {
        self.place(app, id).join("socket")
    }

    /// Where an instance hears of the others: not in its own folder, which is its user's.
    pub(crate) fn messages(&self, app: &str, id: InstanceId) -> PathBuf {
        self.place(app, id).with_added_extension("bus")
    }

    /// Makes it, for `account` if that is another. Everything that has to be there is made again if it is gone:
    /// there are systems that clear their temporary directory.
    pub(crate) fn instance(
        &self,
        app: &str,
        id: InstanceId,
        account: Option<&Account>,
    ) -> io::Result<InstanceFolder> {
        let path = self.place(app, id);
        let preload = self.path.join(preload::file_name());
        if !preload.exists() {
            // Several instances may find it missing at once.
            let unfinished = path.with_added_extension("preload");
            let mut file = File::options().write(true).create_new(true).open(&unfinished)?;
            file.write_all(preload::SCRIPT.as_bytes())?;
            // Whatever the umask says: the app's user reads it.
            file.set_permissions(Permissions::from_mode(0o644))?;
            fs::rename(unfinished, &preload)?;
        }
        let made = InstanceFolder { path, preload, is_anothers: false };
        DirBuilder::new().mode(OURS_ALONE).create(&made.path)?;
        match account {
            None => {}
            Some(account) if rustix::process::geteuid().is_root() => {
                chown(&made.path, Some(Uid::from_raw(account.user)), Some(Gid::from_raw(account.group)))?;
            }
            // Only root may give a folder away; an owner may let one more user in.
            Some(account) => let_in(&made.path, account.user)?,
        }
        Ok(made)
    }
}

/// The app's name in names of folders: no other app is called the same, and no name is longer than 32 bytes,
/// because the whole path of a socket has to fit in 107.
fn folder_name(app: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if app.len() <= FOLDER_NAME_BYTES_MAX && app.chars().all(is_plain) {
        return app.to_owned();
    }
    let hash = SipHasher24::new().hash(app.as_bytes());
    let begin: String = app.chars().filter(|&c| is_plain(c)).take(FOLDER_NAME_BYTES_MAX - 9).collect();
    format!("{begin}-{:08x}", hash & 0xffff_ffff)
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.is_ours.load(Ordering::Relaxed) {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

impl Drop for InstanceFolder {
    fn drop(&mut self) {
        if !self.is_anothers {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Lets `user` do in our folder what we may, and nobody else (acl(5)).
fn let_in(folder: &Path, user: u32) -> io::Result<()> {
    // As the kernel's posix_acl_xattr.h has it: a version, and entries of a tag, rights and a user, in this order.
    const VERSION: u32 = 2;
    const NOBODY: u32 = u32::MAX;
    const ALL: u16 = 7;
    let (owner, one, group, mask, others) = (0x01_u16, 0x02_u16, 0x04_u16, 0x10_u16, 0x20_u16);
    let entries = [
        (owner, ALL, NOBODY),
        (one, ALL, user),
        (group, 0, NOBODY),
        (mask, ALL, NOBODY),
        (others, 0, NOBODY),
    ];
    let mut list = VERSION.to_le_bytes().to_vec();
    for (tag, rights, of) in entries {
        list.extend(tag.to_le_bytes().into_iter().chain(rights.to_le_bytes()).chain(of.to_le_bytes()));
    }
    rustix::fs::setxattr(folder, "system.posix_acl_access", &list, XattrFlags::empty()).map_err(|error| {
        let error = io::Error::from(error);
        let why = format!(
            "the user {user} cannot be let into {}: {error}; let $RUNTIME_DIRECTORY be on a disk with ACLs",
            folder.display()
        );
        io::Error::new(error.kind(), why)
    })
}

/// Removes what tidelocks left that are no more.
fn remove_left_behind(under: &Path) {
    for entry in fs::read_dir(under).into_iter().flatten().flatten() {
        // One without the lock is about to be made.
        let is_dead = File::open(entry.path().join(ALIVE)).is_ok_and(|alive| alive.try_lock().is_ok());
        if is_dead {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn usual_place() -> PathBuf {
    let user = rustix::process::geteuid();
    if user.is_root() && Path::new("/run").is_dir() {
        // Not beside root's admin socket, whose folder no other user passes.
        return "/run/tidelock-apps".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => Path::new(&folder).join("tidelock-apps"),
        None => std::env::temp_dir().join(format!("tidelock-apps-{}", user.as_raw())),
    }
}

const ALIVE: &str = "alive";
const FOLDER_NAME_BYTES_MAX: usize = 32;
const OURS_ALONE: u32 = 0o700;
const PASSED_THROUGH: u32 = 0o711;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_the_dead_are_removed_and_those_of_the_living_stay() {
        let under = tempfile::tempdir().unwrap();
        let living = Folder::make(under.path()).unwrap();
        let dead = under.path().join("1-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(ALIVE), "").unwrap();
        let begun = under.path().join("2-begun");
        fs::create_dir(&begun).unwrap();
        let next = Folder::make(under.path()).unwrap();
        assert!(living.path.exists() && next.path.exists() && begun.exists() && !dead.exists());
        let path = next.path.clone();
        drop(next);
        assert!(!path.exists() && living.path.exists());
    }

    #[test]
    fn apps_that_start_at_once_do_not_disturb_each_other() {
        let under = tempfile::tempdir().unwrap();
        let id = InstanceId { slot: 0, generation: 1 };
        for _ in 0..100 {
            let folder = Folder::make(under.path()).unwrap();
            let all_at_once = std::sync::Barrier::new(4);
            std::thread::scope(|scope| {
                for app in ["chat", "api", "mail", "web"] {
                    let (folder, all_at_once) = (&folder, &all_at_once);
                    scope.spawn(move || {
                        all_at_once.wait();
                        let instance = folder.instance(app, id, None).unwrap();
                        assert_eq!(fs::read_to_string(&instance.preload).unwrap(), preload::SCRIPT);
                    });
                }
            });
        }
    }

    #[test]
    fn no_two_apps_have_one_folder() {
        let under = tempfile::tempdir().unwrap();
        let folder = Folder::make(under.path()).unwrap();
        let id = InstanceId { slot: 0, generation: 1 };
        let long = "the-chat-of-the-company-with-the-long-name";
        let names =
            [long.to_owned(), format!("{long}-2"), "chat.eu".into(), "chat_eu".into(), "chat-eu".into()];
        let instances = names.each_ref().map(|name| folder.instance(name, id, None).unwrap());
        for instance in &instances {
            // With the longest folder that a user's runtime directory has, a socket in it can be bound.
            let name = instance.path.file_name().unwrap().len();
            assert!(name <= 36, "{}", instance.path.display());
        }
    }

    #[test]
    fn an_instance_has_a_folder_until_it_is_gone() {
        let under = tempfile::tempdir().unwrap();
        let folder = Folder::make(under.path()).unwrap();
        let id = InstanceId { slot: 3, generation: 7 };
        let instance = folder.instance("a/../b", id, None).unwrap();
        assert_eq!(fs::read_to_string(&instance.preload).unwrap(), preload::SCRIPT);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&instance.path), mode(&instance.preload)), (0o700, 0o644));
        assert_eq!(folder.socket("a/../b", id).parent().unwrap(), instance.path);
        assert_eq!(instance.path.parent().unwrap(), folder.path);
        let path = instance.path.clone();
        drop(instance);
        assert!(!path.exists());
    }
}
