//! Closes one polling session through its node: tidelock POSTs Engine.IO's close packet for the client, the node
//! answers the pending poll at once, and that answer, with a close packet behind it, ends the session on both sides.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};
use wire::engineio::Revision;

use crate::registry::{Address, Closing, Registry};
use crate::reply;
use crate::upstream::connect;
use crate::upstream::node::Node;

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closed {
    /// The node has closed the session.
    Politely,
    /// It was over before, or a tunnel carries it now.
    ByItself,
    /// The node did not take the close. Its client finds out by itself.
    Failed,
}

/// Closes the session once none of its client's POSTs is under way; two at once are an error to Engine.IO.
pub(crate) async fn close(
    sid: Box<[u8]>,
    node: Arc<Node>,
    registry: Arc<Registry>,
    until: Instant,
) -> Closed {
    let address = loop {
        match registry.begin_close(&sid) {
            Closing::Now(address) => break address,
            Closing::Never => return Closed::ByItself,
            Closing::Busy if Instant::now() >= until => return Closed::Failed,
            Closing::Busy => sleep(BUSY_PAUSE).await,
        }
    };
    // A node that is busy has until the deadline, like everything else that a drain waits for.
    let patience = until.saturating_duration_since(Instant::now()).max(PATIENCE_MIN);
    match timeout(patience, post_close(&sid, &node, &address)).await {
        Ok(Ok(200)) => {
            registry.closed_there(&sid);
            Closed::Politely
        }
        Ok(Ok(_) | Err(_)) | Err(_) => {
            registry.close(&sid);
            Closed::Failed
        }
    }
}

/// Returns the status of the node's answer.
async fn post_close(sid: &[u8], node: &Node, address: &Address) -> io::Result<u16> {
    let revision: &[u8] = match address.revision {
        Revision::V3 => b"3",
        Revision::V4 => b"4",
    };
    let packet = reply::close_packet(address.revision);
    let length = packet.len().to_string();
    let request = [
        b"POST ",
        &*address.path,
        b"?EIO=",
        revision,
        b"&transport=polling&sid=",
        sid,
        b" HTTP/1.1\r\nHost: ",
        &*address.host,
        b"\r\nContent-Type: text/plain;charset=UTF-8\r\nConnection: close\r\nContent-Length: ",
        length.as_bytes(),
        b"\r\n\r\n",
        packet.as_bytes(),
    ];
    let mut stream = connect::open(node.address()).await?;
    stream.write_all(&request.concat()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    let status = answer
        .strip_prefix(b"HTTP/1.1 ")
        .and_then(|rest| std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok());
    status.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// For those whose turn comes at the deadline.
const PATIENCE_MIN: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 4096;
