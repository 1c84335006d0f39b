//! Asks a node one thing, on a connection of its own, and says what its answer means. Decides nothing about the node.

use std::io;
use std::time::Duration;

use client::{Answer, Connection, NoAnswer};
use config::plan;
use wire::engineio::{escape_sid, read_open_packet};

use crate::net::node_tls::is_failed_handshake;
use crate::upstream::connect::{is_out_of_files, open, says_refused};
use crate::upstream::health::state::Observed;
use crate::upstream::node::Node;

/// Why a node was not found well.
#[derive(Debug)]
enum Miss {
    Wire(io::Error),
    Answer(&'static str),
}

/// Probes `node` as its upstream wants it, for at most `timeout`. `None` if nothing can be said of the node, because
/// it is we who cannot ask. Cancel-safe.
pub(crate) async fn probe(node: &Node, timeout: Duration) -> Option<Observed> {
    let plan = node.plan();
    let own = node.host();
    let host = plan.as_ref().and_then(|plan| plan.host.as_deref()).unwrap_or(&own);
    let base = plan.as_ref().map_or("", |plan| &plan.base);
    let to = To { node, host, base };
    let asking = async {
        match plan.as_ref().and_then(|plan| plan.health.probe.as_ref()) {
            Some(plan::Probe::Tcp) => open(node).await.map(drop).map_err(Miss::Wire),
            Some(plan::Probe::Http { path, statuses, body }) => {
                let asked = body.as_deref().map_or(0, |_| BODY_BYTES_MAX);
                let answer = to.get(path.as_bytes(), asked).await?;
                if !statuses.iter().any(|statuses| statuses.contains(&answer.status)) {
                    return Err(Miss::Answer("a probe got another status"));
                }
                match body.as_deref().map(|wanted| holds(&answer.body, wanted.as_bytes())) {
                    Some(false) => Err(Miss::Answer("a probe did not find its text in the body")),
                    Some(true) | None => Ok(()),
                }
            }
            Some(plan::Probe::EngineIo { path }) => to.open_and_close(path.as_bytes()).await,
            None => to.any_answer(node, plan.as_deref()).await,
        }
    };
    match tokio::time::timeout(timeout, asking).await {
        Ok(Ok(())) => Some(Observed::Reached),
        Ok(Err(Miss::Answer(cause))) => Some(Observed::Missed(cause)),
        Ok(Err(Miss::Wire(error))) if is_out_of_files(&error) => None,
        Ok(Err(Miss::Wire(error))) if says_refused(&error) => Some(Observed::Refused),
        Ok(Err(Miss::Wire(error))) if is_failed_handshake(&error) => {
            Some(Observed::Missed("TLS with it fails"))
        }
        Ok(Err(Miss::Wire(_))) => Some(Observed::Missed("a probe's connection broke")),
        Err(_) => Some(Observed::Missed("no answer to a probe in time")),
    }
}

/// Who is asked.
#[derive(Clone, Copy)]
struct To<'a> {
    node: &'a Node,
    host: &'a str,
    /// What stands before paths that nobody has written.
    base: &'a str,
}

impl From<NoAnswer> for Miss {
    fn from(none: NoAnswer) -> Self {
        match none {
            NoAnswer::Wire(error) => Self::Wire(error),
            NoAnswer::Malformed => Self::Answer("a probe got no HTTP"),
        }
    }
}

impl To<'_> {
    /// Whether it says anything at all. A Socket.IO app without pages of its own answers nothing but Engine.IO, and an
    /// app without Engine.IO may hang on its path: either answer will do, and neither opens a session.
    async fn any_answer(&self, node: &Node, plan: Option<&plan::Upstream>) -> Result<(), Miss> {
        let has_sessions = plan.is_none_or(|plan| plan.sticky != plan::Sticky::None);
        let base = self.base.as_bytes();
        let path = match node.engine_io_path() {
            Some(path) => path.to_vec(),
            None => [base, ENGINE_IO_PATH.as_bytes()].concat(),
        };
        let engine_io = [&*path, b"?EIO=4&transport=none"].concat();
        let root = [base, b"/"].concat();
        let page = self.get(&root, 0);
        if !has_sessions {
            return page.await.map(drop);
        }
        let session = self.get(&engine_io, 0);
        tokio::pin!(page, session);
        // One that breaks says nothing while the other may still be answered; a refusal meets both.
        let other = tokio::select! {
            answer = &mut page => match answer {
                Ok(_) => return Ok(()),
                Err(_) => session.await,
            },
            answer = &mut session => match answer {
                Ok(_) => return Ok(()),
                Err(_) => page.await,
            },
        };
        other.map(drop)
    }

    /// A whole polling handshake, and the close of what it opened.
    async fn open_and_close(&self, path: &[u8]) -> Result<(), Miss> {
        let query = [path, b"?EIO=4&transport=polling"].concat();
        let answer = self.get(&query, BODY_BYTES_MAX).await?;
        let opened = (answer.status == 200).then(|| read_open_packet(&answer.body)).flatten();
        let Some(open) = opened else { return Err(Miss::Answer("a probe got no session")) };
        let mut sid = Vec::new();
        escape_sid(&open.sid, &mut sid);
        let request = [
            b"POST ",
            &*query,
            b"&sid=",
            &*sid,
            b" HTTP/1.1\r\nHost: ",
            self.host.as_bytes(),
            b"\r\nUser-Agent: tidelock\r\nConnection: close\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: 1\r\n\r\n1",
        ];
        match self.ask(&request.concat(), 0).await?.status {
            200 => Ok(()),
            _ => Err(Miss::Answer("a probe could not close its session")),
        }
    }

    async fn get(&self, path: &[u8], body_bytes: usize) -> Result<Answer, Miss> {
        let request = [
            b"GET ",
            path,
            b" HTTP/1.1\r\nHost: ",
            self.host.as_bytes(),
            b"\r\nUser-Agent: tidelock\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        ];
        self.ask(&request.concat(), body_bytes).await
    }

    /// Sends `request` and reads the answer, and of its body so many bytes at most.
    async fn ask(&self, request: &[u8], body_bytes: usize) -> Result<Answer, Miss> {
        let mut connection = Connection::over(open(self.node).await.map_err(NoAnswer::Wire)?);
        Ok(connection.ask(request, body_bytes).await?)
    }
}

fn holds(body: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(body, wanted).is_some()
}

/// Where Socket.IO serves Engine.IO unless it is told otherwise.
const ENGINE_IO_PATH: &str = "/socket.io/";
const BODY_BYTES_MAX: usize = 64 * 1024;
