//! From a launch to a running process: everything is looked up first, so that what is wrong is said in words and not
//! by a number of the system; then a keeper is started and given its order.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IoSlice, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as StdStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};
use std::sync::Arc;
use std::time::Duration;

use config::app::{ReadyWhen, Socket};
use config::roster::InstanceAddress;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Process;
use super::attended::{Attended, COMMANDS_MAX, Held, next};
use super::child::Child;
use super::launch::{Launch, StartProblem};
use super::reservation::Reservation;
use crate::account::Account;
use crate::bus::{Counts, Occupant, Seat};
use crate::environment::{EnvInputs, Environment, MARK, environment};
use crate::host::Host;
use crate::ipc::Channel;
use crate::keeper;
use crate::keeper::order::{Order, Report};
use crate::logs::Output;
use crate::privileges;

impl Process {
    /// Looks everything up and starts it. Its output runs into the logs of `host` until its end.
    ///
    /// # Errors
    /// If it does not start; one that starts and ends at once is no error here, but its ending.
    ///
    /// # Cancel safety
    /// Not cancel-safe: what was begun is ended by itself, but its port is given out again at once.
    pub async fn start(host: &Host, launch: Launch) -> Result<Self, StartProblem> {
        let counts = Arc::new(Counts::default());
        let begun = {
            let (host, launch, counts) = (host.clone(), launch.clone(), counts.clone());
            // Files are looked at, and one of them may be on a disk that is far away.
            spawn_blocking(move || begin(&host, &launch, counts))
                .await
                .map_err(|error| StartProblem::Keeper(error.into()))??
        };
        let Begun { child, tidelock, output, channel, place, program, mark, account } = begun;
        let held = Held::of(&output, channel.as_ref()).map_err(StartProblem::Keeper)?;
        let keeper = child.id().unwrap_or_default();
        let (reports, orders) = UnixStream::from_std(tidelock).map_err(StartProblem::Keeper)?.into_split();
        let mut reports = BufReader::new(reports).lines();
        let said = timeout(KEEPER_TIMEOUT, next(&mut reports)).await;
        let pid = match said {
            Ok(Some(Report::Started(pid))) => pid,
            Ok(Some(Report::Failed(errno))) => {
                return Err(StartProblem::Refused { program, error: io::Error::from_raw_os_error(errno) });
            }
            Ok(_) => {
                return Err(StartProblem::Keeper(io::Error::other(
                    "it ended before it had started anything",
                )));
            }
            Err(_) => return Err(StartProblem::Keeper(io::ErrorKind::TimedOut.into())),
        };
        let read = host.logs().follow(&launch, account, output);
        let channel = channel.map(Channel::open).transpose().map_err(StartProblem::Keeper)?;
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let (says, ending) = watch::channel(None);
        let address = place.address.clone();
        let folder = place.folder.path.clone();
        let attended = Attended { child, reports, orders, pid, mark, place, held, read };
        tokio::spawn(attended.run(asked, says));
        Ok(Process { launch, address, folder, pid, keeper, commands, ending, channel, counts })
    }
}

/// A keeper that has its order.
#[derive(Debug)]
struct Begun {
    child: Child,
    tidelock: StdStream,
    output: Output,
    channel: Option<StdStream>,
    place: Reservation,
    program: PathBuf,
    mark: String,
    account: Option<Account>,
}

/// By what everything that comes of an instance is known again.
pub(super) fn mark_of(folder: &Path, launch: &Launch) -> String {
    format!("{}/{}/{}", folder.display(), launch, launch.id.generation)
}

fn begin(host: &Host, launch: &Launch, counts: Arc<Counts>) -> Result<Begun, StartProblem> {
    let app = &*launch.app;
    let account = Account::of(app)?;
    check_cwd(&app.cwd)?;
    let place = place(host, launch, account.as_ref(), counts)?;
    let mark = mark_of(&place.folder.path, launch);
    let own: Environment = std::env::vars_os().collect();
    let inputs = EnvInputs {
        app,
        id: launch.id,
        address: &place.address,
        account: account.as_ref(),
        folder: &place.folder.path,
        preload: &place.folder.preload,
        messages: place.seat.as_ref().map(Seat::path),
        mark: &mark,
    };
    let environment = environment(own, &inputs)?;
    let argv: Vec<String> = app.argv().into_iter().map(|word| with_place(word, &environment)).collect();
    let program = find(&argv[0], &app.cwd, environment.get(OsStr::new("PATH")).map(|path| &**path))?;
    let has_channel = app.ready.when == ReadyWhen::Message || app.stop.tell;
    let mut command: Vec<_> = argv.into_iter().map(Into::into).collect();
    command[0] = program.clone().into();
    let order = Order {
        command,
        environment: environment.into_iter().collect(),
        cwd: app.cwd.clone(),
        account: account.as_ref().map(|account| (account.user, account.group)),
        has_channel,
        no_new_privs: app.no_new_privs,
    };
    let (child, tidelock, output, channel) =
        keeper(host, launch, &order, &mark).map_err(StartProblem::Keeper)?;
    Ok(Begun { child, tidelock, output, channel, place, program, mark, account })
}

/// Puts in what only this instance knows, where its command asks for it: `$PORT` and `${PORT}`, and HOST alike.
fn with_place(word: &str, environment: &Environment) -> String {
    ["PORT", "HOST"].into_iter().fold(word.to_owned(), |word, name| {
        let Some(value) = environment.get(OsStr::new(name)).and_then(|value| value.to_str()) else {
            return word;
        };
        let word = word.replace(&format!("${{{name}}}"), value);
        let bare = format!("${name}");
        let mut parts = word.split(&bare);
        let mut whole = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            // $PORT_OF_ANOTHER is another variable.
            let goes_on = part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
            whole.push_str(if goes_on { &bare } else { value });
            whole.push_str(part);
        }
        whole
    })
}

fn place(
    host: &Host,
    launch: &Launch,
    account: Option<&Account>,
    counts: Arc<Counts>,
) -> Result<Reservation, StartProblem> {
    let name = &launch.app.name;
    let (address, port) = match launch.app.socket {
        Socket::Tcp => {
            let port = host.ports.take(launch.app.ports.as_ref())?;
            (InstanceAddress::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port.port()))), Some(port))
        }
        Socket::Unix if account.is_some() && !rustix::process::geteuid().is_root() => {
            return Err(StartProblem::SocketOfAnother);
        }
        Socket::Unix => {
            let path = host.folder.socket(name, launch.id);
            if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
                return Err(StartProblem::SocketPath(path));
            }
            (InstanceAddress::Unix(path), None)
        }
    };
    let folder = host.folder.instance(name, launch.id, account).map_err(StartProblem::Keeper)?;
    let seat = seat(host, launch, account, counts);
    Ok(Reservation { address, _port: port, folder, seat })
}

/// Where the instance talks to the others. Without it the rest of the app works.
pub(super) fn seat(
    host: &Host,
    launch: &Launch,
    account: Option<&Account>,
    counts: Arc<Counts>,
) -> Option<Seat> {
    let path = host.folder.messages(&launch.app.name, launch.id);
    let user = account.map_or_else(|| rustix::process::geteuid().as_raw(), |account| account.user);
    let (app, generation) = (launch.app.name.clone(), launch.id.generation);
    let (instance, is_anothers) = (launch.to_string(), Arc::default());
    let opened = host.bus.open(&path, Occupant { app, instance, generation, user, is_anothers }, counts);
    opened
        .inspect_err(|error| {
            let path = path.display();
            tracing::warn!(app = %launch, "it cannot talk to the other instances: {path}: {error}");
        })
        .ok()
}

type Keeping = (Child, StdStream, Output, Option<StdStream>);

/// Starts a keeper and gives it its order.
fn keeper(host: &Host, launch: &Launch, order: &Order, mark: &str) -> io::Result<Keeping> {
    let (tidelock, theirs) = StdStream::pair()?;
    let (stdout, stdout_end) = io::pipe()?;
    let (stderr, stderr_end) = io::pipe()?;
    let mut program = Program::new(&*host.keeper);
    program.arg0(keeper::NAME).arg(keeper::OF).arg(launch.to_string()).env_clear().env(MARK, mark);
    let (name, value) = keeper::ALLOCATOR;
    program.env(name, value);
    // A group of its own: Ctrl-C is for tidelock.
    program.current_dir("/").process_group(0);
    program.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(stdout_end).stderr(stderr_end);
    let child = match order.account {
        None => Child::spawn(&mut program)?,
        Some(_) => privileges::lending(|| Child::spawn(&mut program))?,
    };
    drop(program);
    let channels = order.has_channel.then(StdStream::pair).transpose()?;
    tidelock.set_write_timeout(Some(KEEPER_TIMEOUT))?;
    give(&tidelock, &order.encode(), channels.as_ref().map(|(_, theirs)| theirs))?;
    tidelock.set_nonblocking(true)?;
    Ok((
        child,
        tidelock,
        Output { stdout: stdout.into(), stderr: stderr.into() },
        channels.map(|(ours, _)| ours),
    ))
}

/// Sends the order, and with its first bytes the app's end of its channel.
fn give(mut keeper: &StdStream, order: &[u8], channel: Option<&StdStream>) -> io::Result<()> {
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    let channel = channel.map(AsFd::as_fd);
    if !channel.as_slice().is_empty() {
        beside.push(SendAncillaryMessage::ScmRights(channel.as_slice()));
    }
    let sent = sendmsg(keeper, &[IoSlice::new(order)], &mut beside, SendFlags::empty())?;
    keeper.write_all(&order[sent..])
}

pub(crate) fn check_cwd(cwd: &Path) -> Result<(), StartProblem> {
    let wrong = |why| StartProblem::Cwd { path: cwd.to_owned(), why };
    match fs::metadata(cwd) {
        Ok(there) if there.is_dir() => Ok(()),
        Ok(_) => Err(wrong("is no folder")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(wrong("may not be entered")),
        Err(_) => Err(wrong("is not there")),
    }
}

/// The program's file, as execvp(3) finds it: through the app's own PATH, unless there is a slash in it.
pub(crate) fn find(program: &str, cwd: &Path, path: Option<&OsStr>) -> Result<PathBuf, StartProblem> {
    if program.contains('/') {
        let file = cwd.join(program);
        return match why_not_executable(&file) {
            None => Ok(file),
            Some(None) => Err(StartProblem::NoProgram(file)),
            Some(Some(why)) => Err(StartProblem::NotExecutable { path: file, why }),
        };
    }
    let path = path.unwrap_or(OsStr::new(USUAL_PATH));
    let mut refused = None;
    for folder in path.as_bytes().split(|&byte| byte == b':') {
        let file = cwd.join(OsStr::from_bytes(folder)).join(program);
        match why_not_executable(&file) {
            None => return Ok(file),
            Some(None) => {}
            Some(Some(why)) => refused = refused.or(Some(StartProblem::NotExecutable { path: file, why })),
        }
    }
    Err(refused
        .unwrap_or_else(|| StartProblem::NoCommand(program.to_owned(), path.to_string_lossy().into_owned())))
}

/// `Some(None)` if there is no such file.
fn why_not_executable(file: &Path) -> Option<Option<&'static str>> {
    match fs::metadata(file) {
        Ok(there) if there.is_dir() => Some(Some("a folder")),
        Ok(there) if there.permissions().mode() & 0o111 == 0 => {
            Some(Some("not marked as executable (chmod +x)"))
        }
        Ok(_) => None,
        Err(_) => Some(None),
    }
}

/// A keeper has its answer in a few milliseconds; a machine that swaps may need more.
const KEEPER_TIMEOUT: Duration = Duration::from_secs(10);
/// `sun_path` has 108 bytes, the last of them NUL (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// What execvp(3) takes without PATH.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
