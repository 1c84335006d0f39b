//! Who may, by a name and a password, or by somebody else's word.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::plan::values::NodeSpec;

/// Who is let pass where both the address and something else is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Satisfy {
    /// Who has both.
    #[default]
    All,
    /// Who has one of them.
    Any,
}

/// How clients say who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// By a name and a password (Basic, RFC 7617).
    Users(Arc<Users>),
    /// Somebody else is asked about each request.
    Ask(Arc<Ask>),
}

/// Who is asked whether a request may pass, and what becomes of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// The host and port of its URL; or the name of an upstream, one of whose nodes is asked then.
    pub authority: String,
    /// Scheme, host and port: the name of an upstream of its own, where there is none of that name.
    pub origin: String,
    /// The node of that; `None` where the authority can only be a name.
    pub node: Option<NodeSpec>,
    /// Path and query of the URL.
    pub path: String,
    /// Lines of the answer that nodes get in the place of the client's, in lower case.
    pub copy: Vec<String>,
    /// Who does not answer within it says no.
    pub timeout: Duration,
}

/// Those who have a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// What browsers show beside the fields, for `realm`.
    pub realm: String,
    passwords: HashMap<String, StoredPassword>,
}

/// A password as it is stored, by which one that is sent can be verified and nothing else. Nothing prints it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct StoredPassword {
    /// How it was made.
    pub scheme: Scheme,
    text: String,
}

/// How a stored password was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `$2b$`, `$2a$` or `$2y$`; `htpasswd -B`.
    Bcrypt,
    /// `$argon2id$`, `$argon2i$` or `$argon2d$`.
    Argon2,
    /// `$apr1$`, what `htpasswd` makes if it is told nothing, and `$1$`.
    Md5,
    /// `$5$` and `$6$`, as in /etc/shadow; `htpasswd -2` and `-5`.
    ShaCrypt,
    /// `{SHA}`, without a salt; `htpasswd -s`.
    Sha1,
}

/// What is wrong with a file of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotUsers {
    /// As a sentence without its full stop. Nothing of a password is in it.
    pub message: String,
    /// What to do.
    pub hint: &'static str,
}

impl Users {
    /// Reads a file of htpasswd: `name:password` on each line, with comments behind `#` and, as nginx takes it, behind a
    /// second colon.
    ///
    /// # Errors
    /// If a line is none, or its password is stored in a way that is not known here, or would take too long to verify.
    pub fn read(text: &str, realm: String) -> Result<Self, NotUsers> {
        let mut passwords = HashMap::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((name, rest)) = line.split_once(':').filter(|(name, _)| !name.is_empty()) else {
                return Err(NotUsers { message: format!("line {number} names no user"), hint: HINT_LINE });
            };
            let stored = rest.split(':').next().unwrap_or_default();
            let password = StoredPassword::read(stored).map_err(|(why, hint)| NotUsers {
                message: format!("the password of \"{name}\" {why}"),
                hint,
            })?;
            // As in nginx, the first of a name counts.
            passwords.entry(name.to_owned()).or_insert(password);
        }
        Ok(Self { realm, passwords })
    }

    /// The password of a user, if there is one of that name.
    pub fn password(&self, name: &str) -> Option<&StoredPassword> {
        self.passwords.get(name)
    }

    /// Some user's, by which it takes as long to refuse a name that is not there as one that is.
    pub fn any(&self) -> Option<&StoredPassword> {
        self.passwords.values().next()
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.passwords.len()
    }
}

impl StoredPassword {
    fn read(stored: &str) -> Result<Self, (&'static str, &'static str)> {
        let scheme = scheme_of(stored).ok_or(("is stored in a way that is not known here", HINT_SCHEME))?;
        let is_dear = match scheme {
            Scheme::Bcrypt => {
                number(stored.get(4..6)).is_none_or(|cost| !(4..=BCRYPT_COST_MAX).contains(&cost))
            }
            Scheme::Argon2 => {
                let said = |name: &str| {
                    let parts = stored.split('$').flat_map(|part| part.split(','));
                    parts
                        .filter_map(|part| part.strip_prefix(name))
                        .find_map(|value| number(value.strip_prefix('=')))
                };
                said("m").is_none_or(|kib| kib > ARGON2_KIB_MAX)
                    || said("t").is_none_or(|passes| passes > ARGON2_PASSES_MAX)
                    || said("p").is_none_or(|lanes| lanes > ARGON2_LANES_MAX)
            }
            Scheme::ShaCrypt => {
                let rounds = stored.split('$').find_map(|part| part.strip_prefix("rounds="));
                rounds.is_some_and(|rounds| number(Some(rounds)).is_none_or(|rounds| rounds > SHA_ROUNDS_MAX))
            }
            Scheme::Md5 | Scheme::Sha1 => false,
        };
        match is_dear {
            true => Err(("would take too long to verify, or cannot be read", HINT_DEAR)),
            false => Ok(Self { scheme, text: stored.to_owned() }),
        }
    }

    /// As the file has it: for whoever verifies a password, and for nobody else.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredPassword").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

fn scheme_of(stored: &str) -> Option<Scheme> {
    let schemes = [
        ("$2a$", Scheme::Bcrypt),
        ("$2b$", Scheme::Bcrypt),
        ("$2y$", Scheme::Bcrypt),
        ("$argon2", Scheme::Argon2),
        ("$apr1$", Scheme::Md5),
        ("$1$", Scheme::Md5),
        ("$5$", Scheme::ShaCrypt),
        ("$6$", Scheme::ShaCrypt),
        ("{SHA}", Scheme::Sha1),
    ];
    schemes.into_iter().find(|(begin, _)| stored.starts_with(begin)).map(|(_, scheme)| scheme)
}

fn number(text: Option<&str>) -> Option<u32> {
    text?.parse().ok()
}

/// Each doubles the time: 14 is a second.
const BCRYPT_COST_MAX: u32 = 14;
/// Memory that is taken for as long as one is verified (RFC 9106 section 4 recommends 64 MiB where there is little).
const ARGON2_KIB_MAX: u32 = 1 << 16;
const ARGON2_PASSES_MAX: u32 = 16;
const ARGON2_LANES_MAX: u32 = 16;
const SHA_ROUNDS_MAX: u32 = 1_000_000;
const HINT_LINE: &str = "write `name:password` with a password that `htpasswd -nB name` prints";
const HINT_SCHEME: &str =
    "make another one with `htpasswd -B`: known are bcrypt, argon2, apr1, SHA-crypt and {SHA}";
const HINT_DEAR: &str =
    "bcrypt may cost up to 14, argon2 up to 64 MiB and 16 passes, SHA-crypt up to 1000000 rounds";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_users() {
        let file = "# who may\n\nann:$2y$10$0123456789012345678901uKdcDH6Y2f7UrcRRUBkXRSDaBpz7BNa\n\
                    bob:$apr1$abc$def:a comment\nann:{SHA}x\n c:$6$rounds=5000$salt$hash \n";
        let users = Users::read(file, "x".to_owned()).unwrap();
        assert_eq!(users.count(), 3);
        assert_eq!(users.password("ann").unwrap().scheme, Scheme::Bcrypt);
        assert_eq!(users.password("bob").unwrap().text(), "$apr1$abc$def");
        assert_eq!(users.password("c").unwrap().scheme, Scheme::ShaCrypt);
        assert_eq!(users.password("dora"), None);
        assert!(!format!("{users:?}").contains("def"), "{users:?}");
    }

    #[test]
    fn what_cannot_be_verified_is_refused() {
        for (line, why) in [
            ("ann", "line 1 names no user"),
            (":x", "line 1 names no user"),
            ("ann:secret", "the password of \"ann\" is stored in a way that is not known here"),
            ("ann:{PLAIN}secret", "the password of \"ann\" is stored in a way that is not known here"),
            ("ann:$2y$31$x", "the password of \"ann\" would take too long to verify, or cannot be read"),
            ("ann:$2y$xx$x", "the password of \"ann\" would take too long to verify, or cannot be read"),
            (
                "ann:$argon2id$v=19$m=1048576,t=3,p=1$c2FsdA$aGFzaA",
                "the password of \"ann\" would take too long to verify, or cannot be read",
            ),
            ("ann:$argon2id$", "the password of \"ann\" would take too long to verify, or cannot be read"),
            (
                "ann:$6$rounds=99999999$a$b",
                "the password of \"ann\" would take too long to verify, or cannot be read",
            ),
        ] {
            let refused = Users::read(line, String::new()).unwrap_err();
            assert_eq!(refused.message, why);
            assert!(!refused.message.contains("secret"), "{refused:?}");
        }
    }
}
