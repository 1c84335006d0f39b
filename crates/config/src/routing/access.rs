//! Who may, by address.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whose requests a route answers. Whoever it does not is told 403.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// If there are any, nobody else is answered.
    pub allow: Vec<IpNet>,
    /// These are not, though they are among the others.
    pub deny: Vec<IpNet>,
}

impl Access {
    /// Whether requests of this client are answered. `deny` wins over `allow`, and an IPv4 client on an IPv6 socket
    /// is judged by its IPv4 address.
    pub fn admits(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&client));
        !is_in(&self.deny) && (self.allow.is_empty() || is_in(&self.allow))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_denied_is_so_though_allowed() {
        let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a network")).collect();
        let access = |allow: &[&str], deny: &[&str]| Access { allow: networks(allow), deny: networks(deny) };
        let within = access(&["10.0.0.0/8", "fd00::/8"], &["10.1.0.0/16"]);
        let but = access(&[], &["192.0.2.7/32"]);
        for (access, client, want) in [
            (&within, "10.2.0.1", true),
            (&within, "::ffff:10.2.0.1", true),
            (&within, "10.1.0.1", false),
            (&within, "11.0.0.1", false),
            (&within, "fd12::1", true),
            (&within, "2001:db8::1", false),
            (&but, "192.0.2.7", false),
            (&but, "::ffff:192.0.2.7", false),
            (&but, "192.0.2.8", true),
        ] {
            assert_eq!(access.admits(client.parse().expect("an address")), want, "{client}");
        }
    }
}
