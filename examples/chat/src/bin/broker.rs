//! The embedded broker as a program of its own, for nodes that are started by hand on one machine without Redis.
//! `PORT` (6379; 0 picks a free one). Says `listening on URL`, which is what the nodes' `REDIS_URL` must be; keeps all in
//! memory. SIGINT and SIGTERM end it.

use std::env::var;

use anyhow::{Context as _, Result};
use broker::Broker;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let port: u16 =
        var("PORT").unwrap_or_else(|_| "6379".to_owned()).parse().context("PORT is not a port number")?;
    let broker =
        Broker::loopback(port).await.with_context(|| format!("cannot listen on 127.0.0.1:{port}"))?;
    println!("listening on {}", broker.url());

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
