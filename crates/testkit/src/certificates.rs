//! A certificate authority that lives as long as one test, and the certificates that go wrong in practice.

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use rcgen::DnType;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CustomExtension, IsCa, Issuer,
    KeyPair, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use time::{Duration, OffsetDateTime};

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

    /// A valid certificate for somebody who is called by these attributes, in the order of the certificate.
    #[must_use]
    pub fn issue_to(&self, attributes: &[(DnType, &str)]) -> Certificate {
        let mut params = params(&["client.example"]);
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in attributes {
            params.distinguished_name.push(kind.clone(), *value);
        }
        self.sign(params, &key())
    }

    /// A certificate for `names` that demands a stapled OCSP answer (RFC 7633).
    #[must_use]
    pub fn issue_must_staple(&self, names: &[&str]) -> Certificate {
        let mut params = params(names);
        let feature =
            CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 24], vec![0x30, 3, 2, 1, 5]);
        params.custom_extensions.push(feature);
        self.sign(params, &key())
    }

    /// A certificate for `names` that was valid until 2001.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Certificate {
        let mut params = params(names);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        self.sign(params, &key())
    }

    /// A certificate for `names` that is valid from 2200 on.
    #[must_use]
    pub fn issue_for_later(&self, names: &[&str]) -> Certificate {
        let mut params = params(names);
        params.not_before = date_time_ymd(2200, 1, 1);
        params.not_after = date_time_ymd(2201, 1, 1);
        self.sign(params, &key())
    }

    /// A valid certificate for `names`, with a key that is not its own.
    #[must_use]
    pub fn issue_with_wrong_key(&self, names: &[&str]) -> Certificate {
        Certificate { key: key().serialize_pem(), ..self.issue(names) }
    }

    /// Its own certificate, valid, as a server's that nobody else has signed: what `openssl req -x509` makes.
    #[must_use]
    pub fn self_signed(names: &[&str]) -> Certificate {
        Self::alone(params(names))
    }

    /// The same, which was valid until 2001.
    #[must_use]
    pub fn self_signed_expired(names: &[&str]) -> Certificate {
        let mut params = params(names);
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
        Self::alone(params)
    }

    fn alone(mut params: CertificateParams) -> Certificate {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = key();
        let certificate = params.self_signed(&key).expect("a fresh key can sign");
        Certificate { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A certificate for what a request in DER asks for, or for `instead`, that is valid for so long from now on. In PEM.
    ///
    /// # Panics
    /// If it is no request.
    #[must_use]
    pub fn sign_request(&self, request: &[u8], instead: Option<&str>, valid: Duration) -> String {
        let mut request = CertificateSigningRequestParams::from_der(&request.into()).expect("a request");
        request.params.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
        request.params.not_after = OffsetDateTime::now_utc() + valid;
        request.params.use_authority_key_identifier_extension = true;
        if let Some(name) = instead {
            request.params.subject_alt_names = params(&[name]).subject_alt_names;
        }
        request.signed_by(&self.issuer).expect("the authority's key can sign").pem()
    }

    /// A certificate for `names` that ends after so long.
    #[must_use]
    pub fn issue_until(&self, names: &[&str], valid: Duration) -> Certificate {
        let mut params = params(names);
        params.use_authority_key_identifier_extension = true;
        params.not_before = OffsetDateTime::now_utc() - Duration::days(60);
        params.not_after = OffsetDateTime::now_utc() + valid;
        self.sign(params, &key())
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
        self.client_showing(versions, alpn, None)
    }

    /// The same, which shows this certificate where it is asked for one.
    ///
    /// # Panics
    /// If there are no versions, or it is no certificate.
    #[must_use]
    pub fn client_showing(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        alpn: &[&str],
        shown: Option<&Certificate>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("the authority's certificate is well-formed");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("the provider has the versions")
            .with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some(shown) => {
                let chain = CertificateDer::from_pem_slice(shown.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes());
                config
                    .with_client_auth_cert(vec![chain.expect("PEM")], key.expect("PEM"))
                    .expect("it is its key")
            }
        };
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
