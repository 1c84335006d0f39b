//! TLS towards clients: what one listen speaks, with certificates that may be exchanged while it does.

mod certificate;
mod clients;
mod store;
mod tickets;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::plan::{CertificateFiles, Listen, Plan, Scheme, TlsProfile};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

pub use self::certificate::TlsProblem;
pub(crate) use self::certificate::read_chain;
use self::certificate::{LISTEN, Unusable};
use self::clients::Asked;
pub(crate) use self::clients::{lines_of, why_refused};
pub use self::store::CertificateNow;
pub(crate) use self::store::{ACME_TLS, Store};
use self::tickets::Tickets;

/// TLS on one listen.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) certificates: Arc<Store>,
    /// Clients are asked for certificates.
    pub(crate) asks_clients: bool,
    /// For authorities that come to see whose a name is, where clients are asked for certificates: they have none.
    pub(crate) for_authorities: Option<Arc<ServerConfig>>,
}

/// Reads every certificate of every listen, and tells all that is wrong at once. In the order of the listens. One that clients
/// will not accept today, or that has the key of another one, is told in the log, for the other hosts can do without it; what
/// `served` has of it from before goes on.
pub(crate) fn load_all(
    plan: &Plan,
    served: &[Arc<Store>],
) -> Result<Vec<Option<ServerTls>>, Vec<TlsProblem>> {
    let tickets = Arc::new(Tickets::new(&plan.sticky_secret, &[]));
    let mut problems = Vec::new();
    let loaded = plan.listens.iter().map(|listen| {
        let store = match &listen.scheme {
            Scheme::Plain | Scheme::RedirectToHttps { .. } => return None,
            Scheme::Tls(files) => {
                let (store, unreadable) = Store::read(files, served);
                problems.extend(unreadable);
                store
            }
            Scheme::Automatic { issuer, hosts } => Store::awaiting(&plan.acme, *issuer, hosts, served),
        };
        let asked = clients::read(&listen.client_certificates).unwrap_or_else(|problem| {
            problems.push(problem);
            None
        });
        // A session that began where others are let in is not one here.
        let tickets = match &asked {
            Some(asked) => Arc::new(Tickets::new(&plan.sticky_secret, &asked.rules)),
            None => tickets.clone(),
        };
        server_tls(store, listen, asked, &tickets)
            .map_err(|error| {
                let reason = error.to_string();
                problems.push(TlsProblem { section: LISTEN, file: PathBuf::new(), reason });
            })
            .ok()
    });
    let loaded = loaded.collect();
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// The certificates of files that can be read now, for a start that cannot do it any more.
pub(crate) fn read_first(listens: &[Listen]) -> Vec<Arc<Store>> {
    let stores = listens.iter().filter_map(|listen| match &listen.scheme {
        // What is wrong with them is told at the start itself.
        Scheme::Tls(files) => Some(Arc::new(Store::read(files, &[]).0)),
        Scheme::Plain | Scheme::RedirectToHttps { .. } | Scheme::Automatic { .. } => None,
    });
    stores.collect()
}

/// All that is wrong with the certificates that these listens name, today.
pub(crate) fn check_all(listens: &[Listen]) -> Vec<TlsProblem> {
    let clients = listens.iter().filter_map(|listen| clients::read(&listen.client_certificates).err());
    files_of(listens).filter_map(|files| certificate::check(files).err()).chain(clients).collect()
}

/// What some clients will not like about them.
pub(crate) fn warn_all(listens: &[Listen]) -> Vec<TlsProblem> {
    files_of(listens).filter_map(certificate::warn).collect()
}

fn files_of(listens: &[Listen]) -> impl Iterator<Item = &CertificateFiles> {
    listens.iter().flat_map(|listen| match &listen.scheme {
        Scheme::Tls(files) => files.as_slice(),
        // Those that tidelock makes or gets itself are its own business.
        Scheme::Plain | Scheme::RedirectToHttps { .. } | Scheme::Automatic { .. } => &[],
    })
}

/// A certificate with its key, whatever its dates.
pub(crate) fn read_pair(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsProblem> {
    let files = CertificateFiles { certificate: certificate.to_owned(), key: key.to_owned() };
    certificate::read(&files).map(|read| (*read.key).clone()).map_err(Unusable::into_problem)
}

/// What is wrong with a certificate today.
pub(crate) fn check_pair(certificate: &Path, key: &Path) -> Result<(), TlsProblem> {
    certificate::check(&CertificateFiles { certificate: certificate.to_owned(), key: key.to_owned() })
}

/// Mozilla's profiles differ in nothing else: the suites and groups of aws-lc-rs are among those of both.
fn versions(profile: TlsProfile) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];
    match profile {
        TlsProfile::Intermediate => &BOTH,
        TlsProfile::Modern => &BOTH[..1],
    }
}

fn server_tls(
    certificates: Store,
    listen: &Listen,
    asked: Option<Asked>,
    tickets: &Arc<Tickets>,
) -> Result<ServerTls, rustls::Error> {
    let (certificates, asks_clients) = (Arc::new(certificates), asked.is_some());
    let config = |asked: Option<&Asked>| {
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions(listen.tls_profile))?;
        let config = match asked {
            Some(asked) => config.with_client_cert_verifier(asked.verifier.clone()),
            None => config.with_no_client_auth(),
        };
        let mut config = config.with_cert_resolver(certificates.clone());
        // The first of ours that the client knows is spoken.
        if listen.http2 {
            config.alpn_protocols.push(HTTP2.to_vec());
        }
        config.alpn_protocols.push(b"http/1.1".to_vec());
        if certificates.proves_names() {
            config.alpn_protocols.push(ACME_TLS.to_vec());
        }
        // Tickets resume a session on any worker without memory of it. Who is taken for an authority was asked for nothing, and its
        // session must not go on among clients that were.
        if asked.is_some() == asks_clients {
            config.ticketer = tickets.clone();
        }
        Ok::<_, rustls::Error>(Arc::new(config))
    };
    let for_authorities = match &asked {
        Some(_) if certificates.proves_names() => Some(config(None)?),
        _ => None,
    };
    Ok(ServerTls { config: config(asked.as_ref())?, asks_clients, for_authorities, certificates })
}

/// How HTTP/2 over TLS is called in ALPN (RFC 9113 section 3.2).
pub(crate) const HTTP2: &[u8] = b"h2";

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 5.7 of Mozilla's guidelines: what a profile allows is spoken, and nothing else.
    #[test]
    fn suites_and_groups_are_those_of_the_intermediate_profile() {
        let provider = aws_lc_rs::default_provider();
        let mut suites: Vec<String> =
            provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
        suites.sort();
        assert_eq!(
            suites,
            [
                "TLS13_AES_128_GCM_SHA256",
                "TLS13_AES_256_GCM_SHA384",
                "TLS13_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
                "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
                "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
            ]
        );
        let mut groups: Vec<String> =
            provider.kx_groups.iter().map(|group| format!("{:?}", group.name())).collect();
        groups.sort();
        assert_eq!(groups, ["X25519", "X25519MLKEM768", "secp256r1", "secp384r1"]);
    }
}
