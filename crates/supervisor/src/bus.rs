//! What the instances of an app say to each other: what one of them sends goes to the others, and is not read on the way.
//! `js/messages.cjs` is the other end, and has the format of a frame.
//!
//! A thread of its own carries it, so that a crowd of messages delays neither requests nor the control thread. What waits
//! for an instance is bounded: one that does not read loses messages, which are counted, and delays nobody.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};

mod frame;
mod member;
mod rooms;

use frame::{Frame, Kind};
use member::Member;
pub(crate) use member::{Counts, Occupant};
pub(crate) use rooms::Rooms;

/// All that is said between instances. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bus {
    thread: Arc<OnceLock<Carrier>>,
    members: Members,
}

/// The thread, which ends with this.
#[derive(Debug)]
struct Carrier {
    runtime: Handle,
    _stays: oneshot::Sender<()>,
}

/// Who is connected, by app.
#[derive(Debug, Clone, Default)]
struct Members(Arc<Mutex<BTreeMap<String, Vec<Arc<Member>>>>>);

/// The place of one instance: its processes connect here. Dropped, the others are told that it is gone.
#[derive(Debug)]
pub(crate) struct Seat {
    path: PathBuf,
    accepting: AbortHandle,
    members: Members,
    occupant: Occupant,
}

impl Bus {
    /// Opens the place of an instance at `path`, in a folder that is tidelock's alone to write to. One that another
    /// tidelock has opened there is replaced.
    pub(crate) fn open(&self, path: &Path, occupant: Occupant, counts: Arc<Counts>) -> io::Result<Seat> {
        let unfinished = path.with_added_extension("new");
        let listener = StdListener::bind(&unfinished)?;
        // Who connects is looked at when they do.
        fs::set_permissions(&unfinished, Permissions::from_mode(0o666))?;
        fs::rename(&unfinished, path)?;
        listener.set_nonblocking(true)?;
        let runtime = self.runtime()?;
        let _entered = runtime.enter();
        let listener = UnixListener::from_std(listener)?;
        let accepting =
            runtime.spawn(accept(listener, self.members.clone(), occupant.clone(), counts)).abort_handle();
        let members = self.members.clone();
        Ok(Seat { path: path.to_owned(), accepting, members, occupant })
    }

    /// Of the thread, which is started with the first place.
    fn runtime(&self) -> io::Result<Handle> {
        if let Some(Carrier { runtime, .. }) = self.thread.get() {
            return Ok(runtime.clone());
        }
        let runtime = Builder::new_current_thread().enable_io().build()?;
        let handle = runtime.handle().clone();
        let (stays, left) = oneshot::channel();
        // Of two that are started at once one ends at once, with nothing on it.
        let carrier = self.thread.get_or_init(|| Carrier { runtime: handle, _stays: stays });
        let carried = carrier.runtime.clone();
        thread::Builder::new().name("messages".to_owned()).spawn(move || runtime.block_on(left))?;
        Ok(carried)
    }
}

impl Seat {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Another tidelock has it now, and the instance goes on: nobody is told that it is gone.
    pub(crate) fn give_away(&self) {
        self.occupant.is_anothers.store(true, Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.accepting.abort();
        if !self.occupant.is_anothers.load(Ordering::Relaxed) {
            let _ = fs::remove_file(&self.path);
        }
        self.members.leave(&self.occupant);
    }
}

impl Members {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Vec<Arc<Member>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join<'a>(&'a self, occupant: &'a Occupant, member: Arc<Member>) -> Joined<'a> {
        self.lock().entry(occupant.app.clone()).or_default().push(member.clone());
        Joined { members: self, occupant, member }
    }

    /// Takes one connection of an instance away. With its last one the instance is gone.
    fn part(&self, occupant: &Occupant, member: &Arc<Member>) {
        let mut apps = self.lock();
        let Some(members) = apps.get_mut(&occupant.app) else { return };
        let before = members.len();
        members.retain(|other| !Arc::ptr_eq(other, member));
        let is_left =
            members.len() < before && members.iter().all(|other| other.generation() != occupant.generation);
        drop(apps);
        if is_left {
            self.leave(occupant);
        }
    }

    /// An instance is gone, and the others are told, unless it is another tidelock's.
    fn leave(&self, occupant: &Occupant) {
        self.forget(occupant);
        if occupant.is_anothers.load(Ordering::Relaxed) {
            return;
        }
        if let Some(members) = self.lock().get(&occupant.app) {
            let left = Frame::left(occupant.generation);
            members.iter().for_each(|member| member.give(left.clone()));
        }
    }

    fn forget(&self, occupant: &Occupant) {
        let mut apps = self.lock();
        if let Some(members) = apps.get_mut(&occupant.app) {
            members.retain(|member| member.generation() != occupant.generation);
            if members.is_empty() {
                apps.remove(&occupant.app);
            }
        }
    }

    /// Passes a frame on from one member to the others that it is for.
    fn pass(&self, app: &str, sender: &Arc<Member>, to: u64, frame: &Frame) {
        let apps = self.lock();
        for member in apps.get(app).into_iter().flatten() {
            if !Arc::ptr_eq(member, sender) && (to == EVERYBODY || member.generation() == to) {
                member.give(frame.clone());
            }
        }
    }
}

/// A member, for as long as it is connected.
struct Joined<'a> {
    members: &'a Members,
    occupant: &'a Occupant,
    member: Arc<Member>,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        self.members.part(self.occupant, &self.member);
    }
}

async fn accept(listener: UnixListener, members: Members, occupant: Occupant, counts: Arc<Counts>) {
    // They end with the place.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        // Without a file for one more the next may have one; whoever comes back waits a moment.
        let Ok((stream, _)) = accepted else {
            tokio::task::yield_now().await;
            continue;
        };
        let is_its = stream.peer_cred().is_ok_and(|peer| peer.uid() == occupant.user || peer.uid() == 0);
        if is_its && connections.len() < CONNECTIONS_MAX {
            connections.spawn(connection(stream, members.clone(), occupant.clone(), counts.clone()));
        }
    }
}

/// One process of an instance, until it has no more to say.
async fn connection(mut stream: UnixStream, members: Members, occupant: Occupant, counts: Arc<Counts>) {
    let joined = members.join(&occupant, Arc::new(Member::new(&occupant, counts.clone())));
    let member = &joined.member;
    let (mut read, mut write) = stream.split();
    let reading = async {
        let mut frames = frame::Reader::new(&mut read);
        while let Some((kind, to, frame)) = frames.next(occupant.generation).await {
            match kind {
                Kind::MESSAGE => members.pass(&occupant.app, member, to, &frame),
                Kind::ROOMS => counts.note_rooms(frame.payload()),
                // Whoever is of a later version than this one may say more.
                _ => {}
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = member.write_all_to(&mut write) => {}
    }
}

/// The generation that a frame has which is for all others. None begins with it.
const EVERYBODY: u64 = 0;
/// An instance has one process that talks, and another one while that is replaced, as by nodemon.
const CONNECTIONS_MAX: usize = 16;
