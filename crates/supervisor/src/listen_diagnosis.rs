//! Where an instance listens that does not listen where it was told to, so that the mistake is said in its own words.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use config::app::Port;
use config::roster::InstanceAddress;
use tokio::task::spawn_blocking;

use crate::process::Process;
use crate::process_table::ProcessTable;

/// What is to be said of a process that did not get ready, `None` if it listens nowhere, or where it should.
pub(crate) async fn explain(process: &Process) -> Option<String> {
    let keeper = process.keeper();
    let listens = spawn_blocking(move || listens(keeper)).await.ok()?;
    let told = process.address();
    if listens.is_empty()
        || matches!(told, InstanceAddress::Tcp(told) if listens.iter().any(|at| reaches(*at, *told)))
    {
        return None;
    }
    let at = listens.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" and ");
    let what_to_do = match process.launch().app.port {
        Port::Env => "let the app listen on the port in PORT, and on the host in HOST",
        Port::Redirect(Some(_)) => {
            "is `port` the one that the app listens on? An app that is not for Node.js must listen on the port in PORT"
        }
        Port::Redirect(None) => {
            "let the app listen on the port in PORT; or, if it is for Node.js and listens on several, say which in `port`"
        }
    };
    Some(format!("it listens on {at}, not on {} (PORT): {what_to_do}", Shown(told)))
}

/// Whether one who connects to `told` comes to a socket that listens `at`.
fn reaches(at: SocketAddr, told: SocketAddr) -> bool {
    // On `::` Linux takes IPv4 as well, unless told not to.
    at.port() == told.port() && (at.ip() == told.ip() || at.ip().is_unspecified())
}

/// All TCP addresses that the descendants of a keeper listen on. Blocks.
pub(crate) fn listens(keeper: i32) -> BTreeSet<SocketAddr> {
    let pids = ProcessTable::take().descendants(keeper);
    let Some(&first) = pids.first() else { return BTreeSet::new() };
    let inodes: BTreeSet<String> = pids.into_iter().flat_map(sockets).collect();
    // Seen from the app's own network namespace, should it have one.
    let tables = ["tcp", "tcp6"]
        .map(|table| fs::read_to_string(format!("/proc/{first}/net/{table}")).unwrap_or_default());
    let lines = tables.iter().flat_map(|table| table.lines());
    lines.filter_map(parse).filter(|(_, inode)| inodes.contains(*inode)).map(|(address, _)| address).collect()
}

/// The inodes of the sockets that a process has open.
fn sockets(pid: i32) -> Vec<String> {
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links = files.filter_map(|file| fs::read_link(file.path()).ok());
    links
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect()
}

/// A line of /proc/net/tcp of a socket that listens, as address and inode.
fn parse(line: &str) -> Option<(SocketAddr, &str)> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let (local, state, inode) = (*fields.get(1)?, *fields.get(3)?, *fields.get(9)?);
    if state != LISTENS {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each group of eight digits is a number in the machine's order of bytes.
    let words =
        ip.as_bytes().chunks(8).map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok());
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match <[u8; 4]>::try_from(bytes.as_slice()) {
        Ok(bytes) => IpAddr::V4(Ipv4Addr::from(bytes)),
        Err(_) => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.as_slice()).ok()?)),
    };
    Some((SocketAddr::new(ip.to_canonical(), port), inode))
}

/// An address as people know it.
#[derive(Debug)]
pub(crate) struct Shown<'a>(pub(crate) &'a InstanceAddress);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            InstanceAddress::Tcp(address) => address.fmt(formatter),
            InstanceAddress::Unix(path) => path.display().fmt(formatter),
        }
    }
}

/// TCP_LISTEN, as the kernel prints it.
const LISTENS: &str = "0A";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_tables() {
        let line = |local: &str, state: &str| {
            format!(
                "   0: {local} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 6034 1 0 100 0 0 10 0"
            )
        };
        let check = |local: &str, state: &str, expected: Option<&str>| {
            let line = line(local, state);
            let parsed = parse(&line);
            assert_eq!(parsed.map(|(address, _)| address.to_string()).as_deref(), expected, "{line}");
            assert!(parsed.is_none_or(|(_, inode)| inode == "6034"));
        };
        check("0100007F:0FA0", "0A", Some("127.0.0.1:4000"));
        check("0100007F:0FA0", "01", None);
        check("00000000000000000000000000000000:1F90", "0A", Some("[::]:8080"));
        check("00000000000000000000000001000000:1F90", "0A", Some("[::1]:8080"));
        assert_eq!(parse("  sl  local_address rem_address   st tx_queue rx_queue"), None);
    }

    #[test]
    fn what_reaches_what() {
        let check = |at: &str, told: &str| reaches(at.parse().unwrap(), told.parse().unwrap());
        assert!(check("0.0.0.0:80", "127.0.0.1:80") && check("[::]:80", "127.0.0.1:80"));
        assert!(!check("127.0.0.1:81", "127.0.0.1:80") && !check("[::1]:80", "127.0.0.1:80"));
    }
}
