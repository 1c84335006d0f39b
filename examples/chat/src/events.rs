//! What the node does with each event. Generic over the adapter: alone in its process, or one of many nodes.

use std::convert::Infallible;
use std::time::{SystemTime, UNIX_EPOCH};

use fanout::Fanout;
use serde_json::{Map, Value, json};
use socketioxide::TransportType;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, Data, Extension, SocketRef};

use crate::NodeName;
use crate::payload::{Arguments, Join, Message, Name, Said};
use crate::roster::{Changes, ROOM, called, chat_room};

/// Takes a new socket into the chat: call it in a middleware of the namespace.
///
/// A connect handler runs when the client knows already that it is connected, and what a client says in that moment
/// would find no handler.
pub fn welcome<A: Adapter>(
    socket: &SocketRef<A>,
    node: NodeName,
    changes: Changes,
    fleet: Option<Fanout>,
) -> Result<(), Infallible> {
    // Socket.IO in Node.js does it by itself, and apps send to one socket that way.
    socket.join(socket.id.to_string());
    socket.extensions.insert(node);
    socket.extensions.insert(changes);
    if let Some(fleet) = fleet {
        socket.extensions.insert(fleet);
    }
    socket.on("join", join::<A>);
    socket.on("leave", leave::<A>);
    socket.on("message", message::<A>);
    socket.on("who", who::<A>);
    socket.on("echo", async |ack: AckSender<A>, Data(arguments): Data<Arguments>| answer(ack, &arguments));
    socket.on_disconnect(gone::<A>);
    Ok(())
}

async fn join<A: Adapter>(
    socket: SocketRef<A>,
    Extension(changes): Extension<Changes>,
    Data(asked): Data<Join>,
    ack: AckSender<A>,
) {
    let room = chat_room(&asked.room);
    let rooms = chat_rooms(&socket);
    let may_enter = rooms.contains(&room) || rooms.len() < ROOMS_MAX;
    if may_enter {
        socket.extensions.insert(Name::of(&asked.name));
        socket.join(room.clone());
        changes.here(&room);
    }
    answer(ack, &may_enter);
}

async fn leave<A: Adapter>(
    socket: SocketRef<A>,
    Extension(changes): Extension<Changes>,
    Data(room): Data<String>,
) {
    let room = chat_room(&room);
    socket.leave(room.clone());
    changes.here(&room);
}

/// The adapter still knows the rooms of a socket when this runs.
async fn gone<A: Adapter>(socket: SocketRef<A>, Extension(changes): Extension<Changes>) {
    for room in chat_rooms(&socket) {
        socket.leave(room.clone());
        changes.here(&room);
    }
}

async fn message<A: Adapter>(
    socket: SocketRef<A>,
    Extension(NodeName(node)): Extension<NodeName>,
    Data(said): Data<Said>,
    ack: AckSender<A>,
) {
    let room = chat_room(&said.room);
    let Some(Name(name)) = socket.extensions.get().filter(|_| chat_rooms(&socket).contains(&room)) else {
        return answer(ack, &false);
    };
    let text: String = said.text.chars().take(TEXT_CHARS_MAX).collect();
    let picture = if said.picture.is_bin() { said.picture } else { rmpv::Value::Nil };
    let id: String = said.id.chars().take(ID_CHARS_MAX).collect();
    let message = Message {
        room: called(&room),
        id: &id,
        name: &name,
        text: &text,
        picture,
        node: &node,
        at: now_ms(),
    };
    if !id.is_empty() {
        keep(&socket, &message);
    }
    // Whoever has gone does not get it; there is nobody to tell.
    let _ = socket.within(room.clone()).emit("message", &message).await;
    answer(ack, &true);
}

/// Tells whoever keeps messages for those who are away; before the room is told, so that it is kept whoever has it.
fn keep<A: Adapter>(socket: &SocketRef<A>, message: &Message<'_>) {
    let Some(fleet) = socket.extensions.get::<Fanout>().and_then(|fleet| fleet.of("/")) else { return };
    let Message { room, id, name, text, node, at, picture: _ } = message;
    let kept = json!({ "room": room, "id": id, "name": name, "text": text, "node": node, "at": at });
    fleet.server_side_emit(SAID, [kept]);
}

async fn who<A: Adapter>(
    socket: SocketRef<A>,
    Extension(NodeName(node)): Extension<NodeName>,
    ack: AckSender<A>,
) {
    let headers = &socket.req_parts().headers;
    let shown: Map<String, Value> = HEADERS_SHOWN
        .iter()
        .filter_map(|&name| {
            let values: Vec<_> =
                headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            (!values.is_empty()).then(|| (name.to_owned(), values.join(", ").into()))
        })
        .collect();
    let transport = match socket.transport_type() {
        TransportType::Polling => "polling",
        TransportType::Websocket => "websocket",
    };
    answer(
        ack,
        &json!({ "node": &*node, "pid": std::process::id(), "transport": transport, "headers": shown }),
    );
}

fn answer<A: Adapter>(ack: AckSender<A>, value: &impl serde::Serialize) {
    // It fails when the socket is gone, and then nobody waits for it.
    let _ = ack.send(value);
}

fn chat_rooms<A: Adapter>(socket: &SocketRef<A>) -> Vec<String> {
    let rooms = socket.rooms().into_iter().map(|room| room.into_owned());
    rooms.filter(|room| room.starts_with(ROOM)).collect()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What nodes call a message that has an id, which they tell each other.
pub const SAID: &str = "said";

const TEXT_CHARS_MAX: usize = 4000;
const ID_CHARS_MAX: usize = 64;

/// Rooms that one socket may be in.
const ROOMS_MAX: usize = 50;

/// The headers by which a node learns who is behind a proxy.
const HEADERS_SHOWN: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"];
