//! TLS towards nodes: what an upstream trusts and shows, read and checked when a plan is loaded, and handshakes with one
//! node. What does not go well is told once, with the names that it is about.

use std::cell::OnceCell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use config::plan::{NodeTls as Plan, Upstream};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, InvalidMessage, RootCertStore,
    SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::net::tls::{TlsProblem, check_pair, read_chain, read_pair};

/// How an upstream speaks TLS with its nodes.
#[derive(Debug)]
pub(crate) struct ClientTls {
    config: Arc<ClientConfig>,
    /// The name to ask for, where it is not the node's own.
    server_name: Option<String>,
    /// Tells whether another one would do the same, with the same files.
    fingerprint: u64,
}

/// The same for one node.
#[derive(Debug)]
pub(crate) struct NodeTls {
    client: Arc<ClientTls>,
    /// The host of the node.
    host: String,
    /// What is asked for, and has to be in the certificate.
    name: ServerName<'static>,
    /// As people know the node: its upstream, and what is written there.
    upstream: String,
    written: String,
    /// What went wrong last, until something goes well.
    trouble: Mutex<Option<String>>,
    has_trouble: AtomicBool,
}

/// The handshake failed, which has been told; within an [`io::Error`].
#[derive(Debug, thiserror::Error)]
#[error("TLS handshake failed")]
struct Failed;

pub(crate) fn is_failed_handshake(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|error| error.is::<Failed>())
}

/// The TLS towards each upstream's nodes, in the order of `upstreams`; `None` for those without nodes at
/// `https://`.
pub(crate) fn of_upstreams(
    upstreams: &[Arc<Upstream>],
) -> Result<Vec<Option<Arc<ClientTls>>>, Vec<TlsProblem>> {
    let mut problems = Vec::new();
    let system = OnceCell::new();
    let loaded = upstreams.iter().map(|upstream| {
        let names: Vec<_> = upstream.nodes.iter().filter_map(|node| node.tls_name.as_deref()).collect();
        if names.is_empty() {
            return None;
        }
        let bad = names
            .into_iter()
            .chain(upstream.tls.server_name.as_deref())
            .find(|name| server_name(name).is_none());
        if let Some(name) = bad {
            problems.push(problem(name.into(), "cannot be the name in a certificate".to_owned()));
        }
        match ClientTls::of(&upstream.tls, &system) {
            Ok(tls) => Some(Arc::new(tls)),
            Err(problem) => {
                problems.push(problem);
                None
            }
        }
    });
    let loaded = loaded.collect();
    if problems.is_empty() { Ok(loaded) } else { Err(problems) }
}

/// What is wrong today with what is shown to nodes, as a check of the file tells it. Nothing is kept of it.
pub(crate) fn check_all(upstreams: &[Arc<Upstream>]) -> Vec<TlsProblem> {
    let shown = upstreams.iter().filter_map(|upstream| {
        let Plan { certificate, key, .. } = &upstream.tls;
        check_pair(certificate.as_ref()?, key.as_ref()?).err()
    });
    let mut problems: Vec<_> = shown.map(|problem| TlsProblem { section: UPSTREAM, ..problem }).collect();
    let unusable = of_upstreams(upstreams).err().unwrap_or_default();
    problems.extend(unusable.into_iter().filter(|problem| !problems.contains(problem)).collect::<Vec<_>>());
    problems
}

fn problem(file: PathBuf, reason: String) -> TlsProblem {
    TlsProblem { section: UPSTREAM, file, reason }
}

fn server_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).ok()
}

impl ClientTls {
    fn of(plan: &Plan, system: &OnceCell<Vec<CertificateDer<'static>>>) -> Result<Self, TlsProblem> {
        let in_upstream = |problem: TlsProblem| TlsProblem { section: UPSTREAM, ..problem };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut fingerprint = DefaultHasher::new();
        (plan.verify, &plan.server_name).hash(&mut fingerprint);
        let verifier: Arc<dyn ServerCertVerifier> = match (&plan.ca, plan.verify) {
            (_, false) => Arc::new(TrustsAll(provider.clone())),
            (Some(file), true) => {
                let roots = read_chain(file).map_err(in_upstream)?;
                hash_all(&roots, &mut fingerprint);
                // Who trusts one certificate means that one, whether or not it may issue others.
                let itself = roots.clone();
                let verifier = verifier(roots, &provider).map_err(|reason| problem(file.clone(), reason))?;
                Arc::new(OrItself { verifier, itself })
            }
            (None, true) => {
                let roots = system.get_or_init(|| rustls_native_certs::load_native_certs().certs);
                hash_all(roots, &mut fingerprint);
                verifier(roots.clone(), &provider)
                    .map_err(|reason| problem("the system's certificates".into(), reason))?
            }
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| problem(PathBuf::new(), error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match (&plan.certificate, &plan.key) {
            (Some(certificate), Some(key)) => {
                let own = read_pair(certificate, key).map_err(in_upstream)?;
                hash_all(&own.cert, &mut fingerprint);
                builder.with_client_cert_resolver(shown(own))
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            server_name: plan.server_name.clone(),
            fingerprint: fingerprint.finish(),
        })
    }

    /// This one, or `before` if that does the same: connections that are open stay of use then, and so do sessions that can be
    /// resumed.
    pub(crate) fn or_same(self: Arc<Self>, before: Option<&Arc<Self>>) -> Arc<Self> {
        before.filter(|before| before.fingerprint == self.fingerprint).cloned().unwrap_or(self)
    }
}

fn hash_all(certificates: &[CertificateDer<'_>], hasher: &mut DefaultHasher) {
    certificates.iter().for_each(|certificate| certificate.as_ref().hash(hasher));
}

fn shown(own: CertifiedKey) -> Arc<SingleCertAndKey> {
    Arc::new(SingleCertAndKey::from(own))
}

/// Trusts what `roots` have signed.
fn verifier(
    roots: Vec<CertificateDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, String> {
    let mut store = RootCertStore::empty();
    // Of those that a system has, some are always too old to be read.
    let (added, _) = store.add_parsable_certificates(roots);
    if added == 0 {
        return Err("hold no certificate that can be trusted; name one with `ca`".to_owned());
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
        .build()
        .map_err(|error| format!("cannot be used: {error}"))
}

impl NodeTls {
    /// `name` is the host of the node, which the log calls `written` of `upstream`. `None` if it cannot be asked for, which has
    /// been told.
    pub(crate) fn new(client: Arc<ClientTls>, name: &str, upstream: &str, written: &str) -> Option<Self> {
        Some(Self {
            name: server_name(client.server_name.as_deref().unwrap_or(name))?,
            client,
            host: name.to_owned(),
            upstream: upstream.to_owned(),
            written: written.to_owned(),
            trouble: Mutex::default(),
            has_trouble: AtomicBool::new(false),
        })
    }

    pub(crate) fn is_by(&self, client: &Arc<ClientTls>, host: &str) -> bool {
        Arc::ptr_eq(&self.client, client) && self.host == host
    }

    /// Shakes hands over a connection that is open. Cancel-safe as far as that the connection goes with it.
    pub(crate) async fn shake_hands(&self, tcp: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let connector = TlsConnector::from(self.client.config.clone());
        connector.connect(self.name.clone(), tcp).await.map_err(|error| {
            self.failed(&error);
            io::Error::other(Failed)
        })
    }

    /// Something went wrong: told, if it is not what went wrong before.
    pub(crate) fn failed(&self, error: &io::Error) {
        let reason = reason_of(error, &self.name);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if trouble.as_ref() != Some(&reason) {
            let (upstream, node) = (&self.upstream, &self.written);
            tracing::warn!(event = "node_tls_failed", upstream, node, reason, "TLS with a node fails");
            *trouble = Some(reason);
            self.has_trouble.store(true, Relaxed);
        }
    }

    /// It has said something.
    pub(crate) fn is_well(&self) {
        if self.has_trouble.load(Relaxed) {
            self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
            self.has_trouble.store(false, Relaxed);
        }
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What went wrong, in words that name the key of the file that would mend it, where one would.
fn reason_of(error: &io::Error, name: &ServerName<'_>) -> String {
    let name = name.to_str();
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<Error>());
    match tls {
        Some(Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })) => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            let has = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            format!(
                "{name} was asked for, and the certificate is for {has}; `server_name` asks for another name"
            )
        }
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            format!(
                "the certificate of {name} is not signed by anybody who is trusted; name its authority with `ca`"
            )
        }
        Some(Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after })) => {
            let ago = time.as_secs().saturating_sub(not_after.as_secs());
            format!("the certificate of {name} expired {} ago", in_words(ago))
        }
        Some(Error::InvalidCertificate(CertificateError::NotValidYetContext { time, not_before })) => {
            let until = not_before.as_secs().saturating_sub(time.as_secs());
            format!("the certificate of {name} is valid in {} only; is the clock right?", in_words(until))
        }
        Some(Error::AlertReceived(alert)) => {
            format!("{name} refuses with the alert {alert:?}; does it want a client's `certificate`?")
        }
        Some(Error::InvalidMessage(
            InvalidMessage::HandshakePayloadTooLarge | InvalidMessage::CertificatePayloadTooLarge,
        )) => {
            format!("{name} shows more certificates than the 64 KiB that are read; let it show its own chain")
        }
        Some(Error::InvalidMessage(_)) => format!("what {name} says is no TLS; is it `http://`?"),
        Some(other) => format!("{name}: {other}"),
        None => format!("{name}: {error}"),
    }
}

/// A name in a certificate without what `webpki` puts around it: `DnsName("a.example")`.
fn bare(name: &str) -> &str {
    let inside = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inside.unwrap_or(name).trim_matches('"')
}

fn in_words(seconds: u64) -> String {
    match seconds {
        0..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Trusts also what is one of these as it is: a node's own certificate, which nobody has signed but itself.
#[derive(Debug)]
struct OrItself {
    verifier: Arc<WebPkiServerVerifier>,
    itself: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for OrItself {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // One that may issue others, as `openssl req -x509` makes them, is refused as that of a server.
            Err(Error::InvalidCertificate(CertificateError::Other(why)))
                if why.to_string().contains(IS_AN_AUTHORITY) && self.itself.contains(end_entity) =>
            {
                let leaf = rustls::server::ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&leaf, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Trusts every certificate, as `verify = false` wants it; that the other end has its key is looked at all the same.
#[derive(Debug)]
struct TrustsAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustsAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// What `webpki` calls it, which has looked at the dates before.
const IS_AN_AUTHORITY: &str = "CaUsedAsEndEntity";
/// Where certificates of upstreams are named.
const UPSTREAM: &str = "upstream";
