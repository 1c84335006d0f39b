//! A Socket.IO node in Rust, as an app would build it, in this process.

use std::convert::Infallible;

use fanout::{Fanout, Options, RedisAdapter};
use serde_json::{Value as Json, json};
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
    handler::ConnectHandler,
};
use tokio::task::JoinHandle;

use crate::support::HANG;

pub type Adapter = RedisAdapter<socketioxide::adapter::Emitter>;

pub struct RustNode {
    pub io: SocketIo<Adapter>,
    pub fleet: Fanout,
    pub url: String,
    server: JoinHandle<()>,
}

impl RustNode {
    pub async fn start(redis: &str, options: Options) -> Self {
        Self::serve(fanout::connect(redis, options).await.unwrap(), &["/"]).await
    }

    pub async fn serve(fleet: Fanout, namespaces: &[&'static str]) -> Self {
        // Clients of a busy machine may be late.
        let (layer, io) = fleet.build_layer(SocketIo::builder().ping_interval(HANG).ping_timeout(HANG));
        for namespace in namespaces {
            io.ns(*namespace, (async || {}).with(connecting)).await;
        }
        fleet.on_server_side_emit(|emit| {
            if let ("ask", Some(responder)) = (emit.event.as_str(), emit.responder) {
                responder.answer(json!({ "node": "rust", "argument": emit.arguments[0] }));
            }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().layer(layer);
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { io, fleet, url, server }
    }
}

impl Drop for RustNode {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A middleware, since socketioxide runs connect handlers on a task of their own after it has told the client that
/// it is connected: an event that the client sends at once could be there before its handler.
async fn connecting(socket: SocketRef<Adapter>, io: SocketIo<Adapter>) -> Result<(), Infallible> {
    let namespace = socket.ns().to_owned();
    socket.on(
        "join",
        async |socket: SocketRef<Adapter>, Data::<Vec<String>>(rooms), ack: AckSender<Adapter>| {
            socket.join(rooms);
            ack.send(&()).unwrap();
        },
    );
    socket.on("say", async move |Data::<(String, Json)>((room, message))| {
        io.of(&namespace).unwrap().to(room).emit("said", &message).await.unwrap();
    });
    Ok(())
}
