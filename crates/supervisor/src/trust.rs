//! Which places on the disk nobody can change but root and tidelock, and how files of an app are read that lie elsewhere.
//!
//! An app that runs as another user than tidelock may put a link in the place of a file that tidelock opens for it. As
//! root tidelock would follow it anywhere; so where somebody else may write, files are opened with the rights of the
//! app's user, and a link leads nowhere that the app could not go by itself.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::thread;

use rustix::process::geteuid;

use crate::account::Account;

/// Whether nobody but root and tidelock can change what `path` leads to: each folder on the way, and behind each
/// link, is theirs and may be written to by nobody else. What is not there yet is made by tidelock.
pub(crate) fn is_ours_alone(path: &Path) -> io::Result<bool> {
    let mut place = PathBuf::from("/");
    let mut ahead = parts(path);
    let mut links = 0;
    loop {
        if !is_ours(&fs::symlink_metadata(&place)?) {
            return Ok(false);
        }
        let Some(name) = ahead.pop_front() else { return Ok(true) };
        if name == ".." {
            place.pop();
            continue;
        }
        let next = place.join(&name);
        match fs::symlink_metadata(&next) {
            Ok(there) if there.is_symlink() => {
                links += 1;
                if links > LINKS_MAX {
                    return Ok(false);
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    place = PathBuf::from("/");
                }
                for part in parts(&target).into_iter().rev() {
                    ahead.push_front(part);
                }
            }
            Ok(there) if there.is_dir() => place = next,
            // The file itself: whoever may write to it writes what it says, and no more.
            Ok(_) => return Ok(ahead.is_empty()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

fn is_ours(folder: &Metadata) -> bool {
    // In a sticky folder like /tmp everybody may make what is not there yet, so that it is nobody's alone.
    let others_may_write = folder.mode() & 0o022 != 0;
    let is_owner = folder.uid() == 0 || folder.uid() == geteuid().as_raw();
    is_owner && !others_may_write
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(part).collect()
}

/// Reads a regular file that belongs to an app, with the rights of `account` if others may have chosen what it leads to.
pub(crate) fn read(path: &Path, account: Option<&Account>) -> io::Result<Vec<u8>> {
    match account {
        Some(account) if !is_ours_alone(path).unwrap_or(false) => {
            let as_the_user = || {
                account.become_on_this_thread()?;
                config::read_regular(path)
            };
            let read = thread::scope(|scope| {
                let reading =
                    thread::Builder::new().name("as-user".to_owned()).spawn_scoped(scope, as_the_user)?;
                reading.join().unwrap_or_else(|_| Err(io::Error::other("reading it panicked")))
            });
            read.map_err(|error| {
                let user = account.user;
                io::Error::new(error.kind(), format!("{error} (read as the user {user}, {WHY_AS_USER})"))
            })
        }
        _ => config::read_regular(path),
    }
}

/// What is said beside an error of a file that was opened with an app's rights.
pub(crate) const WHY_AS_USER: &str = "since others than root may write to a folder on its way";
/// As many as the kernel follows.
const LINKS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder of ours alone exists only for root, under /run; elsewhere tests run in what everybody may write to.
    fn folder() -> Option<tempfile::TempDir> {
        geteuid().is_root().then(|| tempfile::tempdir_in("/run").unwrap())
    }

    #[test]
    fn a_place_is_as_safe_as_the_folders_and_links_on_its_way() {
        let Some(folder) = folder() else { return };
        let at = |name: &str| folder.path().join(name);
        for name in ["ours", "ours/in", "open"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("ours/file"), "").unwrap();
        fs::write(at("open/file"), "").unwrap();
        fs::set_permissions(at("open"), Permissions::from_mode(0o777)).unwrap();
        symlink(at("open/file"), at("ours/out")).unwrap();
        symlink("in", at("ours/within")).unwrap();
        symlink(at("ours"), at("open/in")).unwrap();
        symlink("loop", at("ours/loop")).unwrap();
        for (place, expected) in [
            ("ours", true),
            ("ours/file", true),
            ("ours/none/none", true),
            ("ours/within/none", true),
            ("ours/in/../file", true),
            ("ours/out", false),
            ("ours/loop", false),
            ("open", false),
            ("open/file", false),
            ("open/in/file", false),
            ("open/in/../ours/file", false),
        ] {
            assert_eq!(is_ours_alone(&at(place)).unwrap(), expected, "{place}");
        }
        assert!(!is_ours_alone(Path::new("/tmp/none")).unwrap(), "anybody may make it first");
    }
}
