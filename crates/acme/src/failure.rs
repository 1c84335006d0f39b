//! Why there is no certificate, in words that say what to do.

use std::fmt;
use std::io;

use instant_acme::{Error, Problem};

/// Why an attempt has failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// How the authority calls it, behind `urn:ietf:params:acme:error:` (RFC 8555 section 6.7).
    pub(crate) kind: Option<String>,
    /// Until when the authority wants to be left alone, in seconds since 1970.
    pub(crate) retry_at: Option<i64>,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), kind: None, retry_at: None }
    }

    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kind.as_deref() == Some(kind)
    }

    /// What the authority says is wrong.
    pub(crate) fn of(problem: &Problem) -> Self {
        let kind = problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(URN)).map(str::to_owned);
        let parts = problem.subproblems.iter().filter_map(|part| part.detail.as_deref());
        let said = problem.detail.as_deref().into_iter().chain(parts).collect::<Vec<_>>().join("; ");
        // Whoever runs an authority may write what they want, and it is shown in terminals.
        let said: String = said.chars().filter(|char| !char.is_control()).take(SAID_CHARS_MAX).collect();
        let said = if said.is_empty() { "it does not say why".to_owned() } else { said };
        let hint = kind.as_deref().and_then(hint).map(|hint| format!(" ({hint})")).unwrap_or_default();
        Self { message: format!("the authority refuses: {said}{hint}"), kind, retry_at: None }
    }
}

/// What to do about it.
fn hint(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "dns" => "does the name's record in the DNS point here?",
        "connection" => "can the world reach port 80 or 443 of this machine?",
        "unauthorized" | "incorrectResponse" | "tls" => {
            "does the name point to another server, or through one that answers by itself?"
        }
        "rateLimited" => "it allows so many in a week; \"letsencrypt-staging\" is for trying things out",
        "caa" => "a CAA record of the name forbids this authority",
        "rejectedIdentifier" => "it gives no certificates for such names",
        "externalAccountRequired" => "it wants `[acme] eab_key_id` and `eab_secret`, which it has given out",
        "invalidContact" | "unsupportedContact" => "see `[acme] email`",
        "userActionRequired" => "its terms have changed; they have to be agreed to in its own way",
        _ => return None,
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Api(problem) => Self::of(&problem),
            Error::Timeout(_) => Self::new("the authority takes too long"),
            Error::Json(error) => Self::new(format!("the authority says what is no ACME: {error}")),
            other => Self::new(other.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(format!("the folder of certificates cannot be written: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

const URN: &str = "urn:ietf:params:acme:error:";
const SAID_CHARS_MAX: usize = 600;
