//! A certificate authority that lives as long as one test, and the certificates that go wrong in practice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

/// An authority with a key of its own.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
}

/// A certificate and a private key, in PEM.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate alone; the authority is not in the chain.
    pub certificate: String,
    /// The private key, PKCS#8.
    pub key: String,
}

/// Where [`Certificate::write`] has put the two files.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// Path of the certificate.
    pub certificate: PathBuf,
    /// Path of its key.
    pub key: PathBuf,
}

impl Authority {
    /// Makes a new one that nobody trusts yet.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names, no wrong name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = key();
        let certificate = params.self_signed(&key).expect("a fresh key can sign");
        Self {
            pem: certificate.pem(),
            certificate: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// A valid certificate for `names`: host names, wildcards or addresses.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Certificate {
        self.sign(params(names), &key())
    }

    /// A certificate for `names` that was valid until 2001.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Certificate {
        let mut params = params(names);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(params, &key())
    }

    /// A valid certificate for `names`, with a key that is not its own.
    #[must_use]
    pub fn issue_with_wrong_key(&self, names: &[&str]) -> Certificate {
        Certificate { key: key().serialize_pem(), ..self.issue(names) }
    }

    /// The authority's own certificate, in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes the authority's certificate to `ca.pem` in `directory`, for clients that trust it.
    #[must_use]
    pub fn write(&self, directory: &Path) -> PathBuf {
        write(directory.join("ca.pem"), &self.pem)
    }

    /// A TLS client that trusts this authority alone, and offers `alpn`, the preferred protocol first.
    #[must_use]
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        self.client_of(rustls::DEFAULT_VERSIONS, alpn)
    }

    /// The same, of these versions of TLS alone.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn client_of(&self, versions: &[&'static SupportedProtocolVersion], alpn: &[&str]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("the authority's certificate is well-formed");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider has the versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        config
    }

    fn sign(&self, params: CertificateParams, key: &KeyPair) -> Certificate {
        let certificate = params.signed_by(key, &self.issuer).expect("the authority's key can sign");
        Certificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Certificate {
    /// Writes `NAME.pem` and `NAME.key` into `directory`, over those that are there.
    #[must_use]
    pub fn write(&self, directory: &Path, name: &str) -> CertificateFiles {
        CertificateFiles {
            certificate: write(directory.join(format!("{name}.pem")), &self.certificate),
            key: write(directory.join(format!("{name}.key")), &self.key),
        }
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    CertificateParams::new(names).expect("a test asks for names that may be in a certificate")
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the system has randomness")
}

fn write(path: PathBuf, text: &str) -> PathBuf {
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("cannot write {path:?}: {error}"));
    path
}
