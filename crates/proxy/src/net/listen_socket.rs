//! A socket that is bound to where clients connect, and does not listen yet. Every interface is those of both families: one
//! socket of IPv6 takes what comes by IPv4, too, whatever the system's default is (`net.ipv6.bindv6only`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;

use rustix::io::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Binds a socket to `address`, or to every IPv4 interface where every interface is meant and the system has no IPv6.
///
/// # Errors
/// If another socket has the address, this user may not have it, or no interface does.
pub fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    bind_with(address, reuse_port, |domain| Socket::new(domain, Type::STREAM, Some(Protocol::TCP)))
}

/// Has the kernel give a listening socket no new connections: others have them from now on that listen at an address which
/// holds its own, or lies in it. Where others share the very same address (`SO_REUSEPORT`), about half of those who connect
/// are let in by nobody, for the kernel chooses among all that share. What is in its queue stays, and a handshake that has
/// begun is completed. It is bound to an interface that does not exist; for good, since to undo it needs a right that we
/// have dropped.
///
/// # Errors
/// If the kernel is older than 5.1, or the socket is bound to an interface already.
pub(crate) fn let_nobody_in(socket: SockRef) -> io::Result<()> {
    socket.bind_device_by_index_v4(Some(NO_INTERFACE))
}

/// Whether a socket at one of them is in the way of one at the other.
pub(crate) fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_in = |address: IpAddr, all: IpAddr| match all.to_canonical() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => {
            address.to_canonical().is_ipv4() || address == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        }
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => true,
        all => address.to_canonical() == all,
    };
    let is_one_port = one.port() == other.port() && one.port() != 0;
    is_one_port && (is_in(one.ip(), other.ip()) || is_in(other.ip(), one.ip()))
}

fn bind_with(
    mut address: SocketAddr,
    reuse_port: bool,
    open: impl Fn(Domain) -> io::Result<Socket>,
) -> io::Result<Socket> {
    let is_every = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let mut socket = open(Domain::for_address(address));
    if is_every && socket.as_ref().is_err_and(|error| Errno::from_io_error(error) == Some(Errno::AFNOSUPPORT))
    {
        address.set_ip(Ipv4Addr::UNSPECIFIED.into());
        socket = open(Domain::IPV4);
    }
    let socket = socket?;
    if address.is_ipv6() && is_every {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.set_nonblocking(true)?;
    // What is accepted inherits it. Answers are written whole; holding back their last segment would only delay it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The kernel counts them from 1 up.
const NO_INTERFACE: NonZeroU32 = NonZeroU32::new(i32::MAX as u32).expect("is not 0");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_is_in_the_way_of_each() {
        for (one, other, expected) in [
            ("0.0.0.0:80", "127.0.0.1:80", true),
            ("[::]:80", "127.0.0.1:80", true),
            ("[::]:80", "0.0.0.0:80", true),
            ("[::]:80", "[::1]:80", true),
            ("0.0.0.0:80", "[::1]:80", false),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", "127.0.0.1:81", false),
            ("0.0.0.0:0", "127.0.0.1:0", false),
        ] {
            let [one, other] = [one, other].map(|address| address.parse().expect("an address"));
            assert_eq!((overlap(one, other), overlap(other, one)), (expected, expected), "{one} and {other}");
        }
    }

    #[test]
    fn where_there_is_no_ipv6_every_interface_is_those_of_ipv4() {
        let without = |domain| match domain {
            Domain::IPV6 => Err(Errno::AFNOSUPPORT.into()),
            domain => Socket::new(domain, Type::STREAM, Some(Protocol::TCP)),
        };
        let every = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let bound = bind_with(every, false, without).expect("IPv4 is there");
        let at = bound.local_addr().expect("it is bound").as_socket().expect("an address");
        assert_eq!(at.ip(), IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let one = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        assert!(bind_with(one, false, without).is_err(), "an address that was named is not another one");
    }
}
