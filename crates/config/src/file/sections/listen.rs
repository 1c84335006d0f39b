//! `[[listen]]`.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::file::declare::declare;
use crate::file::declared::Flat;
use crate::file::fields::Fields;
use crate::file::kinds::hosts::ListenAddress;
use crate::file::kinds::paths::ExistingFile;
use crate::file::kinds::policy::Networks;
use crate::file::kinds::{Count, Flag, Word};
use crate::file::sections::acme::Acme;
use crate::file::sections::client_certificates::{CLIENT_CERTIFICATES, ClientCertificates};
use crate::plan::values::{Issuer, TlsProfile};
use crate::problem::Problem;
use crate::routing::{Access, HostPattern, Route};

declare! {
    /// One address that clients connect to.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Listen in LISTEN = "listen", Many: "Where clients connect. At least one.";
    given ListenParts {
        /// What is done with the bytes.
        scheme: Scheme;
    }
    handed {
        /// Address and port to listen on. ":80", or "[::]:80", is every interface, IPv4 and IPv6; "0.0.0.0:80" is IPv4 alone.
        /// Port 0 lets the system choose; the log says which one it was.
        ADDRESS address: SocketAddr => required "\":80\"", ListenAddress;
    }
    keys {
        /// Whether another tidelock of the same user may listen here beside this one (SO_REUSEPORT), so that it can take over
        /// without anything in front of both.
        REUSE_PORT reuse_port: bool = false, Flag;
        /// Whether each connection begins with a PROXY header (version 1 or 2), by which a load balancer says who its client
        /// is. Connections from elsewhere than `trusted_proxies` are closed.
        PROXY_PROTOCOL proxy_protocol: bool = false, Flag;
        /// Addresses and networks of those whose connections are taken; all others are closed at once. That is who connects, or
        /// whom a PROXY header names: of the clients of a balancer that speaks HTTP, the balancer. For clients it knows see `allow`
        /// of a route.
        ALLOW allow: Option<Vec<IpNet>> => "everybody", Networks;
        /// Addresses and networks of those whose connections are closed, though `allow` has them.
        DENY deny: Option<Vec<IpNet>> => "nobody", Networks;
        /// Whether HTTP/2 is spoken here beside HTTP/1.1: with `tls` by clients that ask for it (ALPN), without it by those that
        /// know beforehand that it is ("h2c" with prior knowledge).
        HTTP2 http2: bool = false, Flag;
        /// Which clients can speak TLS here, in the words of Mozilla's server-side TLS guidelines: "intermediate" is TLS 1.2 and
        /// 1.3, for nearly everybody; "modern" is TLS 1.3 alone.
        TLS_PROFILE tls_profile: TlsProfile = TlsProfile::Intermediate, Word<TlsProfile>(&[
            ("intermediate", TlsProfile::Intermediate),
            ("modern", TlsProfile::Modern),
        ]);
    }
    also { ADDRESS, TLS, TO_HTTPS_KEYS }
    tables {
        /// Whether clients show certificates of their own.
        CLIENT_CERTIFICATES client_certificates: ClientCertificates;
    }
}

impl Listen {
    /// Whose connections are taken, if not everybody's.
    pub fn access(&self) -> Option<Access> {
        let Self { allow, deny, .. } = self;
        let access =
            Access { allow: allow.clone().unwrap_or_default(), deny: deny.clone().unwrap_or_default() };
        (allow.is_some() || !access.deny.is_empty()).then_some(access)
    }
}

/// How a listen speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scheme {
    /// HTTP without TLS.
    Plain,
    /// HTTP without TLS, every request of which is answered 308 to the same URL under `https`.
    RedirectToHttps {
        /// The port written into the URL; `None` when it is 443.
        port: Option<u16>,
    },
    /// HTTPS. Never empty; the first is the default for clients whose name matches none.
    Tls(Vec<CertificateFiles>),
    /// HTTPS with certificates that tidelock gets by itself.
    Automatic {
        /// Who makes them.
        issuer: Issuer,
        /// The names that they are for, one each, sorted: `chat.example.com`, `*.example.com`. Never empty.
        hosts: Vec<String>,
    },
}

declare! {
    /// PEM files of one certificate, as absolute paths or relative to the plan's own file, already joined.
    #[derive(Debug, Clone, PartialEq, Eq, Hash)]
    pub struct CertificateFiles in TLS = "tls", Inline(&[AUTO, LOCAL]):
        "Certificates for HTTPS: one, or a list of them, of which the first is for clients whose name matches none; \"auto\", for certificates that tidelock gets by itself for the hosts of its routes, from the authority of `[acme]`; or \"local\", for some that it makes itself, which `tidelock trust` makes known to this machine. PEM files, relative to the folder of this file. Left out: HTTP without TLS.";
    given CertificateParts {}
    handed {
        /// PEM file of the certificate chain, the leaf first. Relative to the folder of this file.
        CERTIFICATE certificate: PathBuf => required "\"certs/example.com.pem\"", ExistingFile;
        /// PEM file of the leaf's private key. Relative to the folder of this file.
        KEY key: PathBuf => required "\"certs/example.com.key\"", ExistingFile;
    }
    also { CERTIFICATE, KEY }
}

declare! {
    /// Whether a listen sends its clients to https: [`Scheme::RedirectToHttps`] is made of it.
    struct ToHttps in TO_HTTPS = "", One: "Whether clients are sent to https.";
    keys {
        /// Answers every request 308, to the same URL under https.
        REDIRECT redirect: bool => "requests are served as they are", Word<()>(&[("https", ())]);
        /// The port in the URL that `redirect` answers with.
        REDIRECT_PORT redirect_port: Option<u16>
            => "the port of the only listen with `tls`, or 443 if there are several or none",
            Count { least: 1, most: 65_535 };
    }
}

/// They stand in the table of the listen.
static TO_HTTPS_KEYS: Flat = Flat(&TO_HTTPS);

/// One listen, before it is known what the others are.
struct Draft<'t, 'f> {
    fields: &'t Fields<'f>,
    address: SocketAddr,
    speaks: Speaks,
}

enum Speaks {
    Plain,
    Redirect {
        port: Option<u16>,
    },
    Tls(Vec<CertificateFiles>),
    /// For names that only the routes know.
    Automatic(Issuer),
}

/// A listen that waits for the names of its certificates.
pub(crate) struct Unnamed {
    /// Among the listens that could be read.
    pub(crate) index: usize,
    /// Where the file says so.
    pub(crate) span: Option<Range<usize>>,
}

/// Reads every listen. Listens that cannot be read are left out, and have been told then. `has_trusted` says whether there are
/// any `trusted_proxies`. Also gives those whose certificates are made for the hosts of routes: see [`name_hosts`].
pub(crate) fn read(root: &Fields<'_>, has_trusted: bool) -> (Vec<Listen>, Vec<Unnamed>) {
    let tables = root.many(&LISTEN);
    let mut seen: HashMap<SocketAddr, Option<Range<usize>>> = HashMap::new();
    let mut drafts = Vec::new();
    for fields in &tables {
        let speaks = speaks(fields);
        let Some(address) = fields.required(&ADDRESS) else { continue };
        let here = fields.span_of(ADDRESS.name);
        if let Some(first) = seen.get(&address) {
            twice(fields, address, here, first.clone());
            continue;
        }
        if let Some(first) = other_wildcard(address).and_then(|other| seen.get(&other)) {
            both_wildcards(fields, address.port(), here, first.clone());
            continue;
        }
        // The system chooses another port for each port 0.
        if address.port() != 0 {
            seen.insert(address, here);
        }
        drafts.push(Draft { fields, address, speaks });
    }
    warn_of_no_https(&tables);
    let https = https_port(&drafts);
    let unnamed = drafts.iter().enumerate().filter_map(|(index, draft)| match draft.speaks {
        Speaks::Automatic(_) => Some(Unnamed { index, span: draft.fields.span_of(TLS.name) }),
        _ => None,
    });
    let unnamed = unnamed.collect();
    let finish =
        |draft: Draft<'_, '_>| {
            let fields = draft.fields;
            let listen = draft.finish(https);
            if listen.proxy_protocol && !has_trusted {
                let message = "`proxy_protocol` is believed of `trusted_proxies` alone, and there are none";
                fields.push(Problem::error(fields.span_of(PROXY_PROTOCOL.name), message).hint(
                    "name the load balancer at the top of the file: `trusted_proxies = [\"10.0.0.5\"]`",
                ));
            }
            listen
        };
    (drafts.into_iter().map(finish).collect(), unnamed)
}

/// Gives the listens their names: those of the routes that hold for them. Tells those that have none, or some that nobody
/// certifies.
pub(crate) fn name_hosts(
    listens: &mut [Listen],
    unnamed: &[Unnamed],
    routes: &[Route],
    acme: &Acme,
    root: &Fields<'_>,
) {
    for Unnamed { index, span } in unnamed {
        let Some(Listen { address, scheme: Scheme::Automatic { issuer, hosts }, .. }) =
            listens.get_mut(*index)
        else {
            continue;
        };
        let holds = |route: &&Route| route.ports.is_empty() || route.ports.contains(&address.port());
        let named: BTreeSet<String> =
            routes.iter().filter(holds).filter_map(|route| name_of(&route.host)).collect();
        *hosts = named.into_iter().collect();
        match issuer {
            // Whoever develops calls it so.
            Issuer::Local if hosts.is_empty() => hosts.push("localhost".to_owned()),
            // It is for 127.0.0.1 too, and clients that ask for an address say no name.
            Issuer::Local => hosts.sort_by_key(|host| host != "localhost"),
            Issuer::Acme if hosts.is_empty() => root.push(
                Problem::error(span.clone(), "no route of this listen says a host, so that there is no name to get a certificate for")
                    .hint("write the names at the routes: `host = \"chat.example.com\"`; for development there is `tls = \"local\"`"),
            ),
            Issuer::Acme => hosts.iter().filter_map(|host| acme.refused_for(host)).for_each(|(message, hint)| {
                root.push(Problem::error(span.clone(), message).hint(hint));
            }),
        }
    }
}

fn name_of(host: &HostPattern) -> Option<String> {
    match host {
        HostPattern::Exact(name) => Some(name.clone()),
        HostPattern::Wildcard(suffix) => Some(format!("*{suffix}")),
        HostPattern::Any => None,
    }
}

fn speaks(fields: &Fields<'_>) -> Speaks {
    let certificates: Vec<CertificateFiles> = fields
        .many(&TLS)
        .iter()
        .filter_map(|files| {
            let certificate = files.required(&CERTIFICATE);
            let key = files.required(&KEY);
            let parts = CertificateParts { certificate: certificate?, key: key? };
            Some(CertificateFiles::read(files, parts))
        })
        .collect();
    let ToHttps { redirect, redirect_port: port } = ToHttps::read(fields);
    if fields.has(TLS.name) && fields.has(REDIRECT.name) {
        fields.push(
            Problem::error(fields.span_of(REDIRECT.name), "a listen has `tls` or `redirect`, not both")
                .hint("redirect from another listen, without `tls`, on port 80"),
        );
    }
    if fields.has(TLS.name) && fields.is_without(TLS.name) {
        fields.push(
            Problem::error(fields.span_of(TLS.name), "`tls` needs a certificate")
                .hint("write `tls = { certificate = \"…\", key = \"…\" }`, or leave it out"),
        );
    }
    if fields.has(REDIRECT_PORT.name) && !fields.has(REDIRECT.name) {
        fields.push(
            Problem::error(fields.span_of(REDIRECT_PORT.name), "`redirect_port` is nothing by itself")
                .hint("add `redirect = \"https\"`, or leave it out"),
        );
    }
    ClientCertificates::demand_sense(fields, fields.has(TLS.name));
    let is_modern = fields.is_readable(&TLS_PROFILE) && fields.or_default(&TLS_PROFILE) == TlsProfile::Modern;
    if is_modern && !fields.has(TLS.name) {
        fields.push(
            Problem::error(fields.span_of(TLS_PROFILE.name), "`tls_profile` is nothing without `tls`")
                .hint("add `tls`, or leave it out"),
        );
    }
    match (redirect, fields.word(&TLS)) {
        (true, _) => Speaks::Redirect { port },
        (false, Some(AUTO)) => Speaks::Automatic(Issuer::Acme),
        (false, Some(_)) => Speaks::Automatic(Issuer::Local),
        (false, None) if certificates.is_empty() => Speaks::Plain,
        (false, None) => Speaks::Tls(certificates),
    }
}

fn twice(fields: &Fields<'_>, address: SocketAddr, here: Option<Range<usize>>, first: Option<Range<usize>>) {
    let problem = Problem::error(here, format!("{address} is listened on already"));
    fields.push(match first {
        Some(first) => problem.related(first, "here it is first"),
        None => problem,
    });
}

/// Every IPv4 interface, beside every interface, or the other way round: the one is in the other.
fn other_wildcard(address: SocketAddr) -> Option<SocketAddr> {
    let other: IpAddr = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv6Addr::UNSPECIFIED.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv4Addr::UNSPECIFIED.into(),
        _ => return None,
    };
    Some(SocketAddr::new(other, address.port()))
}

fn both_wildcards(fields: &Fields<'_>, port: u16, here: Option<Range<usize>>, first: Option<Range<usize>>) {
    let problem = Problem::error(here, format!("port {port} is listened on already"))
        .hint(format!("\":{port}\" alone is every interface, IPv4 and IPv6"));
    fields.push(match first {
        Some(first) => problem.related(first, "here it is first"),
        None => problem,
    });
}

fn warn_of_no_https(tables: &[Fields<'_>]) {
    if tables.iter().any(|fields| fields.has(TLS.name)) {
        return;
    }
    if let Some(fields) = tables.iter().find(|fields| fields.has(REDIRECT.name)) {
        let message = "requests are redirected to https, but no listen here has `tls`";
        fields.push(
            Problem::warning(fields.span_of(REDIRECT.name), message)
                .hint("unless something else serves https, add a listen with `tls`"),
        );
    }
}

/// The port of https where there is no doubt which it is.
fn https_port(drafts: &[Draft<'_, '_>]) -> u16 {
    let mut ports = drafts
        .iter()
        .filter(|draft| matches!(draft.speaks, Speaks::Tls(_) | Speaks::Automatic(_)))
        .map(|draft| draft.address.port());
    match (ports.next(), ports.next()) {
        (Some(port), None) if port != 0 => port,
        _ => HTTPS_PORT,
    }
}

impl Draft<'_, '_> {
    fn finish(self, https_port: u16) -> Listen {
        let scheme = match self.speaks {
            Speaks::Plain => Scheme::Plain,
            Speaks::Tls(certificates) => Scheme::Tls(certificates),
            Speaks::Automatic(issuer) => Scheme::Automatic { issuer, hosts: Vec::new() },
            Speaks::Redirect { port } => Scheme::RedirectToHttps {
                port: Some(port.unwrap_or(https_port)).filter(|&port| port != HTTPS_PORT),
            },
        };
        let listen = Listen::read(self.fields, ListenParts { address: self.address, scheme });
        if listen.allow.as_ref().is_some_and(Vec::is_empty) && self.fields.has(ALLOW.name) {
            let problem = Problem::error(self.fields.span_of(ALLOW.name), "nobody is allowed here");
            self.fields.push(problem.hint("leave it out, or leave the listen out"));
        }
        listen
    }
}

/// Words in the place of certificates.
const AUTO: &str = "auto";
const LOCAL: &str = "local";
/// The port that `https://` means by itself.
const HTTPS_PORT: u16 = 443;
