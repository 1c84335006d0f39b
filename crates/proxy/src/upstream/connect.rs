//! Opens a connection to a node, on a port or on a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use config::roster::NodeAddress;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::fault::{Fault, OriginFault, OurFault};
use crate::net::stream::{Io, Stream};
use crate::upstream::node::{InFlight, Node};
use crate::upstream::pool::Lease;

/// A new connection to `node`.
pub(crate) async fn connect(node: &Arc<Node>, patience: Duration) -> Result<Lease, Fault> {
    let in_flight = InFlight::new(node.clone());
    let stream = match timeout(patience, open(node.address())).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(fault_of(&error)),
        Err(_) => return Err(OriginFault::ConnectTimedOut.into()),
    };
    Ok(Lease { io: Io::new(stream), inbound: BytesMut::new(), reused: false, in_flight })
}

/// A connection to wherever a node listens. Cancel-safe.
pub(crate) async fn open(address: &NodeAddress) -> io::Result<Stream> {
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

fn fault_of(error: &io::Error) -> Fault {
    match error.kind() {
        _ if says_refused(error) => OriginFault::Refused.into(),
        io::ErrorKind::TimedOut => OriginFault::ConnectTimedOut.into(),
        _ if is_out_of_files(error) => OurFault::NoFiles.into(),
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
