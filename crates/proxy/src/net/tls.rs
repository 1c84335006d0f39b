//! TLS towards clients: certificates by name, read and checked when a plan is loaded, chosen at each handshake.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::plan::{CertificateFiles, Listen, Scheme};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// TLS on one listen.
#[derive(Debug, Clone)]
pub(crate) struct ServerTls(pub(crate) Arc<ServerConfig>);

/// Why a certificate cannot be used.
#[derive(Debug)]
pub struct TlsProblem {
    /// The file at fault.
    pub file: PathBuf,
    /// What is wrong with it, and what to do.
    pub reason: String,
}

impl fmt::Display for TlsProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

/// Reads every certificate of every listen, and tells all that is wrong at once. In the order of the listens.
pub(crate) fn load_all(listens: &[Listen]) -> Result<Vec<Option<ServerTls>>, Vec<TlsProblem>> {
    let mut problems = Vec::new();
    let mut loaded = Vec::new();
    for listen in listens {
        let Scheme::Tls(files) = &listen.scheme else {
            loaded.push(None);
            continue;
        };
        let mut usable = Vec::new();
        for certificate in files.iter().map(load) {
            match certificate {
                Ok(certificate) => usable.push(certificate),
                Err(problem) => problems.push(problem),
            }
        }
        loaded.push(match ByName::new(usable).map(server_config) {
            Some(Ok(config)) => Some(config),
            Some(Err(error)) => {
                problems.push(TlsProblem { file: files[0].certificate.clone(), reason: error.to_string() });
                None
            }
            None => None,
        });
    }
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

fn server_config(certificates: ByName) -> Result<ServerTls, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Tickets resume a session on any worker without memory of it; their keys rotate by themselves.
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(ServerTls(Arc::new(config)))
}

/// A certificate with the names it is for.
struct Loaded {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

fn load(files: &CertificateFiles) -> Result<Loaded, TlsProblem> {
    let chain = read_chain(&files.certificate)?;
    let leaf_problem = |reason: String| TlsProblem { file: files.certificate.clone(), reason };
    let names = check_leaf(&chain[0]).map_err(leaf_problem)?;
    let key_problem = |reason: String| TlsProblem { file: files.key.clone(), reason };
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| key_problem(pem_reason(&error, "private key")))?;
    let certified =
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                key_problem(format!("is not the key of {}", files.certificate.display()))
            }
            other => key_problem(format!("cannot be used: {other}")),
        })?;
    Ok(Loaded { names, key: Arc::new(certified) })
}

fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let problem = |reason: String| TlsProblem { file: file.to_owned(), reason };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file)
        .map_err(|error| problem(pem_reason(&error, "certificate")))?
        .collect();
    let chain = chain.map_err(|error| problem(pem_reason(&error, "certificate")))?;
    if chain.is_empty() {
        return Err(problem("holds no certificate; it should begin with -----BEGIN CERTIFICATE-----".into()));
    }
    Ok(chain)
}

fn pem_reason(error: &rustls_pki_types::pem::Error, what: &str) -> String {
    match error {
        rustls_pki_types::pem::Error::Io(error) => format!("cannot be read: {error}"),
        rustls_pki_types::pem::Error::NoItemsFound => format!("holds no {what} in PEM"),
        rustls_pki_types::pem::Error::MissingSectionEnd { .. } => {
            "is cut: its -----END line is missing".into()
        }
        other => format!("is not PEM: {other}"),
    }
}

/// The names that the leaf is for, if it is one that clients accept today.
fn check_leaf(leaf: &CertificateDer<'_>) -> Result<Vec<String>, String> {
    let (_, leaf) =
        X509Certificate::from_der(leaf).map_err(|error| format!("is not a certificate: {error}"))?;
    let validity = leaf.validity();
    let now = x509_parser::time::ASN1Time::now();
    if now > validity.not_after {
        return Err(format!("expired on {}; renew it", validity.not_after));
    }
    if now < validity.not_before {
        return Err(format!("is not valid before {}; is the clock right?", validity.not_before));
    }
    let names = leaf.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    let dns = names.flatten().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    Ok(dns.collect())
}

/// Chooses by the name that the client asks for (RFC 6066 section 3).
#[derive(Debug)]
struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    /// By what follows the `*.`, which stands for one label (RFC 9525 section 6.3).
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    default: Arc<CertifiedKey>,
}

impl ByName {
    /// The first is the default; the first with a name wins it. `None` without any.
    fn new(certificates: Vec<Loaded>) -> Option<Self> {
        let default = certificates.first()?.key.clone();
        let mut by_name = Self { exact: HashMap::new(), wildcard: HashMap::new(), default };
        for certificate in certificates {
            for name in certificate.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(suffix) => (&mut by_name.wildcard, suffix.to_owned()),
                    None => (&mut by_name.exact, name),
                };
                names.entry(name).or_insert_with(|| certificate.key.clone());
            }
        }
        Some(by_name)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let Some(name) = hello.server_name() else { return Some(self.default.clone()) };
        let name = name.to_ascii_lowercase();
        let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
        Some(self.exact.get(&name).or_else(by_wildcard).unwrap_or(&self.default).clone())
    }
}
