//! Opens a connection to a node, on a port or on a Unix socket.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use config::roster::NodeAddress;
use tokio::net::{TcpStream, UnixStream};

use crate::fault::{Fault, OriginFault, OurFault};
use crate::net::node_tls::is_failed_handshake;
use crate::net::stream::tls::Tls;
use crate::net::stream::{Io, Stream};
use crate::upstream::node::Node;
use crate::upstream::node::counted::InFlight;
use crate::upstream::pool::Lease;

/// A new connection to `node`.
pub(crate) async fn connect(node: &Arc<Node>, timeout: Duration) -> Result<Lease, Fault> {
    let in_flight = InFlight::new(node.clone());
    let is_reached = Cell::new(false);
    let stream = match tokio::time::timeout(timeout, open_and_tell(node, &is_reached)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(fault_of(&error)),
        Err(_) => return Err(late(node, is_reached.get())),
    };
    Ok(Lease { io: Io::new(stream), inbound: BytesMut::new(), reused: false, in_flight })
}

/// A connection to a node, ready for a request. Cancel-safe.
pub(crate) async fn open(node: &Node) -> io::Result<Stream> {
    open_and_tell(node, &Cell::new(false)).await
}

/// The same, and tells whether somebody has taken the connection.
async fn open_and_tell(node: &Node, is_reached: &Cell<bool>) -> io::Result<Stream> {
    let stream = reach(node.address()).await?;
    is_reached.set(true);
    match node.speaks_tls() {
        false => Ok(stream),
        // Boxed, because a handshake takes a lot of memory, and most connections have none.
        true => Box::pin(speak_tls(node, stream)).await,
    }
}

async fn speak_tls(node: &Node, stream: Stream) -> io::Result<Stream> {
    // Whoever made it a node that speaks TLS has said how.
    let (Some(tls), Stream::Plain(tcp)) = (node.tls(), stream) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    let stream = tls.shake_hands(tcp).await?;
    Ok(Stream::Tls(Box::new(Tls::to_node(stream, tls))))
}

/// A connection to wherever a node listens, on which nothing was said. Cancel-safe.
pub(crate) async fn reach(address: &NodeAddress) -> io::Result<Stream> {
    match address {
        NodeAddress::Tcp(address) => open_tcp(*address).await,
        NodeAddress::Loopback(port) => {
            let [first, second] = NodeAddress::loopbacks(*port);
            match open_tcp(first).await {
                // Where neither listens, or this machine has no IPv6, it is the first's refusal that counts.
                Err(error) if says_refused(&error) => open_tcp(second).await.map_err(|_| error),
                opened => opened,
            }
        }
        NodeAddress::Unix(path) => UnixStream::connect(path).await.map(|unix| Stream::Unix(Box::new(unix))),
    }
}

async fn open_tcp(address: SocketAddr) -> io::Result<Stream> {
    let tcp = TcpStream::connect(address).await?;
    // Answers are written whole; holding back their last segment would only delay it.
    let _ = tcp.set_nodelay(true);
    Ok(Stream::Plain(tcp))
}

/// The fault of one that has kept us waiting for too long.
fn late(node: &Node, is_reached: bool) -> Fault {
    match node.tls().filter(|_| is_reached) {
        Some(tls) => {
            let error = io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake does not end in time");
            tls.failed(&error);
            OriginFault::TlsTimedOut.into()
        }
        None => OriginFault::ConnectTimedOut.into(),
    }
}

fn fault_of(error: &io::Error) -> Fault {
    match error.kind() {
        _ if says_refused(error) => OriginFault::Refused.into(),
        io::ErrorKind::TimedOut => OriginFault::ConnectTimedOut.into(),
        _ if is_out_of_files(error) => OurFault::NoFiles.into(),
        _ if is_failed_handshake(error) => OriginFault::NoTls.into(),
        _ => OriginFault::Unreachable.into(),
    }
}

/// Whether nobody listens there. A Unix socket that is not there says the same as a port that nobody listens on.
pub(crate) fn says_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
}

/// EMFILE and ENFILE: the process's or the system's bound.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    let files = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    files.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
