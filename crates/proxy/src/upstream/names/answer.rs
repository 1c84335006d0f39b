//! What an answer of DNS means: which nodes it makes, with which share, and when to ask again. Pure: asks nobody.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use config::plan::{NodeHost, NodeSpec};
use config::roster::{NodeAddress, Roster, RosterNode};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Question {
    /// The addresses of a host.
    Host(String),
    /// The SRV records of a service, and the addresses of the hosts that they name.
    Service(String),
}

impl Question {
    /// The question to the resolver that a node is; `None` where its address is known.
    pub(crate) fn of(spec: &NodeSpec) -> Option<Self> {
        match &spec.host {
            NodeHost::Address(_) | NodeHost::Unix(_) => None,
            NodeHost::Name(name) => Some(Self::Host(name.clone())),
            NodeHost::Service(name) => Some(Self::Service(name.clone())),
        }
    }

    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Host(name) | Self::Service(name) => name,
        }
    }
}

/// Where one node is, as DNS says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) ip: IpAddr,
    /// It is this machine, by either of its loopback addresses: `ip` is one, and the app may listen on the other.
    pub(crate) is_either_loopback: bool,
    /// Said by SRV records only.
    pub(crate) port: Option<u16>,
    pub(crate) backup: bool,
    pub(crate) weight: u32,
}

/// One SRV record, and what its host resolved to.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) priority: u16,
    pub(crate) weight: u16,
    pub(crate) port: u16,
    pub(crate) addresses: Vec<IpAddr>,
}

/// The places of a host, in the order of their addresses: resolvers rotate theirs, and that is no news.
pub(crate) fn places_of_host(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<Target> {
    let addresses: Vec<IpAddr> = addresses.into_iter().collect();
    let place =
        |(ip, is_either_loopback)| Target { ip, is_either_loopback, port: None, backup: false, weight: 1 };
    in_order(machines(&addresses).map(place).collect())
}

/// An address for each machine, and whether it stands for both of this machine's loopback addresses.
fn machines(addresses: &[IpAddr]) -> impl Iterator<Item = (IpAddr, bool)> {
    let has_both = LOOPBACKS.iter().all(|loopback| addresses.contains(loopback));
    let [first, second] = LOOPBACKS;
    addresses
        .iter()
        .filter(move |&&ip| !has_both || ip != second)
        .map(move |&ip| (ip, has_both && ip == first))
}

/// The places of a service. Whoever has not the lowest priority of those that have an address is a backup: a client
/// must ask the lowest that it can reach (RFC 2782), and we have no third rank.
pub(crate) fn places_of_service(records: &[Record]) -> Vec<Target> {
    let with_address = || records.iter().filter(|record| !record.addresses.is_empty());
    let Some(lowest) = with_address().map(|record| record.priority).min() else { return Vec::new() };
    let mut places = Vec::new();
    for backup in [false, true] {
        let rank: Vec<&Record> =
            with_address().filter(|record| (record.priority != lowest) == backup).collect();
        let weights = weights(&rank.iter().map(|record| record.weight).collect::<Vec<_>>());
        for (record, weight) in rank.iter().zip(weights) {
            let place = |(ip, is_either_loopback)| Target {
                ip,
                is_either_loopback,
                port: Some(record.port),
                backup,
                weight,
            };
            places.extend(machines(&record.addresses).map(place));
        }
    }
    in_order(places)
}

/// Weights from 0 to 65,535 as shares from 1 to 256. Equal ones are 1, whatever their number: Kubernetes divides 100
/// by the number of pods, and a node is not another one because there are more of them. A weight of 0 beside others
/// means hardly ever (RFC 2782): 1 beside 256.
fn weights(given: &[u16]) -> Vec<u32> {
    let most = given.iter().copied().max().unwrap_or(0);
    let divisor = given.iter().copied().fold(0, greatest_common_divisor);
    let is_small = divisor > 0 && u32::from(most / divisor) <= WEIGHT_MAX && !given.contains(&0);
    let share = |&weight: &u16| {
        if is_small {
            u32::from(weight / divisor)
        } else {
            (u32::from(weight) * WEIGHT_MAX).checked_div(u32::from(most)).unwrap_or(1).max(1)
        }
    };
    given.iter().map(share).collect()
}

fn greatest_common_divisor(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

fn in_order(mut places: Vec<Target>) -> Vec<Target> {
    places.sort_unstable();
    places.dedup();
    places.truncate(PLACES_MAX);
    places
}

/// The nodes of one upstream: those with an address, and for each name what `known` has of it. None twice; the first
/// entry of the file that leads to an address has it.
pub(crate) fn roster(specs: &[NodeSpec], known: &HashMap<Question, Vec<Target>>) -> Roster {
    let mut roster = Roster::default();
    let mut add = |spec: &NodeSpec, address: NodeAddress, weight, backup| {
        if roster.nodes.iter().all(|known| !known.address.is_where(&address)) {
            let (written, tls_name, bounds) = (spec.written.clone(), spec.tls_name.clone(), spec.bounds);
            let instance = None;
            roster.nodes.push(RosterNode { written, address, tls_name, instance, weight, backup, bounds });
        }
    };
    for spec in specs {
        if let NodeHost::Unix(path) = &spec.host {
            add(spec, NodeAddress::Unix(path.clone()), spec.weight, spec.backup);
        }
        let places = match (&spec.host, Question::of(spec)) {
            (NodeHost::Address(address), _) => places_of_host([*address]),
            (_, question) => question.and_then(|question| known.get(&question)).cloned().unwrap_or_default(),
        };
        for place in places {
            let port = place.port.unwrap_or(spec.port);
            let address = match place.is_either_loopback {
                true => NodeAddress::Loopback(port),
                false => NodeAddress::Tcp(SocketAddr::new(place.ip, port)),
            };
            add(spec, address, spec.weight * place.weight, spec.backup || place.backup);
        }
    }
    roster
}

/// For how long an answer is taken to be true. A TTL of 0 forbids to keep it, but nobody asks for every request.
pub(crate) fn pause(ttl: Duration, ttl_max: Duration) -> Duration {
    ttl.min(ttl_max).max(PAUSE_MIN)
}

/// Of this machine. Names that mean both mean one machine.
pub(crate) const LOOPBACKS: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
/// Between an answer and the next question.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// See [`NodeSpec::weight`].
const WEIGHT_MAX: u32 = 256;
/// Nodes of one name; an answer that names more is broken or hostile.
const PLACES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use config::plan::NodeBounds;

    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn an_answer_is_kept_for_its_ttl_within_bounds() {
        let seconds = Duration::from_secs;
        for (ttl, most, kept) in [(0, 5, 1), (1, 5, 1), (3, 5, 3), (5, 5, 5), (600, 5, 5), (600, 3600, 600)] {
            assert_eq!(pause(seconds(ttl), seconds(most)), seconds(kept), "TTL {ttl}, at most {most}");
        }
    }

    #[test]
    fn weights_of_records_become_shares() {
        for (given, shares) in [
            (&[][..], &[][..]),
            (&[0, 0], &[1, 1]),
            (&[1, 1], &[1, 1]),
            (&[33, 33, 33], &[1, 1, 1]),
            (&[50, 50], &[1, 1]),
            (&[10, 20, 30], &[1, 2, 3]),
            (&[7, 256], &[7, 256]),
            (&[0, 10, 20], &[1, 128, 256]),
            (&[0, 7], &[1, 256]),
            (&[1, 65_535], &[1, 256]),
            (&[32_768, 65_535], &[128, 256]),
        ] {
            assert_eq!(weights(given), shares, "{given:?}");
        }
    }

    #[test]
    fn the_lowest_priority_that_has_addresses_is_no_backup() {
        let record = |priority, weight, port, addresses: &[u8]| Record {
            priority,
            weight,
            port,
            addresses: addresses.iter().map(|&last| ip(last)).collect(),
        };
        let check = |records: &[Record], wanted: &[(u8, u16, bool, u32)]| {
            let places: Vec<_> = places_of_service(records)
                .into_iter()
                .map(|Target { ip, port, backup, weight, .. }| (ip, port.unwrap(), backup, weight))
                .collect();
            let wanted: Vec<_> =
                wanted.iter().map(|&(last, port, backup, weight)| (ip(last), port, backup, weight)).collect();
            assert_eq!(places, wanted, "{records:?}");
        };
        check(&[], &[]);
        check(&[record(5, 0, 80, &[])], &[]);
        check(&[record(10, 0, 80, &[2]), record(10, 0, 81, &[1])], &[(1, 81, false, 1), (2, 80, false, 1)]);
        check(&[record(10, 3, 80, &[1, 2])], &[(1, 80, false, 1), (2, 80, false, 1)]);
        // Weights compare within a priority, and all the others are one rank.
        check(
            &[record(0, 1, 80, &[1]), record(0, 2, 80, &[2]), record(1, 5, 80, &[3]), record(2, 5, 80, &[4])],
            &[(1, 80, false, 1), (2, 80, false, 2), (3, 80, true, 1), (4, 80, true, 1)],
        );
        // The first choice has no address: the second is no stand-in then, it is all there is.
        check(&[record(0, 1, 80, &[]), record(1, 1, 80, &[3])], &[(3, 80, false, 1)]);
    }

    #[test]
    fn a_roster_joins_what_is_written_with_what_is_known() {
        let spec = |written: &str, host, port, backup| NodeSpec {
            written: written.to_owned(),
            host,
            port,
            tls_name: None,
            base: String::new(),
            weight: 1,
            backup,
            bounds: NodeBounds::default(),
        };
        let host = |name: &str| NodeHost::Name(name.to_owned());
        let specs = [
            spec("127.0.0.9:80", NodeHost::Address(ip(9)), 80, false),
            spec("a:80", host("a"), 80, false),
            spec("unknown:80", host("unknown"), 80, false),
            spec("srv:s", NodeHost::Service("s".to_owned()), 0, false),
            spec("a:81", host("a"), 81, true),
            spec("both:82", host("both"), 82, false),
            spec("127.0.0.1:82", NodeHost::Address(ip(1)), 82, false),
            spec("[::1]:82", NodeHost::Address(LOOPBACKS[1]), 82, false),
            spec("unix:/run/app.sock", NodeHost::Unix("/run/app.sock".into()), 0, true),
        ];
        let known = HashMap::from([
            (Question::Host("a".to_owned()), places_of_host([ip(9), ip(2), ip(1), ip(2)])),
            (Question::Host("both".to_owned()), places_of_host(LOOPBACKS)),
            (
                Question::Service("s".to_owned()),
                vec![Target { ip: ip(1), is_either_loopback: false, port: Some(7), backup: true, weight: 4 }],
            ),
        ]);
        let nodes: Vec<_> = roster(&specs, &known)
            .nodes
            .into_iter()
            .map(|node| format!("{} {} {} {}", node.written, node.address, node.weight, node.backup))
            .collect();
        assert_eq!(
            nodes,
            [
                "127.0.0.9:80 127.0.0.9:80 1 false",
                "a:80 127.0.0.1:80 1 false",
                "a:80 127.0.0.2:80 1 false",
                "srv:s 127.0.0.1:7 4 true",
                "a:81 127.0.0.1:81 1 true",
                "a:81 127.0.0.2:81 1 true",
                "a:81 127.0.0.9:81 1 true",
                "both:82 localhost:82 1 false",
                "unix:/run/app.sock unix:/run/app.sock 1 true",
            ]
        );
    }
}
