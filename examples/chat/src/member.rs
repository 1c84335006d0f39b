//! Who is in which room. The adapter keeps it, as rooms, and so it holds for all nodes that share one adapter.

use socketioxide::adapter::Adapter;
use socketioxide::extract::SocketRef;

use crate::payload::{Join, Members};

/// The one room a socket is in, and its name there. Kept with the socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) room: String,
    pub(crate) name: String,
}

impl Member {
    /// Takes what a client asked for, cut to a sane length.
    pub(crate) fn new(asked: &Join) -> Self {
        Self { room: shortened(&asked.room, "lobby"), name: shortened(&asked.name, "someone") }
    }

    pub(crate) fn enter<A: Adapter>(&self, socket: &SocketRef<A>) {
        socket.join([chat_room(&self.room), self.entry(&socket.id.to_string())]);
        socket.extensions.insert(self.clone());
    }

    pub(crate) fn leave<A: Adapter>(&self, socket: &SocketRef<A>) {
        socket.leave([chat_room(&self.room), self.entry(&socket.id.to_string())]);
        socket.extensions.remove::<Self>();
    }

    /// A room that only this socket is in, and whose name says who that is.
    ///
    /// An adapter can ask all nodes for the names of rooms, but not for data of sockets: so the name of the room is
    /// the datum. It is JSON, because a member may put any separator into a name.
    fn entry(&self, id: &str) -> String {
        format!("{ENTRY}{}", serde_json::json!([self.room, self.name, id]))
    }

    fn from_entry(entry: &str) -> Option<Self> {
        let (room, name, _id): (String, String, String) =
            serde_json::from_str(entry.strip_prefix(ENTRY)?).ok()?;
        Some(Self { room, name })
    }
}

/// Sends the names of all who are in `room`, on any node, to all of them.
pub(crate) async fn announce<A: Adapter>(socket: &SocketRef<A>, room: &str) {
    // Without an answer from the other nodes there is nothing true to say; the next change says it.
    let Ok(rooms) = socket.within(chat_room(room)).rooms().await else { return };
    let members = rooms.iter().filter_map(|entry| Member::from_entry(entry));
    let mut names: Vec<String> =
        members.filter(|member| member.room == room).map(|member| member.name).collect();
    names.sort_unstable();
    // A socket that closes meanwhile does not get it, and its own end is announced in turn.
    let _ = socket.within(chat_room(room)).emit("members", &Members { room, names }).await;
}

/// The Socket.IO room of a chat room. The prefix keeps people out of the rooms that are named by a socket's id.
pub(crate) fn chat_room(room: &str) -> String {
    format!("chat:{room}")
}

fn shortened(text: &str, otherwise: &str) -> String {
    let kept: String = text.trim().chars().take(NAME_CHARS_MAX).collect();
    if kept.is_empty() { otherwise.to_owned() } else { kept }
}

const ENTRY: &str = "member:";
const NAME_CHARS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_any_separator() {
        let member = Member { room: "a:b\"]".to_owned(), name: "member:[\"x\"".to_owned() };
        assert_eq!(Member::from_entry(&member.entry("id")), Some(member));
        assert_eq!(Member::from_entry("chat:lobby"), None);
    }

    #[test]
    fn names_are_cut_between_characters() {
        let asked = Join { room: "  ".to_owned(), name: "é".repeat(50) };
        let member = Member::new(&asked);
        assert_eq!((member.room.as_str(), member.name.chars().count()), ("lobby", 40));
    }
}
