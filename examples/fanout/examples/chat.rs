//! A node that shares its room with every other node of the fleet, in Rust or in Node.js.
//!
//! `cargo run --example chat -- redis://127.0.0.1:6379 127.0.0.1:3000`, and again on another port. A client emits `say` with a text
//! and hears `said`.

use fanout::{Options, RedisAdapter};
use socketioxide::{
    SocketIo,
    adapter::Emitter,
    extract::{Data, SocketRef},
};

type Adapter = RedisAdapter<Emitter>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let redis = arguments.next().unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let tell = |event: &fanout::Event| eprintln!("{event:?}");
    let options = Options { on_event: Some(std::sync::Arc::new(tell)), ..Options::default() };
    let fleet = fanout::connect(&redis, options).await?;
    let (layer, io) = fleet.build_layer(SocketIo::builder());
    io.ns("/", async |socket: SocketRef<Adapter>| {
        socket.join("lobby");
        socket.on("say", async |socket: SocketRef<Adapter>, Data::<String>(text)| {
            // It fails if this node says more than Redis takes; the clients of this node have it even so.
            if let Err(error) = socket.within("lobby").emit("said", &text).await {
                eprintln!("{error}");
            }
        });
    })
    .await;
    let metrics = axum::routing::get(async move || fleet.stats().prometheus());
    let app = axum::Router::new().route("/metrics", metrics).layer(layer);
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
