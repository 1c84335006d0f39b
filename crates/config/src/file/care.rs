//! Reads what an upstream says of its nodes' health and of its admission.

use std::num::NonZeroU32;

use super::declared::{Key, Or};
use super::fields::Fields;
use super::keys::care as keys;
use super::keys::care::ProbeWord;
use super::kinds::Count;
use crate::plan::{Admission, Health, Probe};
use crate::problem::Problem;

/// Reads `[upstream.NAME.health]`.
pub(crate) fn health(fields: &Fields<'_>) -> Health {
    Health {
        probe: probe(fields),
        interval: fields.or_default(&keys::INTERVAL),
        timeout: fields.or_default(&keys::TIMEOUT),
        rise: count(fields, &keys::RISE),
        fall: count(fields, &keys::FALL),
        jitter_percent: count(fields, &keys::JITTER),
        slow_start: fields.or_default(&keys::SLOW_START),
    }
}

fn probe(fields: &Fields<'_>) -> Option<Probe> {
    let word = fields.readable(&keys::PROBE);
    let path = fields.optional(&keys::PROBE_PATH);
    let statuses = fields.optional(&keys::PROBE_STATUS);
    let body = fields.optional(&keys::PROBE_BODY);
    let useless: &[&str] = match word {
        None | Some(ProbeWord::Http) => &[],
        Some(ProbeWord::EngineIo) => &[keys::PROBE_STATUS.name, keys::PROBE_BODY.name],
        Some(ProbeWord::None | ProbeWord::Tcp) => {
            &[keys::PROBE_PATH.name, keys::PROBE_STATUS.name, keys::PROBE_BODY.name]
        }
    };
    for name in useless.iter().filter(|name| fields.has(name)) {
        let message = format!("`{name}` says nothing to this probe");
        fields.push(
            Problem::error(fields.span_of(name), message)
                .hint("write `probe = \"http\"`, or leave it out".to_owned()),
        );
    }
    match word? {
        ProbeWord::None => None,
        ProbeWord::Tcp => Some(Probe::Tcp),
        ProbeWord::Http => Some(Probe::Http {
            path: path.unwrap_or_else(|| "/".to_owned()),
            statuses: statuses.unwrap_or_else(|| vec![200..=399]),
            body,
        }),
        ProbeWord::EngineIo => {
            Some(Probe::EngineIo { path: path.unwrap_or_else(|| "/socket.io/".to_owned()) })
        }
    }
}

/// Reads the upstream's own keys about crowds.
pub(crate) fn admission(fields: &Fields<'_>) -> Admission {
    let rate = fields.or_default(&keys::HANDSHAKE_RATE);
    Admission {
        handshake_rate: rate.and_then(|rate| NonZeroU32::new(u32::try_from(rate).ok()?)),
        handshake_wait: fields.or_default(&keys::HANDSHAKE_WAIT),
        full_wait: fields.or_default(&keys::FULL_WAIT),
        down_wait: fields.or_default(&keys::DOWN_WAIT),
        retry_percent: count(fields, &keys::RETRY_PERCENT),
    }
}

/// A number that its kind has bounded far below what a `u32` holds.
fn count(fields: &Fields<'_>, key: &Key<Count, Or<u64>>) -> u32 {
    u32::try_from(fields.or_default(key)).unwrap_or(u32::MAX)
}
