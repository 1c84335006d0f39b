//! `[resolver]`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::file::declare::declare;
use crate::file::kinds::Time;
use crate::file::kinds::hosts::Nameservers;

declare! {
    /// Who is asked for the addresses of nodes, and how often. `/etc/hosts` comes before anyone is asked.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct Resolver in RESOLVER = "resolver", One:
        "Who is asked for the addresses of nodes that have a name. What stands in /etc/hosts is not asked for.";
    keys {
        /// DNS resolvers, 1 to 8, as "127.0.0.1:53" or without the port when it is 53. Names are asked for as they are written: no
        /// search domain is tried.
        NAMESERVERS nameservers: Vec<SocketAddr> => "the system's, in /etc/resolv.conf", Nameservers;
        /// A name is asked for again when its TTL ends, and at the latest after so long: resolvers inside of containers promise
        /// minutes and change within seconds. The last answer stays while nobody answers.
        TTL_MAX ttl_max: Duration = Duration::from_secs(5),
            Time { least: Duration::from_secs(1), most: Duration::from_hours(24) };
    }
}
