//! Joins a running fleet without serving clients, says who is there, and tells all of them something.
//!
//! `cargo run --example operator -- redis://127.0.0.1:6379 "we are back in five minutes"`

use fanout::{Options, Target};
use socketioxide::SocketIo;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let redis = arguments.next().unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let fleet = fanout::connect(&redis, Options::default()).await?;
    let (_layer, io) = fleet.build_layer(SocketIo::builder());
    io.ns("/", async || {}).await;
    let everyone = fleet.of("/").ok_or("the namespace was added above")?;
    for socket in everyone.fetch_sockets(Target::everyone()).await? {
        println!("{} in {:?}", socket.id, socket.rooms);
    }
    if let Some(text) = arguments.next() {
        io.emit("said", &text).await?;
        // Every node answers this after it has heard that.
        everyone.all_rooms().await?;
        println!("told {} nodes", everyone.server_count().await? - 1);
    }
    Ok(())
}
