//! Where a person opens what a plan serves.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

use config::plan::{Listen, Plan, Scheme};
use config::routing::HostPattern;

/// A URL for each place: names of routes where all of them have some, and else this machine's, from here and from beside it. Listens
/// that only send clients to HTTPS are left out beside one that is it.
pub(crate) fn of(plan: &Plan) -> Vec<String> {
    let is_redirect = |listen: &Listen| matches!(listen.scheme, Scheme::RedirectToHttps { .. });
    let has_others = !plan.listens.iter().all(is_redirect);
    let mut urls: Vec<String> = plan
        .listens
        .iter()
        .filter(|listen| !(has_others && is_redirect(listen)))
        .flat_map(|listen| of_listen(listen, plan))
        .collect();
    urls.dedup();
    urls
}

fn of_listen(listen: &Listen, plan: &Plan) -> Vec<String> {
    let address = listen.address;
    let (scheme, usual) = match listen.scheme {
        Scheme::Tls(_) | Scheme::Automatic { .. } => ("https", 443),
        Scheme::Plain | Scheme::RedirectToHttps { .. } => ("http", 80),
    };
    let hosts = match (address.port(), address.ip().is_unspecified()) {
        // The line of the log that says `listening` says which.
        (0, _) => return vec![format!("{scheme} on a port that the system has chosen")],
        (_, false) => vec![host_of(address.ip())],
        (port, true) => names(plan, port).unwrap_or_else(|| {
            std::iter::once("localhost".to_owned()).chain(outside().map(host_of)).collect()
        }),
    };
    let port = if address.port() == usual { String::new() } else { format!(":{}", address.port()) };
    hosts.into_iter().map(|host| format!("{scheme}://{host}{port}")).collect()
}

/// The hosts of the routes there; none if one of them takes every host.
fn names(plan: &Plan, port: u16) -> Option<Vec<String>> {
    let routes = plan.routes.iter().filter(|route| route.ports.is_empty() || route.ports.contains(&port));
    let mut names = Vec::new();
    for route in routes {
        match &route.host {
            HostPattern::Any => return None,
            HostPattern::Exact(name) if !names.contains(name) && names.len() < NAMES_MAX => {
                names.push(name.clone());
            }
            HostPattern::Exact(_) | HostPattern::Wildcard(_) => {}
        }
    }
    Some(names).filter(|names| !names.is_empty())
}

fn host_of(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

/// The address that this machine has towards others. Nothing is sent: connecting a datagram socket only asks the system for its way.
fn outside() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(SocketAddr::from(DOCUMENTATION)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

/// RFC 5737: nobody has it, so that the way to it is the way to everybody.
const DOCUMENTATION: ([u8; 4], u16) = ([192, 0, 2, 1], 9);
const NAMES_MAX: usize = 3;
