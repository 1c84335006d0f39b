//! Who is in which room, on all nodes, told to those who are in it.
//!
//! When a room changes on one node, that node tells all others so, and each of them asks the whole fleet for the
//! room's sockets and passes the names on to its own. A node does so for one batch of rooms after another, and what
//! changes meanwhile makes the next batch: the list that it tells last was asked for after the last change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fanout::{Description, Error, Fanout, Target};
use socketioxide::SocketIo;
use socketioxide::adapter::Adapter;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::payload::{Members, Name, shortened};

/// The rooms that have changed and whose members were not told yet. All clones are one.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    rooms: Mutex<BTreeMap<String, Where>>,
    /// What other nodes said was lost, so that any room may have changed.
    missed: AtomicBool,
    bell: Notify,
}

/// Where a room has changed. The greater one wins: what has changed here is told to the other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Where {
    Elsewhere,
    Here,
}

impl Changes {
    /// A socket of this node has entered or left `room`.
    pub fn here(&self, room: &str) {
        self.add(room, Where::Here);
    }

    /// Messages of other nodes did not arrive here, nor perhaps those of this one there.
    pub fn missed(&self) {
        self.0.missed.store(true, Relaxed);
        self.0.bell.notify_one();
    }

    fn add(&self, room: &str, place: Where) {
        let mut rooms = self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let known = rooms.entry(room.to_owned()).or_insert(place);
        *known = place.max(*known);
        self.0.bell.notify_one();
    }

    fn take(&self) -> BTreeMap<String, Where> {
        std::mem::take(&mut *self.0.rooms.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Tells sockets of this node who is in their rooms, for ever. With a fleet, those of all nodes, and it tells the
/// other nodes when rooms change here.
pub async fn run<A: Adapter>(io: SocketIo<A>, changes: Changes, fleet: Option<Fanout>) {
    if let Some(fleet) = &fleet {
        answer_others(&io, &changes, fleet);
    }
    let mut said = String::new();
    loop {
        changes.0.bell.notified().await;
        if changes.0.missed.swap(false, Relaxed) {
            all_rooms(&io).iter().for_each(|room| changes.here(room));
        }
        let rooms = changes.take();
        if rooms.is_empty() {
            // A question about no room would be one about everybody.
            continue;
        }
        let Err(error) = tell(&io, fleet.as_ref(), &rooms).await else {
            said.clear();
            continue;
        };
        // There is no complete answer while a node is stuck or Redis is away: show what is here, and ask again.
        emit(&io, known_here(&io, rooms.keys())).await;
        let error = error.to_string();
        if error != said {
            eprintln!("rooms show the members on this node only, for now: {error}");
            said = error;
        }
        sleep(RETRY_AFTER).await;
        rooms.into_iter().for_each(|(room, place)| changes.add(&room, place));
    }
}

/// The Socket.IO room of a chat room. The prefix keeps people out of the rooms that are named by a socket's id.
pub(crate) fn chat_room(room: &str) -> String {
    format!("{ROOM}{}", shortened(room, "lobby"))
}

/// What people call a room.
pub(crate) fn called(room: &str) -> &str {
    room.strip_prefix(ROOM).unwrap_or(room)
}

/// What the other nodes need of this one: it hears of their changes, and says what its sockets are called.
fn answer_others<A: Adapter>(io: &SocketIo<A>, changes: &Changes, fleet: &Fanout) {
    let (hearing, changes) = (io.clone(), changes.clone());
    fleet.on_server_side_emit(move |emit| {
        let Some(room) = emit.arguments.first().and_then(|room| room.as_str()) else { return };
        // Without people here there is nobody to tell, and the marks cannot outnumber the rooms.
        if emit.event == CHANGED && !hearing.local().within(room.to_owned()).sockets().is_empty() {
            changes.add(room, Where::Elsewhere);
        }
    });
    let describing = io.clone();
    fleet.describe_sockets(move |_, id| {
        let name = describing.get_socket(id).and_then(|socket| socket.extensions.get::<Name>());
        Description { data: serde_json::json!({ "name": name }), ..Description::default() }
    });
}

fn all_rooms<A: Adapter>(io: &SocketIo<A>) -> BTreeSet<String> {
    let sockets = io.local().sockets();
    let rooms = sockets.iter().flat_map(|socket| socket.rooms()).map(|room| room.into_owned());
    rooms.filter(|room| room.starts_with(ROOM)).collect()
}

async fn tell<A: Adapter>(
    io: &SocketIo<A>,
    fleet: Option<&Fanout>,
    rooms: &BTreeMap<String, Where>,
) -> Result<(), Error> {
    let names = match fleet.and_then(|fleet| fleet.of("/")) {
        None => known_here(io, rooms.keys()),
        Some(fleet) => {
            for (room, _) in rooms.iter().filter(|(_, place)| **place == Where::Here) {
                fleet.server_side_emit(CHANGED, [room.as_str().into()]);
            }
            let target = rooms.keys().fold(Target::everyone(), |target, room| target.or_room(room));
            let sockets = fleet.fetch_sockets(target).await?;
            let name = |data: &serde_json::Value| data["name"].as_str().map(str::to_owned);
            gather(rooms.keys(), sockets.into_iter().map(|socket| (name(&socket.data), socket.rooms)))
        }
    };
    emit(io, names).await;
    Ok(())
}

fn known_here<'a, A: Adapter>(
    io: &SocketIo<A>,
    rooms: impl Iterator<Item = &'a String>,
) -> BTreeMap<&'a str, Vec<String>> {
    let names = |room: &str| {
        let sockets = io.local().within(room.to_owned()).sockets();
        sockets.iter().filter_map(|socket| socket.extensions.get().map(|Name(name)| name)).collect()
    };
    rooms.map(|room| (room.as_str(), names(room))).collect()
}

/// Sorts people into those of `rooms` that they are in. A room with nobody in it stays, empty.
fn gather<'a>(
    rooms: impl Iterator<Item = &'a String>,
    people: impl Iterator<Item = (Option<String>, Vec<String>)>,
) -> BTreeMap<&'a str, Vec<String>> {
    let mut names: BTreeMap<&str, Vec<String>> = rooms.map(|room| (room.as_str(), Vec::new())).collect();
    for (name, rooms) in people {
        let name = name.unwrap_or_else(|| "someone".to_owned());
        for room in rooms {
            if let Some(names) = names.get_mut(room.as_str()) {
                names.push(name.clone());
            }
        }
    }
    names
}

async fn emit<A: Adapter>(io: &SocketIo<A>, names: BTreeMap<&str, Vec<String>>) {
    for (room, mut names) in names {
        names.sort_unstable();
        let members = Members { room: called(room), names };
        // A socket that closes meanwhile does not get it, and its own end is a change in turn.
        let _ = io.local().within(room.to_owned()).emit("members", &members).await;
    }
}

pub(crate) const ROOM: &str = "chat:";

/// What nodes call the news, which has the Socket.IO room as its argument.
const CHANGED: &str = "changed";

const RETRY_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_listed_in_each_room_that_was_asked_for() {
        let rooms = ["chat:a".to_owned(), "chat:b".to_owned()];
        let person = |name: &str, rooms: &[&str]| {
            (Some(name.to_owned()), rooms.iter().map(|&room| room.to_owned()).collect())
        };
        let people = [person("Ada", &["id", "chat:a", "chat:c"]), person("Grace", &["chat:a"])];
        let expected =
            BTreeMap::from([("chat:a", vec!["Ada".to_owned(), "Grace".to_owned()]), ("chat:b", Vec::new())]);
        assert_eq!(gather(rooms.iter(), people.into_iter()), expected);
    }

    #[test]
    fn a_change_here_is_told_to_others_whatever_they_say() {
        let changes = Changes::default();
        changes.add("a", Where::Elsewhere);
        changes.here("a");
        changes.add("a", Where::Elsewhere);
        assert_eq!(changes.take(), BTreeMap::from([("a".to_owned(), Where::Here)]));
        assert!(changes.take().is_empty());
    }
}
