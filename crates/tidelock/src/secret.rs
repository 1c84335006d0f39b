//! The secret that keys tags and pins where the file names none: random, made once, and kept, so that sessions and logins
//! survive a restart.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;

use config::plan::{Plan, Secrets};

/// Gives a plan without a secret the one that is kept. The same for as long as this process lives, whatever becomes of the
/// file it is in.
pub(crate) fn fill_in(plan: &mut Plan) {
    if plan.sticky_secret.is_empty() {
        plan.sticky_secret = Secrets::new(vec![KEPT.get_or_init(kept_or_new).clone()]);
    }
}

/// The one that was filled in, if any was.
pub(crate) fn kept() -> Option<&'static [u8]> {
    KEPT.get().map(Vec::as_slice)
}

/// Goes on with the one of the tidelock before, whatever is in the state folder by now.
pub(crate) fn go_on_with(secret: String) {
    // It happens once, before there is a plan.
    let _ = KEPT.set(secret.into_bytes());
}

static KEPT: OnceLock<Vec<u8>> = OnceLock::new();

/// The one in the state folder, or a new one; one that cannot be kept is good for this process alone.
fn kept_or_new() -> Vec<u8> {
    let Some(folder) = admin::places::state_folder() else {
        tracing::warn!(
            event = "secret_unkept",
            "{NOT_KEPT}: there is no $STATE_DIRECTORY, no $XDG_STATE_HOME and no $HOME"
        );
        return random();
    };
    keep(&folder).unwrap_or_else(|error| {
        tracing::warn!(event = "secret_unkept", folder = %folder.display(), %error, "{NOT_KEPT}");
        random()
    })
}

/// Reads the secret in `folder`, or puts a new one there. Of two tidelocks that start at once, one has its way.
fn keep(folder: &Path) -> io::Result<Vec<u8>> {
    let path = folder.join("sticky_secret");
    match read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        read => return read,
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let secret = random();
    // Whole or not at all: a crash in between leaves a file of another name.
    let written = folder.join(format!(".sticky_secret.{}", std::process::id()));
    let linked = write(&written, &secret).map(|()| fs::hard_link(&written, &path));
    // On a full disk, too, nothing half is left.
    let removed = fs::remove_file(&written);
    let linked = linked?;
    removed?;
    match linked {
        Ok(()) => {
            tracing::info!(file = %path.display(), "made a sticky secret; several tidelocks in front of the same nodes need one and the same");
            Ok(secret)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(&path),
        Err(error) => Err(error),
    }
}

fn write(path: &Path, secret: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(secret)?;
    file.sync_all()
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mode = file.metadata()?.mode();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %path.display(), "others can read the sticky secret: `chmod 600` it");
    }
    let mut secret = Vec::new();
    file.take(SECRET_BYTES_MAX).read_to_end(&mut secret)?;
    if secret.len() < SECRET_BYTES {
        let message = format!("{} is no secret: {} bytes or more are one", path.display(), SECRET_BYTES);
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(secret)
}

fn random() -> Vec<u8> {
    let mut bytes = [0; SECRET_BYTES / 2];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .expect("every system has /dev/urandom, and it never ends");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()
}

const NOT_KEPT: &str = "the sticky secret cannot be kept, so that Engine.IO sessions that poll and logins will not survive \
                        a restart; set `sticky_secret`";
/// 32 bytes of randomness, in hexadecimal digits.
const SECRET_BYTES: usize = 64;
const SECRET_BYTES_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_kept_to_oneself() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("a/b");
        let made = keep(&state).expect("made");
        assert_eq!(made.len(), SECRET_BYTES);
        assert_eq!(keep(&state).expect("kept"), made);
        let mode = fs::metadata(state.join("sticky_secret")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let names: Vec<_> = fs::read_dir(&state).expect("a folder").collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn what_is_no_secret_is_not_taken_for_one() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("sticky_secret"), "short").expect("written");
        let error = keep(folder.path()).expect_err("no secret");
        assert!(error.to_string().contains("64 bytes or more"), "{error}");
    }
}
