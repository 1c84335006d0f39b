//! What answers say to browsers beside what the app says: who may read them (CORS, Fetch section 3.2), and how they may be
//! used.

use config::routing::{Cors, Policy};
use wire::forward::LineEdits;
use wire::request::{Method, RequestHead};

use crate::request::reply::Own;

/// Says it on an answer.
pub(crate) fn say(policy: &Policy, head: &RequestHead, is_https: bool, lines: &mut LineEdits) {
    if policy.is_secure {
        lines.drop_lines("x-powered-by");
        SECURE.iter().for_each(|(name, value)| lines.say_by_default(name, value.as_bytes()));
    }
    // Over plain HTTP anybody may have said it (RFC 6797 section 7.2).
    if let Some(hsts) = policy.hsts.as_ref().filter(|_| is_https) {
        lines.say_by_default("Strict-Transport-Security", hsts.as_bytes());
    }
    if let Some(cors) = &policy.cors {
        // Browsers refuse what is said twice.
        OF_CORS.iter().for_each(|name| lines.drop_lines(name));
        if !cors.is_for_all() {
            lines.say("Vary", b"Origin");
        }
        allow(cors, head, lines);
        if let (true, Some(exposed)) = (is_allowed(cors, head), &cors.exposed) {
            lines.say("Access-Control-Expose-Headers", exposed.as_bytes());
        }
    }
}

/// The answer to a preflight, if this is one.
pub(crate) fn preflight(policy: &Policy, head: &RequestHead) -> Option<(Own, LineEdits)> {
    let cors = policy.cors.as_ref().filter(|_| head.method() == Method::Options)?;
    head.header("origin")?;
    head.header("access-control-request-method")?;
    let mut lines = LineEdits::default();
    let asked = head.header("access-control-request-headers");
    lines.say("Vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers");
    if is_allowed(cors, head) {
        allow(cors, head, &mut lines);
        lines.say("Access-Control-Allow-Methods", cors.methods.as_bytes());
        if let Some(headers) = cors.headers.as_ref().map(String::as_bytes).or(asked) {
            lines.say("Access-Control-Allow-Headers", headers);
        }
        lines.say("Access-Control-Max-Age", cors.max_age_s.to_string().as_bytes());
    }
    Some((Own { status: 204, lines: Vec::new(), body: Vec::new() }, lines))
}

fn allow(cors: &Cors, head: &RequestHead, lines: &mut LineEdits) {
    let Some(origin) = head.header("origin").filter(|_| is_allowed(cors, head)) else { return };
    lines.say("Access-Control-Allow-Origin", if cors.is_for_all() { b"*" } else { origin });
    if cors.credentials {
        lines.say("Access-Control-Allow-Credentials", b"true");
    }
}

fn is_allowed(cors: &Cors, head: &RequestHead) -> bool {
    head.header("origin").is_some_and(|origin| cors.allows(origin))
}

const SECURE: [(&str, &str); 3] = [
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "SAMEORIGIN"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
];
const OF_CORS: [&str; 3] =
    ["access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers"];
