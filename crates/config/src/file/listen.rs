//! Reads `[[listen]]`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::declared::{Key, Required};
use super::fields::Fields;
use super::keys;
use super::kinds::FilePath;
use crate::plan::{CertificateFiles, Listen, Scheme};
use crate::problem::Problem;

/// A file that the plan names, and where it names it.
pub(crate) struct NamedFile {
    pub(crate) path: PathBuf,
    pub(crate) span: Option<Range<usize>>,
}

/// One listen, before it is known what the others are.
struct Draft {
    address: SocketAddr,
    speaks: Speaks,
    reuse_port: bool,
}

enum Speaks {
    Plain,
    Redirect { port: Option<u16> },
    Tls(Vec<CertificateFiles>),
}

/// Reads every listen; `folder` is what paths in the file are relative to, `named` gets the certificates and keys.
/// Listens that cannot be read are left out, and have been told then.
pub(crate) fn read(root: &Fields<'_>, folder: &Path, named: &mut Vec<NamedFile>) -> Vec<Listen> {
    let tables = root.many(&keys::LISTEN);
    let mut seen: HashMap<SocketAddr, Option<Range<usize>>> = HashMap::new();
    let mut drafts = Vec::new();
    for fields in &tables {
        let speaks = speaks(fields, folder, named);
        let reuse_port = fields.or_default(&keys::REUSE_PORT);
        let Some(address) = fields.required(&keys::ADDRESS) else { continue };
        let here = fields.span_of(keys::ADDRESS.name);
        if let Some(first) = seen.get(&address) {
            twice(fields, address, here, first.clone());
            continue;
        }
        // The system chooses another port for each port 0.
        if address.port() != 0 {
            seen.insert(address, here);
        }
        drafts.push(Draft { address, speaks, reuse_port });
    }
    warn_of_no_https(&tables);
    let https = https_port(&drafts);
    drafts.into_iter().map(|draft| draft.finish(https)).collect()
}

fn speaks(fields: &Fields<'_>, folder: &Path, named: &mut Vec<NamedFile>) -> Speaks {
    let certificates: Vec<CertificateFiles> = fields
        .many(&keys::TLS)
        .iter()
        .filter_map(|files| {
            let certificate = path(files, &keys::CERTIFICATE, folder, named);
            let key = path(files, &keys::KEY, folder, named);
            Some(CertificateFiles { certificate: certificate?, key: key? })
        })
        .collect();
    let redirect = fields.optional(&keys::REDIRECT);
    // The kind has no number beyond a `u16`.
    let port = fields.optional(&keys::REDIRECT_PORT).and_then(|port| u16::try_from(port).ok());
    if fields.has(keys::TLS.name) && fields.has(keys::REDIRECT.name) {
        fields.push(
            Problem::error(fields.span_of(keys::REDIRECT.name), "a listen has `tls` or `redirect`, not both")
                .hint("redirect from another listen, without `tls`, on port 80"),
        );
    }
    if fields.has(keys::TLS.name) && fields.is_without(keys::TLS.name) {
        fields.push(
            Problem::error(fields.span_of(keys::TLS.name), "`tls` needs a certificate")
                .hint("write `tls = { certificate = \"…\", key = \"…\" }`, or leave it out"),
        );
    }
    if fields.has(keys::REDIRECT_PORT.name) && !fields.has(keys::REDIRECT.name) {
        fields.push(
            Problem::error(fields.span_of(keys::REDIRECT_PORT.name), "`redirect_port` is nothing by itself")
                .hint("add `redirect = \"https\"`, or leave it out"),
        );
    }
    match (redirect, certificates.is_empty()) {
        (Some(()), _) => Speaks::Redirect { port },
        (None, false) => Speaks::Tls(certificates),
        (None, true) => Speaks::Plain,
    }
}

fn path(
    fields: &Fields<'_>,
    key: &Key<FilePath, Required>,
    folder: &Path,
    named: &mut Vec<NamedFile>,
) -> Option<PathBuf> {
    let path = folder.join(fields.required(key)?);
    named.push(NamedFile { path: path.clone(), span: fields.span_of(key.name) });
    Some(path)
}

fn twice(fields: &Fields<'_>, address: SocketAddr, here: Option<Range<usize>>, first: Option<Range<usize>>) {
    let problem = Problem::error(here, format!("{address} is listened on already"));
    fields.push(match first {
        Some(first) => problem.related(first, "here it is first"),
        None => problem,
    });
}

fn warn_of_no_https(tables: &[Fields<'_>]) {
    if tables.iter().any(|fields| fields.has(keys::TLS.name)) {
        return;
    }
    if let Some(fields) = tables.iter().find(|fields| fields.has(keys::REDIRECT.name)) {
        let message = "requests are redirected to https, but no listen here has `tls`";
        fields.push(
            Problem::warning(fields.span_of(keys::REDIRECT.name), message)
                .hint("unless something else serves https, add a listen with `tls`"),
        );
    }
}

/// The port of https where there is no doubt which it is.
fn https_port(drafts: &[Draft]) -> u16 {
    let mut ports = drafts
        .iter()
        .filter(|draft| matches!(draft.speaks, Speaks::Tls(_)))
        .map(|draft| draft.address.port());
    match (ports.next(), ports.next()) {
        (Some(port), None) if port != 0 => port,
        _ => HTTPS_PORT,
    }
}

impl Draft {
    fn finish(self, https_port: u16) -> Listen {
        let scheme = match self.speaks {
            Speaks::Plain => Scheme::Plain,
            Speaks::Tls(certificates) => Scheme::Tls(certificates),
            Speaks::Redirect { port } => Scheme::RedirectToHttps {
                port: Some(port.unwrap_or(https_port)).filter(|&port| port != HTTPS_PORT),
            },
        };
        Listen { address: self.address, scheme, reuse_port: self.reuse_port }
    }
}

/// The port that `https://` means by itself.
const HTTPS_PORT: u16 = 443;
