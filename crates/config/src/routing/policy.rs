//! What answers say to browsers beside what the app says: who may read them, and how they may be used.

/// Lines that clients get on every final answer of a route, those to faults among them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The lines that keep browsers from guessing, framing and telling too much.
    pub is_secure: bool,
    /// The value of Strict-Transport-Security, said over HTTPS alone.
    pub hsts: Option<String>,
    /// Which pages of other origins may read the answers.
    pub cors: Option<Cors>,
}

/// Cross-origin resource sharing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    /// Whose pages.
    pub origins: Vec<Origin>,
    /// The methods that a preflight allows.
    pub methods: String,
    /// The header names that it allows; `None` for those that it is asked for.
    pub headers: Option<String>,
    /// The header names that scripts may read, beside those that they may read anyway.
    pub exposed: Option<String>,
    /// Whether cookies and the like go along.
    pub credentials: bool,
    /// For how long the answer to a preflight holds, in seconds.
    pub max_age_s: u64,
}

/// An origin that may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `*`.
    Any,
    /// `https://app.example.com`.
    Is(String),
    /// `https://*.example.com`: what stands in front of the star, and what behind it.
    Under(String, String),
}

/// Where ids of requests come from, and where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestIds {
    /// Whose are kept.
    pub kept: KeptIds,
    /// Whether nodes and clients are told. They are not where only a variable asks for it.
    pub is_sent: bool,
}

/// Whose X-Request-Id is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptIds {
    /// That of a trusted proxy.
    Trusted,
    /// Anybody's.
    Anyones,
    /// Nobody's.
    None,
}

impl Policy {
    /// Nothing is said to browsers, and answers pass as they are.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Cors {
    /// Whether scripts of this origin may read the answers. It is the value of Origin as the browser sent it.
    pub fn allows(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|allowed| allowed.takes(origin))
    }

    /// The answer is the same for every origin, so that caches need no `Vary: Origin`.
    pub fn is_for_all(&self) -> bool {
        self.origins.contains(&Origin::Any) && !self.credentials
    }
}

impl Origin {
    fn takes(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Is(one) => origin.eq_ignore_ascii_case(one.as_bytes()),
            Self::Under(front, behind) => {
                let lower = origin.to_ascii_lowercase();
                let label = lower
                    .strip_prefix(front.as_bytes())
                    .and_then(|rest| rest.strip_suffix(behind.as_bytes()));
                // Names and nothing else: no port, and no user in front of another host.
                label.is_some_and(|label| {
                    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
                    !label.is_empty() && label.iter().all(is_of_name)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_compared_whole() {
        let under = Origin::Under("https://".to_owned(), ".example.com".to_owned());
        for (origin, want) in [
            ("https://a.example.com", true),
            ("https://a.b.EXAMPLE.com", true),
            ("https://example.com", false),
            ("https://.example.com", false),
            ("http://a.example.com", false),
            ("https://evil.com/.example.com", false),
            ("https://evil.com:1@x.example.com", false),
            ("https://a.example.com.evil.com", false),
            ("null", false),
        ] {
            assert_eq!(under.takes(origin.as_bytes()), want, "{origin}");
        }
        let is = Origin::Is("https://app.example.com".to_owned());
        assert!(is.takes(b"https://app.example.com"));
        assert!(!is.takes(b"https://app.example.com.evil"));
        assert!(!is.takes(b"https://app.example.com:8443"));
    }
}
