//! The Unix socket itself: where it is, who may connect, and that no two tidelocks have the same one. Knows nothing
//! of what is said over it.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Type};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Instant, sleep};

/// A socket that verbs can connect to, for its owner and root alone. Dropping it removes it.
#[derive(Debug)]
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
    /// Device and inode: what is at the path later may be another's.
    identity: (u64, u64),
    stays: Stays,
}

/// Whether it is at its path when this tidelock ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stays {
    No,
    /// It is another tidelock's by now, or still.
    Anothers,
    Systemds,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketProblem {
    /// The folder for it is not there and cannot be made, or cannot be used.
    #[error("cannot use {} for the admin socket: {error}", folder.display())]
    Folder {
        /// The folder that the socket would be in.
        folder: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Another process listens there.
    #[error(
        "{} has the admin socket {}; end it, or say another `admin.socket` in one of the two files",
        process(.pid), path.display()
    )]
    Taken {
        /// Where.
        path: PathBuf,
        /// The process that has it, where the system tells (SO_PEERCRED).
        pid: Option<i32>,
    },
    /// Something is there that is no socket, and perhaps somebody's data.
    #[error("{} is there and is no socket; tidelock does not replace it", path.display())]
    NoSocket {
        /// Where.
        path: PathBuf,
    },
    /// The system does not let it be bound: no right to the folder, or a path that is too long.
    #[error("cannot listen on the admin socket {}: {error}", path.display())]
    Listen {
        /// Where.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

fn process(pid: &Option<i32>) -> String {
    match pid {
        Some(pid) => format!("the process {pid}"),
        None => "another process".to_owned(),
    }
}

impl Socket {
    /// Listens at `path`, whose folder is made if it is not there. What a tidelock that died has left is replaced;
    /// one that lives keeps its own.
    ///
    /// # Errors
    /// If a tidelock that lives has the socket, or the folder or the socket cannot be made.
    ///
    /// # Cancel safety
    /// Cancel-safe: a socket that was made and is not returned is closed.
    pub async fn bind(path: &Path) -> Result<Self, SocketProblem> {
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            Some(_) | None => Path::new("."),
        };
        let wrong_folder = |error| SocketProblem::Folder { folder: folder.to_owned(), error };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(wrong_folder)?;
        // Two that start together must not both find the same dead socket and each put its own in the place.
        let _one_at_a_time = lock(folder).await.map_err(wrong_folder)?;
        demand_nobody(path).await?;
        let wrong_socket = |error| SocketProblem::Listen { path: path.to_owned(), error };
        let listener = listen(path).map_err(wrong_socket)?;
        let listener = UnixListener::from_std(listener).map_err(wrong_socket)?;
        let identity = identity(path).map_err(wrong_socket)?;
        Ok(Self { listener, path: path.to_owned(), identity, stays: Stays::No })
    }

    /// Goes on with a socket that another tidelock has bound at `path`, whose it is until [`Self::is_ours_now`]; or `systemds`, which
    /// stays there at the end.
    ///
    /// # Errors
    /// If it is none, or not at the path any more.
    pub fn take_over(path: &Path, socket: OwnedFd, is_systemds: bool) -> Result<Self, SocketProblem> {
        let wrong = |error| SocketProblem::Listen { path: path.to_owned(), error };
        let listener = StdListener::from(socket);
        listener.set_nonblocking(true).map_err(wrong)?;
        let listener = UnixListener::from_std(listener).map_err(wrong)?;
        let identity = identity(path).map_err(wrong)?;
        let stays = if is_systemds { Stays::Systemds } else { Stays::Anothers };
        let socket = Self { listener, path: path.to_owned(), identity, stays };
        if is_systemds {
            socket.say_whose().map_err(wrong)?;
        }
        Ok(socket)
    }

    /// Whoever connects is told by the system who has called listen(2) last, which is whom `tidelock kill` ends.
    fn say_whose(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.listener).listen(BACKLOG)
    }

    /// The tidelock before has let go of it.
    pub fn is_ours_now(&mut self) {
        if self.stays == Stays::Anothers {
            self.stays = Stays::No;
        }
        // It listens already.
        let _ = self.say_whose();
    }

    /// Whether it stays where it is when this tidelock ends.
    pub fn is_systemds(&self) -> bool {
        self.stays == Stays::Systemds
    }

    /// The same socket once more, for another tidelock to go on with.
    ///
    /// # Errors
    /// If there is no file left for it.
    pub fn once_more(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// Another tidelock listens on it, and it stays where it is.
    pub(crate) fn let_go(mut self) {
        self.stays = Stays::Anothers;
    }

    /// The path that it is bound to, as verbs have to name it with `--socket`.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next connection. Cancel-safe.
    pub(crate) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.stays == Stays::No && identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // If it cannot be removed, the next tidelock finds it dead and replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))
}

/// Holds until it is dropped, or the process ends.
async fn lock(folder: &Path) -> io::Result<File> {
    let folder = File::open(folder)?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match folder.try_lock() {
            Ok(()) => return Ok(folder),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process keeps it locked"));
            }
            Err(TryLockError::WouldBlock) => sleep(LOCK_AGAIN).await,
        }
    }
}

/// Passes if there is nothing at `path`, or a socket that nobody listens on.
async fn demand_nobody(path: &Path) -> Result<(), SocketProblem> {
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            return Err(SocketProblem::NoSocket { path: path.to_owned() });
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SocketProblem::Listen { path: path.to_owned(), error }),
    }
    match UnixStream::connect(path).await {
        Ok(stream) => {
            let pid = stream.peer_cred().ok().and_then(|process| process.pid());
            Err(SocketProblem::Taken { path: path.to_owned(), pid })
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        // One that is too busy to be connected to is alive.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(SocketProblem::Taken { path: path.to_owned(), pid: None })
        }
        Err(error) => Err(SocketProblem::Listen { path: path.to_owned(), error }),
    }
}

/// Nobody can connect before `listen`, and by then the mode is what it has to be; only then does the socket come to
/// its place, in one step.
fn listen(path: &Path) -> io::Result<StdListener> {
    let unfinished = unfinished(path);
    // Left by a tidelock that had the same process id and was killed at this very place.
    let _ = fs::remove_file(&unfinished);
    let socket = socket2::Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(&unfinished)?)?;
    let placed = fs::set_permissions(&unfinished, Permissions::from_mode(0o600))
        .and_then(|()| socket.listen(BACKLOG))
        .and_then(|()| socket.set_nonblocking(true))
        .and_then(|()| fs::rename(&unfinished, path));
    if let Err(error) = placed {
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    Ok(socket.into())
}

/// Beside `path`, and hardly longer: the path of a socket has at most 107 bytes.
fn unfinished(path: &Path) -> PathBuf {
    path.with_file_name(format!(".{}", std::process::id()))
}

/// Another tidelock needs the lock for less than a millisecond.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
const LOCK_AGAIN: Duration = Duration::from_millis(20);
/// Verbs that wait to be accepted.
const BACKLOG: i32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn it_is_the_owners_alone_and_leaves_with_its_guard() {
        let folder = folder();
        let path = folder.path().join("a/b/admin.sock");
        let socket = Socket::bind(&path).await.unwrap();
        let (made, between) = (path.parent().unwrap(), folder.path().join("a"));
        assert_eq!([mode(&path), mode(made), mode(&between)], [0o600, 0o700, 0o700]);
        assert_eq!(fs::read_dir(made).unwrap().count(), 1, "what it was made under is gone");
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_one_is_replaced_and_a_live_one_is_not() {
        let folder = folder();
        let path = folder.path().join("admin.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists(), "a process that dies leaves it");
        let first = Socket::bind(&path).await.unwrap();
        let problem = Socket::bind(&path).await.unwrap_err();
        let expected = format!(
            "the process {} has the admin socket {}; end it, or say another `admin.socket` in one of the two files",
            std::process::id(),
            path.display(),
        );
        assert_eq!(problem.to_string(), expected);
        assert!(UnixStream::connect(&path).await.is_ok(), "the first still has it");
        drop(first);
    }

    #[tokio::test]
    async fn of_many_that_start_together_one_gets_it() {
        let folder = folder();
        let path = folder.path().join("admin.sock");
        drop(StdListener::bind(&path).unwrap());
        let bind = || Socket::bind(&path);
        let (a, b, c) = tokio::join!(bind(), bind(), bind());
        assert_eq!([a, b, c].iter().filter(|bound| bound.is_ok()).count(), 1);
    }

    #[tokio::test]
    async fn what_is_no_socket_stays() {
        let folder = folder();
        let path = folder.path().join("notes");
        fs::write(&path, "dear diary").unwrap();
        let problem = Socket::bind(&path).await.unwrap_err();
        assert!(matches!(problem, SocketProblem::NoSocket { .. }), "{problem}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary");
    }

    #[tokio::test]
    async fn a_socket_of_another_is_not_removed() {
        let folder = folder();
        let path = folder.path().join("admin.sock");
        let first = Socket::bind(&path).await.unwrap();
        fs::remove_file(&path).unwrap();
        let second = Socket::bind(&path).await.unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_made_is_named() {
        let folder = folder();
        fs::write(folder.path().join("file"), "").unwrap();
        let problem = Socket::bind(&folder.path().join("file/admin.sock")).await.unwrap_err();
        assert!(matches!(problem, SocketProblem::Folder { .. }), "{problem}");
    }
}
