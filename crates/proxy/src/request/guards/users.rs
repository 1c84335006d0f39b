//! By a name and a password: Basic (RFC 7617).

use std::future::poll_fn;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::routing::Users;

use crate::fault::{ClientFault, Fault, OurFault};
use crate::net::passwords::{Claim, Verdict};
use crate::net::places::ClientKey;
use crate::observe::record::Record;
use crate::request::downstream::BodySource;
use crate::request::edits::Values;
use crate::state::local::Local;

/// Lets those pass whose password is right.
pub(super) async fn pass(
    users: &Users,
    values: &Values<'_>,
    body: &mut BodySource<'_>,
    worker: &Local,
    record: &mut Record,
) -> Result<(), Fault> {
    let sent = values.head.header("authorization").and_then(credentials);
    let Some((name, password)) = sent else { return Err(refused(users, record)) };
    // The right one for nobody takes as long as a wrong one of somebody.
    let known = users.password(&name);
    let Some(stored) = known.or_else(|| users.any()) else { return Err(refused(users, record)) };
    let claim = Claim { password: &password, stored, is_known: known.is_some() };
    let verifying = worker.shared.verifier.verify(claim, ClientKey::of(values.client), worker.clock.now());
    let verdict = tokio::select! {
        biased;
        verdict = verifying => verdict,
        () = poll_fn(|cx| body.poll_client_gone(cx)) => return Err(ClientFault::Gone.into()),
    };
    match verdict {
        Verdict::Right => {
            record.guarded.get_or_insert_default().user = Some(name.into());
            Ok(())
        }
        Verdict::Wrong => Err(refused(users, record)),
        Verdict::Busy => Err(OurFault::TooManyPasswords.into()),
    }
}

fn refused(users: &Users, record: &mut Record) -> Fault {
    let challenge = format!("Basic realm=\"{}\"", users.realm);
    record.guarded.get_or_insert_default().lines = vec![("WWW-Authenticate", challenge)];
    OurFault::Unauthorized.into()
}

/// The name and the password in the value of Authorization. The scheme is in either case, and the name ends at the first colon.
fn credentials(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let mut decoded = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|&byte| byte == b':')?;
    let password = decoded.split_off(colon + 1);
    decoded.pop();
    (password.len() <= PASSWORD_BYTES_MAX).then_some(())?;
    Some((String::from_utf8(decoded).ok()?, password))
}

const SCHEME: &[u8] = b"basic ";
/// A longer one takes longer to verify, and nobody has one.
const PASSWORD_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_a_name_and_a_password() {
        let check = |value: &str, want: Option<(&str, &str)>| {
            let read = credentials(value.as_bytes());
            let read =
                read.as_ref().map(|(name, password)| (&**name, std::str::from_utf8(password).unwrap()));
            assert_eq!(read, want, "{value}");
        };
        check("Basic YW5uOnNlY3JldA==", Some(("ann", "secret")));
        check("bAsIc   YW5uOnNlY3JldA== ", Some(("ann", "secret")));
        check("Basic YW5uOmE6Yg==", Some(("ann", "a:b")));
        check("Basic YW5uOg==", Some(("ann", "")));
        check("Basic Og==", Some(("", "")));
        for wrong in [
            "",
            "Basic",
            "Basic ",
            "Basic YW5u",
            "Bearer YW5uOnNlY3JldA==",
            "Basic =",
            "Basic YW5uOnNlY3JldA",
            "Basic\u{a0}YW5u",
        ] {
            check(wrong, None);
        }
    }
}
