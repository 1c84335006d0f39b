//! HTTP/2 requests, several at once on each connection, by the h2 crate. Each loop asks again when it has its answer.

use std::rc::Rc;

use anyhow::{Context as _, Result, bail, ensure};
use h2::client::SendRequest;
use http::Request;
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout};

use crate::destination::Destination;
use crate::meter::{Meter, Report, Window};

/// What is asked, by how many and how often.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Path and query.
    pub target: String,
    /// Connections that are open at once.
    pub connections: usize,
    /// Requests at once on each of them.
    pub streams: usize,
}

type Client = SendRequest<bytes::Bytes>;

/// Runs `plan`.
///
/// # Errors
/// If no connection can be opened, or nothing is answered well.
pub async fn run(destination: &Destination, plan: &Plan, window: &Window) -> Result<Report> {
    let meter = Rc::new(Meter::default());
    let scheme = if destination.is_tls() { "https" } else { "http" };
    let request = Request::get(format!("{scheme}://{}{}", destination.name(), plan.target)).body(())?;
    let tasks = LocalSet::new();
    let mut joins = Vec::new();
    for index in 0..plan.connections {
        let stream = destination.connect().await.with_context(|| format!("connection {index}"))?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (client, connection) = builder.handshake(stream).await.context("no HTTP/2")?;
        tasks.spawn_local(async move { drop(connection.await) });
        for _ in 0..plan.streams {
            let asking = ask(client.clone(), request.clone(), meter.clone());
            joins.push(tasks.spawn_local(asking));
        }
    }
    let report = tasks
        .run_until(async {
            let report = meter.watch(window).await?;
            for join in joins {
                if timeout(LAST_ANSWER, join).await.is_err() {
                    meter.failed("the last answer did not come");
                }
            }
            Ok::<_, anyhow::Error>(report)
        })
        .await?;
    meter.report(report)
}

/// The next request follows an answer.
async fn ask(mut client: Client, request: Request<()>, meter: Rc<Meter>) {
    while !meter.is_over() {
        let begun = Instant::now();
        client = match once(client, &request).await {
            Ok((next, received)) => {
                meter.done(begun);
                meter.received(received);
                next
            }
            // The connection is gone, or will be.
            Err(error) => return meter.failed(&format!("{error:#}")),
        };
    }
}

async fn once(client: Client, request: &Request<()>) -> Result<(Client, usize)> {
    let mut client = client.ready().await?;
    let (answer, _) = client.send_request(request.clone(), true)?;
    let answer = answer.await.context("no answer")?;
    ensure!(answer.status().is_success(), "answered {}", answer.status());
    let mut body = answer.into_body();
    let mut received = 0;
    while let Some(data) = body.data().await {
        let Ok(data) = data else { bail!("half an answer") };
        received += data.len();
        body.flow_control().release_capacity(data.len())?;
    }
    Ok((client, received))
}

/// As browsers have it: so much may come before it is taken.
const WINDOW_BYTES: u32 = 6 << 20;
const LAST_ANSWER: std::time::Duration = std::time::Duration::from_secs(10);
