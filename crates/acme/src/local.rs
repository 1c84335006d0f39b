//! The authority of this machine's own: for development, and for names that no public authority knows. Its certificates are
//! trusted where its own one was made known: `tidelock trust` says how.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::SystemTime;

use config::plan::{Acme, Issuer};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer as Signer, KeyPair,
    KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};

use crate::order::seconds;
use crate::renewal;
use crate::state::{self, Held, Lock, Record};

/// Where the authority's own certificate is, which has to be trusted.
pub fn authority_file(acme: &Acme) -> PathBuf {
    folder(acme).join("authority.crt")
}

/// The authority, made once.
///
/// # Errors
/// If it is neither there nor can be put there.
pub fn authority(acme: &Acme) -> io::Result<PathBuf> {
    let folder = folder(acme);
    state::make_folder(&folder)?;
    let (file, key) = (authority_file(acme), folder.join("authority.key"));
    // Of two that start at once, one makes it.
    let lock = Lock::take(folder.join("authority.lock"))?;
    if !(file.exists() && key.exists()) {
        let (certificate, key_pem) = new_authority().map_err(io::Error::other)?;
        state::write(&key, key_pem.as_bytes())?;
        state::write(&file, certificate.as_bytes())?;
        tracing::info!(
            event = "local_authority",
            file = %file.display(),
            "made an authority for certificates of this machine; `tidelock trust` says how browsers believe it"
        );
    }
    drop(lock);
    Ok(file)
}

/// Makes the certificate of a host, if it is not there or will soon be none. Returns when that is to be done next, in seconds
/// since 1970.
pub(crate) fn issue(acme: &Acme, host: &str) -> io::Result<i64> {
    let file = acme.file(Issuer::Local, host);
    let now = seconds(SystemTime::now());
    let next = |held: &Held| {
        renewal::next_attempt(host, Some(held), &Record::default(), renewal::Asked { now, is_nudged: false })
    };
    if let Some(held) = Held::read(&file)
        && next(&held) > now
    {
        return Ok(next(&held));
    }
    let authority = authority(acme)?;
    let ca = String::from_utf8(state::read_bounded(&authority)?).map_err(io::Error::other)?;
    let key = String::from_utf8(state::read_bounded(&authority.with_extension("key"))?);
    let chain = leaf(host, &ca, &key.map_err(io::Error::other)?).map_err(io::Error::other)?;
    state::write(&file, chain.as_bytes())?;
    Ok(Held::read(&file).map_or(now, |held| next(&held)))
}

fn folder(acme: &Acme) -> PathBuf {
    acme.state.clone().unwrap_or_default().join("local")
}

fn new_authority() -> Result<(String, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    params.distinguished_name.push(DnType::CommonName, format!("tidelock on {host}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::days(1);
    params.not_after = now + Duration::days(AUTHORITY_DAYS);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?.pem(), key.serialize_pem()))
}

/// A chain with the key behind it.
fn leaf(host: &str, ca: &str, ca_key: &str) -> Result<String, rcgen::Error> {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let mut params = match address {
        Ok(_) => CertificateParams::default(),
        Err(_) => CertificateParams::new(vec![host.to_owned()])?,
    };
    params.subject_alt_names.extend(address.ok().map(SanType::IpAddress));
    if host == "localhost" {
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        params.subject_alt_names.extend(loopback.map(SanType::IpAddress));
    }
    params.distinguished_name.push(DnType::CommonName, host);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(LEAF_DAYS);
    let key = KeyPair::generate()?;
    let signer = Signer::from_ca_cert_pem(ca, KeyPair::from_pem(ca_key)?)?;
    Ok(params.signed_by(&key, &signer)?.pem() + &key.serialize_pem())
}

const AUTHORITY_DAYS: i64 = 3650;
const LEAF_DAYS: i64 = 90;
