//! `allow` and `deny`: who may, by address.

use ipnet::IpNet;

use crate::nginx::geos::{self, network};
use crate::nginx::ours::{Route, list};
use crate::nginx::parse::Directive;
use crate::nginx::place::Location;

/// Who may in a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Access {
    Everybody,
    Nobody,
    /// In our words, where what is denied is so whatever is allowed.
    Some {
        allow: Vec<String>,
        deny: Vec<String>,
    },
}

impl Access {
    /// What the rules of a place come to: in nginx the first that an address is in decides, and with none it may. The error is
    /// why that cannot be said here, beside the rule that is to blame.
    pub(super) fn of<'f>(place: &Location<'f>) -> Result<Self, (&'f Directive, &'static str)> {
        let (mut allow, mut deny) = (Vec::new(), Vec::new());
        let (mut allowed, mut is_closed) = (Vec::new(), false);
        for rule in place.scope.innermost(&RULES) {
            let is_allowing = rule.name == "allow";
            match rule.arg() {
                // There are no such clients here.
                "unix:" => continue,
                "all" => {
                    is_closed = !is_allowing;
                    break;
                }
                text => {
                    let network = network(text).ok_or((rule, "it is no address and no network"))?;
                    if is_allowing {
                        allowed.push(network);
                        allow.push(text.to_owned());
                        continue;
                    }
                    let overlaps = |one: &IpNet| one.contains(&network) || network.contains(one);
                    if allowed.iter().any(overlaps) {
                        return Err((rule, "who is denied here is so whatever else allows it"));
                    }
                    deny.push(text.to_owned());
                }
            }
        }
        for condition in place.scope.all("if") {
            let Some(Ok(by_geo)) = geos::refused(condition, &place.scope) else { continue };
            let is_any = place.scope.one("satisfy").is_some_and(|one| one.arg() == "any");
            let has_both = !by_geo.allow.is_empty() && (is_closed || !allow.is_empty());
            if is_any || has_both {
                return Err((condition, "several rules let clients by, each of them others"));
            }
            is_closed |= !by_geo.allow.is_empty();
            allow.extend(by_geo.allow.iter().map(IpNet::to_string));
            deny.extend(by_geo.deny.iter().map(IpNet::to_string));
        }
        Ok(match (is_closed, allow.is_empty(), deny.is_empty()) {
            (true, true, _) => Self::Nobody,
            (true, false, _) => Self::Some { allow, deny },
            (false, _, true) => Self::Everybody,
            // Whoever is in no rule may.
            (false, _, false) => Self::Some { allow: Vec::new(), deny },
        })
    }

    /// The same where a password is as good (`satisfy any`): who is in no rule is then not let by, but asked for it. `None` is for
    /// nobody, so that all are asked.
    pub(super) fn beside_password(place: &Location<'_>) -> Option<Self> {
        let (mut allow, mut deny) = (Vec::new(), Vec::new());
        for rule in place.scope.innermost(&RULES).into_iter().filter(|rule| rule.arg() != "unix:") {
            match (rule.name.as_str(), rule.arg()) {
                ("allow", "all") if deny.is_empty() => return Some(Self::Everybody),
                ("allow", "all") => return Some(Self::Some { allow: Vec::new(), deny }),
                ("deny", "all") => break,
                ("allow", text) => allow.push(text.to_owned()),
                (_, text) => deny.push(text.to_owned()),
            }
        }
        (!allow.is_empty()).then_some(Self::Some { allow, deny: Vec::new() })
    }

    /// Says it of a route.
    pub(super) fn say(&self, route: &mut Route) {
        let Self::Some { allow, deny } = self else { return };
        for (key, networks) in [("allow", allow), ("deny", deny)] {
            if !networks.is_empty() {
                route.set(key, list(networks));
            }
        }
    }
}

/// Whether a block asks by itself who may, so that it cannot be gone past.
pub(super) fn asks_who(block: &[Directive]) -> bool {
    block.iter().any(|one| WHO.contains(&one.name.as_str()))
}

const RULES: [&str; 2] = ["allow", "deny"];
const WHO: [&str; 8] = [
    "allow",
    "deny",
    "auth_basic",
    "auth_request",
    "auth_jwt",
    "limit_except",
    "secure_link",
    "valid_referers",
];
