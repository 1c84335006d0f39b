//! Sockets and servers: who listens where, under which names, and who has the requests that name nobody.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::ours::Left;
use super::parse::Directive;
use super::scope::Scope;

/// One address that somebody listens on.
#[derive(Debug)]
pub(super) struct Socket<'f> {
    pub(super) address: SocketAddr,
    pub(super) is_tls: bool,
    pub(super) directive: Option<&'f Directive>,
    /// The first that says that a balancer says who its clients are.
    pub(super) proxied: Option<&'f Directive>,
    /// Certificate and key, that of the default server first.
    pub(super) certificates: Vec<(String, String)>,
    /// Whose certificates clients show, and whether they have to: the same for all its servers.
    pub(super) clients: Option<(String, &'static str)>,
    /// The default server speaks TLS 1.3 alone, and so do the others then.
    pub(super) is_modern: bool,
    /// One of its servers at least speaks HTTP/2, and so do the others then.
    pub(super) speaks_http2: bool,
}

impl Socket<'_> {
    pub(super) fn written(&self) -> String {
        self.address.to_string()
    }
}

/// One `server`.
#[derive(Debug)]
pub(super) struct Site<'f> {
    pub(super) directive: &'f Directive,
    pub(super) scope: Scope<'f>,
    /// Places in the list of sockets.
    pub(super) sockets: Vec<usize>,
    /// Those whose requests for nobody it has.
    pub(super) default_of: Vec<usize>,
    /// In our words.
    pub(super) hosts: Vec<String>,
    /// The first of its names, as it is written.
    pub(super) name: String,
    /// Its listens ask for the certificates that it asks for.
    pub(super) asks_clients: bool,
}

impl Site<'_> {
    /// Whose certificates its clients show, and whether they have to, in our words; `None` if it asks for none, and `Some(None)` if
    /// for some that we cannot ask for.
    fn clients(&self) -> Option<Option<(String, &'static str)>> {
        let mode = match self.scope.one("ssl_verify_client")?.arg() {
            "off" => return None,
            "on" => "required",
            "optional" => "optional",
            _ => return Some(None),
        };
        // Whoever was revoked would be let in without the list.
        let ca = self.scope.one("ssl_client_certificate").filter(|_| self.scope.one("ssl_crl").is_none());
        Some(ca.map(|ca| (ca.arg().to_owned(), mode)))
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Sites<'f> {
    pub(super) sockets: Vec<Socket<'f>>,
    pub(super) sites: Vec<Site<'f>>,
    wants_default: Vec<(usize, usize)>,
}

impl<'f> Sites<'f> {
    /// Adds a server.
    pub(super) fn add(&mut self, directive: &'f Directive, scope: Scope<'f>, left: &mut Vec<Left>) {
        let number = self.sites.len();
        let is_all_tls = scope.one("ssl").is_some_and(|ssl| ssl.arg() == "on");
        let speaks_http2 = scope.one("http2").is_some_and(|http2| http2.arg() == "on");
        let listens: Vec<&Directive> =
            directive.inside().iter().filter(|directive| directive.name == "listen").collect();
        let mut sockets = Vec::new();
        for listen in &listens {
            let is_tls = is_all_tls || listen.args.iter().any(|arg| arg == "ssl");
            let Some(address) = address(listen.arg()) else {
                left.push(unheard(listen));
                continue;
            };
            let socket = self.socket(address, is_tls, listen);
            self.sockets[socket].speaks_http2 |= speaks_http2 || listen.args.iter().any(|arg| arg == "http2");
            if listen.args.iter().any(|arg| arg == "proxy_protocol") {
                self.sockets[socket].proxied.get_or_insert(listen);
            }
            if listen.args.iter().any(|arg| arg == "default_server" || arg == "default") {
                self.wants_default.push((socket, number));
            }
            if !sockets.contains(&socket) {
                sockets.push(socket);
            }
        }
        if listens.is_empty() {
            let socket = self.unsaid_socket(is_all_tls);
            self.sockets[socket].speaks_http2 |= speaks_http2;
            sockets.push(socket);
        }
        let names: Vec<&String> = directive
            .inside()
            .iter()
            .filter(|directive| directive.name == "server_name")
            .flat_map(|directive| &directive.args)
            .collect();
        let name = names.first().map_or_else(String::new, |name| name.trim_start_matches('.').to_owned());
        let mut hosts = Vec::new();
        for name in names {
            match self::hosts(name) {
                Some(more) => {
                    hosts.extend(more.into_iter().filter(|host| !hosts.contains(host)).collect::<Vec<_>>());
                }
                None => left.push(Left {
                    at: directive.at.clone(),
                    what: format!("server_name {name}"),
                    why: "hosts are names, or `*.` and a name".to_owned(),
                    todo: "write the names out, in `host` of its routes".to_owned(),
                }),
            }
        }
        let site =
            Site { directive, scope, sockets, default_of: Vec::new(), hosts, name, asks_clients: false };
        self.sites.push(site);
    }

    fn unsaid_socket(&mut self, is_tls: bool) -> usize {
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 80));
        if let Some(at) = self.sockets.iter().position(|socket| socket.address == address) {
            return at;
        }
        self.sockets.push(Socket {
            address,
            is_tls,
            directive: None,
            proxied: None,
            certificates: Vec::new(),
            clients: None,
            is_modern: false,
            speaks_http2: false,
        });
        self.sockets.len() - 1
    }

    fn socket(&mut self, address: SocketAddr, is_tls: bool, directive: &'f Directive) -> usize {
        // `listen 80` and `listen [::]:80` are one of ours.
        let is_same = |known: SocketAddr| {
            known == address
                || (known.port() == address.port()
                    && known.ip().is_unspecified()
                    && address.ip().is_unspecified())
        };
        match self.sockets.iter().position(|socket| is_same(socket.address)) {
            Some(at) => {
                let socket = &mut self.sockets[at];
                socket.is_tls |= is_tls;
                if address.is_ipv6() {
                    socket.address = address;
                }
                at
            }
            None => {
                let directive = Some(directive);
                self.sockets.push(Socket {
                    address,
                    is_tls,
                    directive,
                    proxied: None,
                    certificates: Vec::new(),
                    clients: None,
                    is_modern: false,
                    speaks_http2: false,
                });
                self.sockets.len() - 1
            }
        }
    }

    /// Once all servers are known: whose requests for nobody are, and the certificates.
    pub(super) fn settle(&mut self) {
        for number in 0..self.sockets.len() {
            let told = self.wants_default.iter().find(|(socket, _)| *socket == number).map(|(_, site)| *site);
            let first = self.sites.iter().position(|site| site.sockets.contains(&number));
            let Some(default) = told.or(first) else { continue };
            self.sites[default].default_of.push(number);
            let protocols = self.sites[default].scope.one("ssl_protocols");
            self.sockets[number].is_modern = self.sockets[number].is_tls
                && protocols.is_some_and(|one| matches!(&one.args[..], [one] if one == "TLSv1.3"));
            let mut order: Vec<usize> = (0..self.sites.len()).collect();
            order.sort_by_key(|site| *site != default);
            for site in order.into_iter().map(|site| &self.sites[site]) {
                if self.sockets[number].is_tls && site.sockets.contains(&number) {
                    let certificates = site.scope.list("ssl_certificate");
                    let keys = site.scope.list("ssl_certificate_key");
                    let pairs = certificates.iter().zip(keys);
                    let pairs: Vec<_> = pairs
                        .map(|(certificate, key)| (certificate.arg().to_owned(), key.arg().to_owned()))
                        .collect();
                    let known = &mut self.sockets[number].certificates;
                    known.extend(pairs.into_iter().filter(|pair| !known.contains(pair)).collect::<Vec<_>>());
                }
            }
            // A listen of ours asks all its clients for the same.
            let mut asked =
                self.sites.iter().filter(|site| site.sockets.contains(&number)).map(Site::clients);
            let first = asked.next().flatten().flatten();
            if self.sockets[number].is_tls && asked.all(|other| other.flatten() == first) {
                self.sockets[number].clients = first;
            }
        }
        for site in &mut self.sites {
            let mut over_tls =
                site.sockets.iter().map(|&at| &self.sockets[at]).filter(|socket| socket.is_tls);
            // Without TLS nginx asks nobody.
            let has_some = site.sockets.iter().any(|&at| self.sockets[at].is_tls);
            site.asks_clients = has_some && over_tls.all(|socket| socket.clients.is_some());
        }
    }
}

fn unheard(listen: &Directive) -> Left {
    let (why, todo) = match listen.arg().starts_with("unix:") {
        true => (
            "tidelock does not listen on Unix sockets",
            "listen on a port of loopback, such as `127.0.0.1:8080`",
        ),
        false => ("a name, where an address is needed", "write the address"),
    };
    Left { at: listen.at.clone(), what: listen.text(), why: why.to_owned(), todo: todo.to_owned() }
}

fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    let text = text.replace("localhost", "127.0.0.1").replace('*', "0.0.0.0");
    let ip = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    if let Some(ip) = ip(&text) {
        return Some(SocketAddr::new(ip, 80));
    }
    match text.parse::<SocketAddr>() {
        Ok(address) => Some(address),
        Err(_) => text.strip_prefix("[::]:")?.parse().ok().map(|port| (Ipv6Addr::UNSPECIFIED, port).into()),
    }
}

/// Our words for a server's name: none for one that no client says, as `_`.
fn hosts(name: &str) -> Option<Vec<String>> {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix('.').unwrap_or(&name);
    if let Some(apex) = name.strip_prefix('.') {
        return Some(vec![apex.to_owned(), format!("*.{apex}")]);
    }
    if let Some(rest) = name.strip_prefix("~^(") {
        // Any label, or labels, in front of a name.
        let (group, rest) = rest.split_once(r")\.")?;
        let group = group.rsplit_once('>').map_or(group, |(_, group)| group);
        let apex = rest.strip_suffix('$')?.replace(r"\.", ".");
        let is_any = [".+", ".*", "[^.]+", r"[\w-]+", r"\w+", "[a-z0-9-]+"].contains(&group);
        let is_name = apex.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '.');
        return (is_any && is_name).then(|| vec![format!("*.{apex}")]);
    }
    if name.starts_with('~') || name.ends_with(".*") || name.contains('$') {
        return None;
    }
    let is_said = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '*');
    Some(if is_said { vec![name.to_owned()] } else { Vec::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        for (name, want) in [
            ("A.example.", Some(vec!["a.example"])),
            (".a.example", Some(vec!["a.example", "*.a.example"])),
            ("*.a.example", Some(vec!["*.a.example"])),
            ("_", Some(vec![])),
            ("", Some(vec![])),
            ("~^a", None),
            (r"~^(?<sub>.+)\.a\.example$", Some(vec!["*.a.example"])),
            (r"~^(a|b)\.a\.example$", None),
            ("www.example.*", None),
        ] {
            let want: Option<Vec<String>> = want.map(|want| want.into_iter().map(str::to_owned).collect());
            assert_eq!(hosts(name), want, "{name}");
        }
        for (text, want) in [
            ("80", Some("0.0.0.0:80")),
            ("*:81", Some("0.0.0.0:81")),
            ("[::]:80", Some("[::]:80")),
            ("127.0.0.1", Some("127.0.0.1:80")),
            ("localhost:8080", Some("127.0.0.1:8080")),
            ("[::1]", Some("[::1]:80")),
            ("unix:/run/x.sock", None),
            ("example.com:80", None),
        ] {
            assert_eq!(address(text).map(|address| address.to_string()).as_deref(), want, "{text}");
        }
    }
}
