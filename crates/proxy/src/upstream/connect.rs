//! Opens a connection to a node.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fault::{Fault, OriginFault, OurFault};
use crate::stream::{Io, Stream};
use crate::upstream::node::{InFlight, Node};
use crate::upstream::pool::Lease;

/// A new connection to `node`.
pub(crate) async fn connect(node: &Arc<Node>, patience: Duration) -> Result<Lease, Fault> {
    let in_flight = InFlight::new(node.clone());
    let tcp = match timeout(patience, TcpStream::connect(node.address())).await {
        Ok(Ok(tcp)) => tcp,
        Ok(Err(error)) => return Err(fault_of(&error)),
        Err(_) => return Err(OriginFault::ConnectTimedOut.into()),
    };
    // Answers are written whole; holding back their last segment would only delay it.
    let _ = tcp.set_nodelay(true);
    Ok(Lease { io: Io::new(Stream::Plain(tcp)), inbound: BytesMut::new(), reused: false, in_flight })
}

fn fault_of(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => OriginFault::Refused.into(),
        io::ErrorKind::TimedOut => OriginFault::ConnectTimedOut.into(),
        _ if is_out_of_files(error) => OurFault::NoFiles.into(),
        _ => OriginFault::Unreachable.into(),
    }
}

/// EMFILE and ENFILE: the process's or the system's bound.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    let files = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    files.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
