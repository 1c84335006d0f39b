//! What the node does with each event. Generic over the adapter: alone in its process, or one of many nodes.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use socketioxide::TransportType;
use socketioxide::adapter::Adapter;
use socketioxide::extract::{AckSender, Data, Extension, SocketRef};

use crate::NodeName;
use crate::member::{Member, announce, chat_room};
use crate::payload::{Arguments, Join, Message, Said};

/// Takes a new socket into the chat: call it in the connect handler of a namespace.
pub fn welcome<A: Adapter>(socket: &SocketRef<A>, node: NodeName) {
    // Socket.IO in Node.js does it by itself, and apps send to one socket that way.
    socket.join(socket.id.to_string());
    socket.extensions.insert(node);
    socket.on("join", join::<A>);
    socket.on("leave", leave::<A>);
    socket.on("message", message::<A>);
    socket.on("who", who::<A>);
    socket.on("echo", async |ack: AckSender<A>, Data(arguments): Data<Arguments>| answer(ack, &arguments));
    socket.on_disconnect(leave::<A>);
}

async fn join<A: Adapter>(socket: SocketRef<A>, Data(asked): Data<Join>) {
    let member = Member::new(&asked);
    if let Some(before) = socket.extensions.get::<Member>() {
        before.leave(&socket);
        if before.room != member.room {
            announce(&socket, &before.room).await;
        }
    }
    member.enter(&socket);
    announce(&socket, &member.room).await;
}

/// Also the end of a connection: the adapter still knows its rooms when this runs.
async fn leave<A: Adapter>(socket: SocketRef<A>) {
    if let Some(member) = socket.extensions.get::<Member>() {
        member.leave(&socket);
        announce(&socket, &member.room).await;
    }
}

async fn message<A: Adapter>(
    socket: SocketRef<A>,
    Extension(NodeName(node)): Extension<NodeName>,
    Data(said): Data<Said>,
) {
    let Some(member) = socket.extensions.get::<Member>().filter(|member| member.room == said.room) else {
        return;
    };
    let text: String = said.text.chars().take(TEXT_CHARS_MAX).collect();
    let message = Message { room: &member.room, name: &member.name, text: &text, node: &node, at: now_ms() };
    // Whoever has gone does not get it; there is nobody to tell.
    let _ = socket.within(chat_room(&member.room)).emit("message", &message).await;
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
    answer(ack, &json!({ "node": &*node, "transport": transport, "headers": shown }));
}

fn answer<A: Adapter>(ack: AckSender<A>, value: &impl serde::Serialize) {
    // It fails when the socket is gone, and then nobody waits for it.
    let _ = ack.send(value);
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

const TEXT_CHARS_MAX: usize = 4000;

/// The headers by which a node learns who is behind a proxy.
const HEADERS_SHOWN: [&str; 4] = ["host", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"];
