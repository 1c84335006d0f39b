//! One certificate with its key: read from its files, and looked at as a client would.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::plan::CertificateFiles;
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{ASN1Time, FromDer, GeneralName, ParsedExtension, X509Certificate};

/// Why a certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsProblem {
    /// Where the file names it: `listen`, `upstream` or `redis`.
    pub section: &'static str,
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

/// A certificate and its key.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) leaf: Leaf,
}

/// What its leaf says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// The host names that it is for, in lower case.
    pub(super) names: Vec<String>,
    pub(super) issuer: String,
    /// In seconds since 1970.
    not_before: i64,
    pub(super) not_after: i64,
    /// It wants an OCSP answer beside it in each handshake (RFC 7633), and nobody makes one here.
    pub(super) must_staple: bool,
}

/// Why there is no certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unusable {
    /// A file cannot be read, or is none of its kind.
    Unreadable(TlsProblem),
    /// Each file is good, but they do not go together, as in the moment between two writes.
    Mismatched(TlsProblem),
}

impl Unusable {
    pub(super) fn into_problem(self) -> TlsProblem {
        match self {
            Self::Unreadable(problem) | Self::Mismatched(problem) => problem,
        }
    }
}

/// Reads a certificate, whatever its dates.
pub(super) fn read(files: &CertificateFiles) -> Result<Certificate, Unusable> {
    let chain = read_chain(&files.certificate).map_err(Unusable::Unreadable)?;
    let leaf = Leaf::read(&chain[0]).map_err(|reason| {
        Unusable::Unreadable(TlsProblem { section: LISTEN, file: files.certificate.clone(), reason })
    })?;
    let key_problem = |reason: String| TlsProblem { section: LISTEN, file: files.key.clone(), reason };
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| Unusable::Unreadable(key_problem(pem_reason(&error, "private key"))))?;
    let certified = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider());
    let key = certified.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            let reason = format!("is not the key of {}", files.certificate.display());
            Unusable::Mismatched(key_problem(reason))
        }
        other => Unusable::Unreadable(key_problem(format!("cannot be used: {other}"))),
    })?;
    Ok(Certificate { key: Arc::new(key), leaf })
}

/// Reads what an authority wants to be shown. It says so in an extension that no other client knows (RFC 8737 section 3), so
/// that it is looked at no further.
pub(super) fn read_challenge(file: &Path) -> Option<CertifiedKey> {
    let chain = read_chain(file).ok()?;
    let key = PrivateKeyDer::from_pem_file(file).ok()?;
    let key = aws_lc_rs::default_provider().key_provider.load_private_key(key).ok()?;
    Some(CertifiedKey::new(chain, key))
}

/// Whether clients accept it today.
///
/// # Errors
/// All that may be wrong with it, also what a start only warns of.
pub(super) fn check(files: &CertificateFiles) -> Result<(), TlsProblem> {
    let certificate = read(files).map_err(Unusable::into_problem)?;
    match certificate.leaf.refused_for(now()) {
        Some(reason) => Err(TlsProblem { section: LISTEN, file: files.certificate.clone(), reason }),
        None => Ok(()),
    }
}

/// What some clients will not like about it, if anything.
pub(super) fn warn(files: &CertificateFiles) -> Option<TlsProblem> {
    let leaf = read(files).ok()?.leaf;
    let reason = || MUST_STAPLE.to_owned();
    leaf.must_staple.then(|| TlsProblem {
        section: LISTEN,
        file: files.certificate.clone(),
        reason: reason(),
    })
}

impl Leaf {
    fn read(leaf: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, leaf) =
            X509Certificate::from_der(leaf).map_err(|error| format!("is not a certificate: {error}"))?;
        let names = leaf.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        });
        let dns = names.flatten().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let issuer = leaf.issuer();
        let called = issuer.iter_common_name().chain(issuer.iter_organization()).next();
        Ok(Self {
            names: dns.collect(),
            issuer: called
                .and_then(|name| name.as_str().ok())
                .unwrap_or("an authority without a name")
                .to_owned(),
            not_before: leaf.validity().not_before.timestamp(),
            not_after: leaf.validity().not_after.timestamp(),
            must_staple: leaf.extensions().iter().any(|extension| {
                extension.oid.to_id_string() == TLS_FEATURE
                    && extension.value.windows(STATUS_REQUEST.len()).any(|feature| feature == STATUS_REQUEST)
            }),
        })
    }

    /// Why clients refuse it at `now`, in seconds since 1970, and what to do; `None` within its time.
    pub(super) fn refused_for(&self, now: i64) -> Option<String> {
        if now > self.not_after {
            let ago = days((now - self.not_after) / DAY_S);
            return Some(format!("expired {ago} ago, on {}; renew it", date(self.not_after)));
        }
        if now < self.not_before {
            let left = days((self.not_before - now) / DAY_S);
            let since = date(self.not_before);
            return Some(format!("is not valid before {since}, in {left}; is the clock right?"));
        }
        None
    }

    /// How many days clients will still accept it, if those are few enough that a renewal must have failed; `None`
    /// before.
    pub(super) fn ends_soon(&self, now: i64) -> Option<i64> {
        let left = self.days_left(now);
        (left < DAYS_LEFT_MIN).then_some(left)
    }

    /// Whole days; negative once it has expired.
    pub(super) fn days_left(&self, now: i64) -> i64 {
        (self.not_after - now).div_euclid(DAY_S)
    }
}

/// Seconds since 1970.
pub(super) fn now() -> i64 {
    ASN1Time::now().timestamp()
}

fn days(count: i64) -> String {
    match count {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        _ => format!("{count} days"),
    }
}

fn date(seconds: i64) -> String {
    ASN1Time::from_timestamp(seconds)
        .map_or_else(|_| "a day that no calendar has".to_owned(), |at| at.to_string())
}

/// The certificates of a file, one at least.
pub(crate) fn read_chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsProblem> {
    let problem = |reason: String| TlsProblem { section: LISTEN, file: file.to_owned(), reason };
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

/// Where certificates of listens are named.
pub(super) const LISTEN: &str = "listen";
/// id-pe-tlsfeature, and status_request in it (RFC 7633 section 4).
const TLS_FEATURE: &str = "1.3.6.1.5.5.7.1.24";
const STATUS_REQUEST: [u8; 3] = [0x02, 0x01, 0x05];
/// What is said of such a certificate.
pub(super) const MUST_STAPLE: &str = "demands a stapled OCSP answer (must-staple), and tidelock staples none: Firefox and others will refuse it; \
     have it issued without";
const DAY_S: i64 = 86_400;
/// Whoever renews does so with a third of the time left, or a month; with less than this something has gone wrong.
const DAYS_LEFT_MIN: i64 = 7;
