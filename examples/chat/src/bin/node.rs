//! One chat node. `PORT` (3000; 0 picks a free one), `HOST` (127.0.0.1), `NODE_NAME` (`node-PORT`).
//! Says `listening on ADDRESS` once it takes connections; SIGTERM and SIGINT end it. With `LIFELINE=1` it also ends when
//! its stdin closes, so that it does not outlive whoever started it.

use std::env::var;
use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, Result};
use socketioxide::SocketIo;
use socketioxide::extract::SocketRef;
use tidelock_chat::{NodeName, PAYLOAD_BYTES_MAX, events, web};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let host = var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned());
    let port: u16 =
        var("PORT").unwrap_or_else(|_| "3000".to_owned()).parse().context("PORT is not a port number")?;
    let listener = TcpListener::bind((host.as_str(), port))
        .await
        .with_context(|| format!("cannot listen on {host}:{port}"))?;
    let address = listener.local_addr()?;
    let node = NodeName(var("NODE_NAME").unwrap_or_else(|_| format!("node-{}", address.port())).into());

    let (layer, io) = SocketIo::builder().max_payload(PAYLOAD_BYTES_MAX).build_layer();
    let name = node.clone();
    io.ns("/", async move |socket: SocketRef| events::welcome(&socket, name));
    let app = web::routes(io.clone(), node).layer(layer);

    let (end, ended) = oneshot::channel::<()>();
    let mut serving = tokio::spawn(
        axum::serve(listener, app)
            .with_graceful_shutdown(async {
                // A dropped sender ends it too.
                let _ = ended.await;
            })
            .into_future(),
    );
    println!("listening on {address}");

    told_to_end().await?;
    // Clients are told before their connections close; an answer that is still under way gets a moment to leave.
    io.close().await;
    drop(end);
    let _ = timeout(LEAVE_WITHIN, &mut serving).await;
    Ok(())
}

async fn told_to_end() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let lifeline = lifeline();
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        Ok(()) = lifeline => {}
    }
    Ok(())
}

/// Resolves when stdin closes; never, if nobody asked for a lifeline.
fn lifeline() -> oneshot::Receiver<()> {
    let (closed, lifeline) = oneshot::channel();
    if var("LIFELINE").is_ok_and(|value| value == "1") {
        // A thread, because tokio's stdin would keep the runtime from ending while a read is under way.
        std::thread::spawn(move || {
            let mut ignored = [0; 256];
            while std::io::stdin().read(&mut ignored).is_ok_and(|count| count > 0) {}
            let _ = closed.send(());
        });
    }
    lifeline
}

const LEAVE_WITHIN: Duration = Duration::from_secs(2);
