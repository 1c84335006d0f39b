//! A tidelock in the background: how it is found, how it is started so that it outlives whoever started it, and what it does
//! first. There is one for each user, by a lock.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use admin::api::Status;
use admin::client;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use crate::home::Home;
use crate::output::tell;
use crate::reload::Source;
use crate::service::{self, Service};
use crate::{environment, lock, log, run, upgrade, verbs};

/// One that runs, and serves the user's file.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) socket: PathBuf,
    pub(crate) status: Status,
}

/// The tidelock that serves the user's file, in the background or as a service.
pub(crate) fn find(runtime: &Runtime, home: &Home) -> Option<Running> {
    let mut paths = vec![home.socket()];
    paths.extend(admin::places::paths_to_ask());
    let file = same(&home.file);
    paths.into_iter().find_map(|socket| {
        let status = runtime.block_on(client::status(std::slice::from_ref(&socket))).ok()?;
        let is_it = status.file.as_deref().map(same) == Some(file.clone());
        is_it.then_some(Running { socket, status })
    })
}

/// Through links, as far as the file is there.
fn same(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The same for whoever changes it: one that leaves is waited for.
pub(crate) fn find_staying(runtime: &Runtime, home: &Home) -> Option<Running> {
    loop {
        let running = find(runtime, home)?;
        if !running.status.leaving {
            return Some(running);
        }
        let pid = running.status.pid;
        tell!("waiting for the tidelock that leaves, process {pid}; `tidelock kill --now` waits for nobody");
        verbs::until_gone(runtime, pid);
    }
}

/// Starts one with the user's file as it is, and waits until it serves: as the service that is there for this file, or in the
/// background. `Err` is what it said.
pub(crate) fn start(runtime: &Runtime, home: &Home) -> Result<Running, String> {
    home.prepare()?;
    let Some(service) = Service::serving(home) else { return start_apart(runtime, home) };
    service.start()?;
    tell!(
        "tidelock starts as the service that serves this file at boot, too: `{}`",
        service.status_command()
    );
    let running = service::wait(runtime, service, || find(runtime, home));
    running.inspect_err(|_| service.stop())
}

fn start_apart(runtime: &Runtime, home: &Home) -> Result<Running, String> {
    let path = home.log();
    let failed = |error: io::Error| format!("tidelock cannot be started in the background: {error}");
    let mut output = log::open(&path).map_err(failed)?;
    let from = output.seek(SeekFrom::End(0)).map_err(failed)?;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("tidelock").arg("background").arg("--file").arg(&home.file).arg("--state").arg(&home.state);
    command.current_dir("/").env_clear().envs(environment::of_login());
    command.stdin(Stdio::null()).stdout(output.try_clone().map_err(failed)?).stderr(output);
    let child = command.spawn().map_err(failed)?;
    runtime.block_on(until_serving(child, home, from))
}

async fn until_serving(mut child: Child, home: &Home, from: u64) -> Result<Running, String> {
    let socket = home.socket();
    let mut waited = Duration::ZERO;
    loop {
        if let Ok(status) = client::status(std::slice::from_ref(&socket)).await
            && status.pid == child.id()
        {
            return Ok(Running { socket, status });
        }
        match child.try_wait() {
            Ok(None) => {}
            Ok(Some(_)) => return Err(said(&home.log(), from)),
            Err(error) => return Err(format!("tidelock was started, and is lost: {error}")),
        }
        sleep(LOOK_AGAIN).await;
        waited += LOOK_AGAIN;
        if waited == SAY_SO {
            tell!("tidelock was started, and does not serve yet; its log is {}", home.log().display());
        }
    }
}

/// What was written to the log from there on.
fn said(path: &Path, from: u64) -> String {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|mut log| {
        log.seek(SeekFrom::Start(from))?;
        log.take(SAID_BYTES_MAX).read_to_end(&mut text)
    });
    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
    match read {
        Ok(_) if !text.is_empty() => text,
        _ if is_full(path) => {
            format!("tidelock has ended at once: the disk is full that {} is on", path.display())
        }
        _ => format!("tidelock has ended at once, and its log {} does not say why", path.display()),
    }
}

fn is_full(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|disk| disk.f_bavail == 0)
}

/// What the process does that was started so: has a session of its own, so that no terminal ends it, and serves.
pub(crate) fn serve(home: &Home) -> ExitCode {
    // One that leads a group already has its own by that.
    let _ = rustix::process::setsid();
    // One that goes on in the place of another is given its lock.
    if !upgrade::has_lock() {
        match only_one(home) {
            Ok(held) => lock::keep(held),
            Err(why) => {
                tell!("{why}");
                return ExitCode::FAILURE;
            }
        }
    }
    let mut source = Source::background(home.file.clone(), home.socket());
    let loaded = source.load();
    run::loaded(loaded, source, Some(home.log()))
}

fn only_one(home: &Home) -> Result<File, String> {
    let path = home.running();
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    let lock =
        File::options().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
    let mut looks = 0;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            // One that does not answer any more may still be ending.
            Err(TryLockError::WouldBlock) if looks < ENDING_LOOKS_MAX => {
                looks += 1;
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let _ = (&lock).take(20).read_to_string(&mut pid);
                return Err(format!(
                    "a tidelock of yours runs in the background already, process {}",
                    pid.trim()
                ));
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
    }
    lock::say_whose(&lock).map_err(failed)?;
    Ok(lock)
}

const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Its log has a second for its last lines.
const ENDING_LOOKS_MAX: u32 = 250;
/// Names may have to be looked up; who waits so long wants to know for what.
const SAY_SO: Duration = Duration::from_secs(5);
const SAID_BYTES_MAX: u64 = 64 << 10;
