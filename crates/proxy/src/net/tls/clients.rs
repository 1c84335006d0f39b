//! Certificates that clients show: whose are let in, and what nodes are told of them.

use std::fmt::Write;
use std::sync::Arc;

use ::aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::plan::{ClientCertificateMode, ClientCertificates};
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{CertificateError, RootCertStore};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer, X509Certificate, X509Name};

use crate::net::tls::certificate::{LISTEN, TlsProblem, now, read_chain};

/// What the clients of a listen are asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// The same for listens that let the same clients in.
    pub(super) rules: Vec<u8>,
}

/// Reads whose certificates clients may show; `None` if they are not asked.
pub(super) fn read(how: &ClientCertificates) -> Result<Option<Asked>, TlsProblem> {
    let Some(file) = &how.ca else { return Ok(None) };
    let problem = |reason| TlsProblem { section: LISTEN, file: file.clone(), reason };
    let authorities = read_chain(file)?;
    let mut roots = RootCertStore::empty();
    for authority in &authorities {
        roots
            .add(authority.clone())
            .map_err(|error| problem(format!("holds what is no certificate of an authority: {error}")))?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let (verifier, mode) = match how.mode {
        ClientCertificateMode::Required => (verifier, b'r'),
        ClientCertificateMode::Optional => (verifier.allow_unauthenticated(), b'o'),
    };
    let verifier =
        verifier.build().map_err(|error| problem(format!("cannot be used for clients: {error}")))?;
    // Each authority by its digest, so that no two lists of them are alike.
    let digests = authorities.iter().flat_map(|authority| digest(&SHA256, authority).as_ref().to_vec());
    Ok(Some(Asked { verifier, rules: [mode].into_iter().chain(digests).collect() }))
}

/// The lines by which nodes are told what a client has shown.
///
/// # Errors
/// Why it is not let in after all: a session that is resumed may have outlived the certificate that it began with.
pub(crate) fn lines_of(shown: Option<&[CertificateDer<'_>]>) -> Result<Vec<u8>, &'static str> {
    let Some(leaf) = shown.and_then(<[_]>::first) else {
        return Ok(b"X-SSL-Client-Verify: NONE\r\n".to_vec());
    };
    // It was verified by another reader, which bounds less than this one.
    let (_, read) = X509Certificate::from_der(leaf).map_err(|_| REFUSED)?;
    if now() > read.validity().not_after.timestamp() {
        return Err(EXPIRED);
    }
    let subject = subject(read.subject());
    let mut lines = String::from("X-SSL-Client-Verify: SUCCESS\r\nX-SSL-Client-Fingerprint: ");
    hex(digest(&SHA256, leaf).as_ref(), &mut lines);
    for (name, value) in [("Subject", subject), ("Cert", escaped_pem(leaf))] {
        // A node refuses a head that is too long, and whoever has such a certificate could not ask for anything.
        if value.len() <= LINE_BYTES_MAX {
            let _ = write!(lines, "\r\nX-SSL-Client-{name}: {value}");
        }
    }
    lines.push_str("\r\n");
    Ok(lines.into_bytes())
}

/// What the log says of a handshake that has failed for want of a certificate that is accepted; `None` where it
/// failed for something else.
pub(crate) fn why_refused(error: &rustls::Error) -> Option<&'static str> {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext, UnknownIssuer};
    Some(match error {
        rustls::Error::NoCertificatesPresented => "client certificate missing",
        rustls::Error::InvalidCertificate(Expired | ExpiredContext { .. }) => EXPIRED,
        rustls::Error::InvalidCertificate(NotValidYet | NotValidYetContext { .. }) => {
            "client certificate not valid yet"
        }
        rustls::Error::InvalidCertificate(UnknownIssuer) => "client certificate of an unknown authority",
        rustls::Error::InvalidCertificate(_) => REFUSED,
        _ => return None,
    })
}

/// A name as RFC 2253 writes it, the most specific part first, and with nothing in it that is not ASCII. It is what nginx has in
/// `$ssl_client_s_dn`.
fn subject(name: &X509Name<'_>) -> String {
    let mut parts: Vec<String> =
        name.iter_rdn().map(|part| part.iter().map(attribute).collect::<Vec<_>>().join("+")).collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let known = ATTRIBUTES.iter().find(|(known, _)| *known == oid);
    let mut written = known.map_or(oid.clone(), |(_, name)| (*name).to_owned()) + "=";
    match attribute.as_str() {
        Ok(text) if known.is_some() => escape(text, &mut written),
        // What is no text, or is not known to be one, is written as its bytes (section 2.4).
        _ => {
            let value = attribute.attr_value();
            written.push('#');
            let tag = u8::try_from(value.header.tag().0).unwrap_or(u8::MAX);
            hex(&[tag], &mut written);
            let length = value.data.len();
            match u8::try_from(length) {
                Ok(short @ ..0x80) => hex(&[short], &mut written),
                Ok(byte) => hex(&[0x81, byte], &mut written),
                Err(_) => hex(&[&[0x84][..], &(length as u32).to_be_bytes()].concat(), &mut written),
            }
            hex(value.data, &mut written);
        }
    }
    written
}

fn escape(text: &str, out: &mut String) {
    let last = text.len().saturating_sub(1);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => out.extend(['\\', char::from(byte)]),
            b'#' if at == 0 => out.push_str("\\#"),
            b' ' if at == 0 || at == last => out.push_str("\\ "),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "\\{byte:02X}");
            }
        }
    }
}

/// A certificate in PEM, escaped as a part of a URL, as nginx has it in `$ssl_client_escaped_cert`.
fn escaped_pem(certificate: &[u8]) -> String {
    let base64 = STANDARD.encode(certificate);
    let mut pem = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    for (at, byte) in base64.chars().enumerate() {
        if at > 0 && at % PEM_COLUMNS == 0 {
            pem.push_str("%0A");
        }
        match byte {
            '+' => pem.push_str("%2B"),
            '/' => pem.push_str("%2F"),
            '=' => pem.push_str("%3D"),
            other => pem.push(other),
        }
    }
    pem + "%0A-----END%20CERTIFICATE-----%0A"
}

fn hex(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
}

/// Names of RFC 2253 section 2.3 and those that OpenSSL writes beside them.
const ATTRIBUTES: [(&str, &str); 15] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.42", "GN"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];
const EXPIRED: &str = "client certificate expired";
const REFUSED: &str = "client certificate refused";
/// RFC 7468 section 2.
const PEM_COLUMNS: usize = 64;
/// Node.js takes heads of 16 KiB.
const LINE_BYTES_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_rfc_2253_has_it() {
        for (text, want) in [
            ("client 1", "client 1"),
            (" a,b+c\"d\\e<f>g;h=i ", "\\ a\\,b\\+c\\\"d\\\\e\\<f\\>g\\;h=i\\ "),
            ("#a#", "\\#a#"),
            ("Zoë\r\nX: y", "Zo\\C3\\AB\\0D\\0AX: y"),
            ("", ""),
        ] {
            let mut written = String::new();
            escape(text, &mut written);
            assert_eq!(written, want, "{text:?}");
        }
    }

    #[test]
    fn a_certificate_is_one_line_of_a_head() {
        let pem = escaped_pem(&[0xfb; 50]);
        assert_eq!(
            pem,
            "-----BEGIN%20CERTIFICATE-----%0A\
             %2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7%2B%2Fv7\
             %0A%2B%2Fs%3D%0A-----END%20CERTIFICATE-----%0A"
        );
    }
}
