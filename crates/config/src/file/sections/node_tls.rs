//! `[upstream.NAME.tls]`.

use std::path::PathBuf;

use crate::file::declare::declare;
use crate::file::fields::Fields;
use crate::file::kinds::Flag;
use crate::file::kinds::hosts::ServerName;
use crate::file::kinds::paths::ExistingFile;
use crate::plan::values::NodeSpec;
use crate::problem::Problem;

declare! {
    /// How nodes at `https://` are spoken with.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct NodeTls in NODE_TLS = "tls", One:
        "How nodes at \"https://\" are spoken with. Their certificates are verified.";
    keys {
        /// PEM file of the authorities whose certificates are trusted, and no others are: one of your own, or a node's own
        /// self-signed certificate. Relative to the folder of this file.
        CA ca: Option<PathBuf> => "those that the system trusts", ExistingFile;
        /// The name that is asked for (SNI), and that the certificate has to have; an address is looked for among its addresses.
        SERVER_NAME server_name: Option<String> => "the host of each node", ServerName;
        /// PEM file of the certificate chain that is shown to nodes which ask for one, the leaf first. Relative to the folder of
        /// this file.
        CERTIFICATE certificate: Option<PathBuf> => "none is shown", ExistingFile;
        /// PEM file of its private key. Relative to the folder of this file.
        KEY key: Option<PathBuf> => "there is no `certificate`", ExistingFile;
        /// Whether certificates are verified. Without it anybody on the way can read and change what is said.
        VERIFY verify: bool = true, Flag;
    }
}

impl NodeTls {
    /// Tells what does not go together.
    pub(crate) fn demand_sense(fields: &Fields<'_>, nodes: &[NodeSpec]) {
        if !fields.has(NODE_TLS.name) {
            return;
        }
        let tls = fields.one(&NODE_TLS);
        let has_one = nodes.iter().any(|node| node.tls_name.is_some());
        if !has_one {
            let message = "no node of this upstream speaks TLS";
            tls.push(
                Problem::error(fields.span_of(NODE_TLS.name), message).hint(
                    "write `https://` before those that do: `nodes = [\"https://server1.example.com\"]`",
                ),
            );
        }
        for (said, missing) in [(&CERTIFICATE, &KEY), (&KEY, &CERTIFICATE)] {
            if tls.has(said.name) && !tls.has(missing.name) {
                let message = format!("`{}` is nothing without `{}`", said.name, missing.name);
                tls.push(
                    Problem::error(tls.span_of(said.name), message)
                        .hint(format!("add `{} = \"…\"`, or leave both out", missing.name)),
                );
            }
        }
        if tls.is_readable(&VERIFY) && !tls.or_default(&VERIFY) {
            let message =
                "nobody looks whose certificate it is: anybody on the way can read and change what is said";
            let span = tls.span_of(VERIFY.name);
            tls.push(
                Problem::warning(span, message)
                    .hint("name the node's own certificate, or its authority's, with `ca`"),
            );
            if tls.has(CA.name) {
                tls.push(
                    Problem::error(tls.span_of(CA.name), "`ca` is for what is verified")
                        .hint("leave `verify = false` out"),
                );
            }
        }
    }
}
