//! `client_certificates` of a `[[listen]]`.

use std::path::PathBuf;

use crate::file::declare::declare;
use crate::file::fields::Fields;
use crate::file::kinds::Word;
use crate::file::kinds::paths::ExistingFile;
use crate::plan::values::ClientCertificateMode;
use crate::problem::Problem;

declare! {
    /// Whether clients show certificates of their own.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct ClientCertificates in CLIENT_CERTIFICATES = "client_certificates", One:
        "Whether clients show certificates of their own (mutual TLS). Nodes are told of them in X-SSL-Client-Verify, X-SSL-Client-Subject, X-SSL-Client-Fingerprint and X-SSL-Client-Cert.";
    keys {
        /// PEM file of the authorities whose certificates clients may show, and no others are. Relative to the folder of this
        /// file.
        CA ca: Option<PathBuf> => "clients are not asked for certificates", ExistingFile;
        /// Whether a client has to show one: the handshake of one that does not ends with "required", and goes on with
        /// "optional". A certificate of somebody else's ends it in both.
        MODE mode: ClientCertificateMode = ClientCertificateMode::Required, Word<ClientCertificateMode>(&[
            ("required", ClientCertificateMode::Required),
            ("optional", ClientCertificateMode::Optional),
        ]);
    }
}

impl ClientCertificates {
    /// Tells what does not go together, in the table of a listen.
    pub(crate) fn demand_sense(listen: &Fields<'_>, has_tls: bool) {
        if !listen.has(CLIENT_CERTIFICATES.name) {
            return;
        }
        let fields = listen.one(&CLIENT_CERTIFICATES);
        let here = || listen.span_of(CLIENT_CERTIFICATES.name);
        if !fields.has(CA.name) {
            let message = "nothing says whose certificates clients may show";
            listen.push(
                Problem::error(here(), message).hint(
                    "add the file of their authority: `client_certificates = { ca = \"clients.pem\" }`",
                ),
            );
        }
        if !has_tls {
            listen.push(
                Problem::error(
                    here(),
                    "clients show certificates over TLS alone, and this listen has no `tls`",
                )
                .hint("add `tls`, or leave `client_certificates` out"),
            );
        }
    }
}
