//! `[acme]`.

use std::path::PathBuf;

use crate::file::declare::declare;
use crate::file::declared::Flat;
use crate::file::fields::Fields;
use crate::file::kinds::acme::{DIRECTORIES, Directory, Email, LETS_ENCRYPT};
use crate::file::kinds::paths::{ExistingFile, Folder};
use crate::file::kinds::probe::Text;
use crate::file::kinds::secrets::SecretTexts;
use crate::plan::values::Issuer;
use crate::problem::Problem;

declare! {
    /// Where the certificates of `tls = "auto"` come from.
    #[derive(Debug, Clone, PartialEq, Eq, Default)]
    pub struct Acme in ACME = "acme", One:
        "Where the certificates of listens with `tls = \"auto\"` come from (ACME, RFC 8555). Whoever uses it agrees to the terms of the authority.";
    given AcmeParts {
        /// By what the authority knows the account, where it wants that.
        eab: Option<Eab>;
    }
    keys {
        /// Address that the authority writes to.
        EMAIL email: Option<String> => "it writes to nobody", Email;
        /// The authority: "letsencrypt", "letsencrypt-staging" for trying things out, "zerossl", or the URL of an ACME directory.
        DIRECTORY directory: Option<String> => "\"letsencrypt\"", Directory;
        /// Folder of certificates, keys and accounts. Several tidelocks that share it, by NFS for example, share certificates, and
        /// answer challenges for each other.
        STATE state: Option<PathBuf> => "`acme` in $STATE_DIRECTORY, or else in the user's state folder", Folder;
        /// PEM file of the authorities whose certificates the directory itself may have, and no others: for an authority of one's
        /// own. Relative to the folder of this file.
        CA ca: Option<PathBuf> => "those that the system trusts", ExistingFile;
        /// Program that puts TXT records into the DNS, which wildcards need (DNS-01), as `PROGRAM set NAME VALUE`, and takes them out, as
        /// `PROGRAM remove NAME VALUE`. It ends with status 0 when the record can be seen. With it, all names are proved so. Relative to the folder of this file.
        DNS_PROGRAM dns_program: Option<PathBuf> => "names are proved over HTTP or TLS, and there are no wildcards", ExistingFile;
    }
    also { EAB }
}

declare! {
    /// By what the authority knows the account, as the file has it: an [`Eab`] is made of it.
    struct EabKeys in EAB_KEYS = "", One: "By what the authority knows the account.";
    keys {
        /// Identifier of the account that the authority has given out, for external account binding (RFC 8555 section 7.3.4).
        EAB_KEY_ID eab_key_id: Option<String> => "the authority knows accounts by their key alone", Text { bytes_max: 1024 };
        /// The HMAC key that goes with it, in base64url as the authority shows it, or "file:PATH".
        EAB_SECRET eab_secret: Option<Vec<Vec<u8>>> => "there is no `eab_key_id`", SecretTexts { bytes_min: 16, count_max: 1 };
    }
}

/// They stand in the same table.
static EAB: Flat = Flat(&EAB_KEYS);

/// External account binding (RFC 8555 section 7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct Eab {
    /// Which account of the authority it is.
    pub key_id: String,
    /// The key, in base64url.
    pub secret: String,
}

/// Says nothing of the secret.
impl std::fmt::Debug for Eab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eab").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Acme {
    pub(crate) fn checked(fields: &Fields<'_>) -> Self {
        for (said, missing) in [(EAB_KEY_ID.name, EAB_SECRET.name), (EAB_SECRET.name, EAB_KEY_ID.name)] {
            if fields.has(said) && !fields.has(missing) {
                let message = format!("`{said}` is nothing without `{missing}`");
                let hint = format!("add `{missing} = \"…\"`, or leave both out");
                fields.push(Problem::error(fields.span_of(said), message).hint(hint));
            }
        }
        let EabKeys { eab_key_id, eab_secret } = EabKeys::read(fields);
        let secret = eab_secret.and_then(|secrets| secrets.into_iter().next());
        let secret = secret.and_then(|secret| {
            let secret = String::from_utf8(secret).ok()?;
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
            if secret.bytes().all(is_known) {
                return Some(secret);
            }
            let message = format!("`{}` is not base64url", EAB_SECRET.name);
            let hint = "write it as the authority shows it: letters, digits, `-` and `_`";
            fields.push(Problem::error(fields.span_of(EAB_SECRET.name), message).hint(hint));
            None
        });
        let eab = eab_key_id.zip(secret).map(|(key_id, secret)| Eab { key_id, secret });
        Self::read(fields, AcmeParts { eab })
    }

    /// Why nobody gives a certificate for this name, and what to do, if so.
    pub(crate) fn refused_for(&self, host: &str) -> Option<(String, String)> {
        if host.starts_with("*.") && self.dns_program.is_none() {
            return Some((
                format!("a certificate for {host} is only given to whoever can put records into the DNS"),
                "name a program that does with `[acme] dns_program = \"…\"`, or each host by itself"
                    .to_owned(),
            ));
        }
        let is_public = DIRECTORIES.iter().any(|(_, url)| *url == self.directory());
        (is_public && !is_public_name(host)).then(|| {
            (
                format!("{host} is no public name, so that {} gives no certificate for it", self.directory()),
                "`tls = \"local\"` makes one here; an authority of your own is named by `[acme] directory`"
                    .to_owned(),
            )
        })
    }

    /// The URL of the authority's directory.
    pub fn directory(&self) -> &str {
        self.directory.as_deref().unwrap_or(LETS_ENCRYPT)
    }

    /// Where the certificate of a name is, the key behind it in the same file. Relative to the current folder where
    /// nobody has said where the state is: whoever runs the plan does.
    pub fn file(&self, issuer: Issuer, host: &str) -> PathBuf {
        let state = self.state.clone().unwrap_or_default();
        let folder = match issuer {
            Issuer::Acme => state.join(self.directory_folder()),
            Issuer::Local => state.join("local"),
        };
        // No name begins with an underscore and a dot.
        let name = host.strip_prefix('*').map_or_else(|| host.to_owned(), |rest| format!("_{rest}"));
        folder.join(format!("{name}.pem"))
    }

    /// Where the answers to challenges over HTTP are (RFC 8555 section 8.3), by their tokens.
    pub fn http_challenges(&self) -> PathBuf {
        self.state.clone().unwrap_or_default().join("challenges/http-01")
    }

    /// Where the certificates are that answer challenges over TLS (RFC 8737), by the names that they are for, with `.pem` behind.
    pub fn tls_challenges(&self) -> PathBuf {
        self.state.clone().unwrap_or_default().join("challenges/tls-alpn-01")
    }

    /// The folder for one authority, so that what is tried out at another one is apart.
    pub fn directory_folder(&self) -> String {
        let rest = self.directory().split_once("://").map_or("", |(_, rest)| rest);
        let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '-');
        rest.chars().map(|char| if is_plain(char) { char } else { '_' }).collect()
    }
}

/// Whether a name may be in the public DNS (RFC 6761, RFC 6762, RFC 8375, and `.internal` by ICANN). `example.com` and such are
/// not forbidden here: an authority says it better.
fn is_public_name(host: &str) -> bool {
    const PRIVATE: [&str; 8] =
        ["localhost", "local", "internal", "test", "invalid", "lan", "home.arpa", "onion"];
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_address = name.starts_with('[') || name.parse::<std::net::Ipv4Addr>().is_ok();
    let is_under =
        |end: &&str| name.strip_suffix(*end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !is_address && name.contains('.') && !PRIVATE.iter().any(is_under)
}
