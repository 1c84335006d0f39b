//! W3C's trace context (<https://www.w3.org/TR/trace-context/>), as far as a proxy that adds no span of its own has to do with
//! it: what is well-formed goes on as it came, and what is not goes nowhere, so that whoever is behind us begins a trace anew.

use crate::lines::Name;
use crate::request::RequestHead;

impl RequestHead {
    /// The value of `traceparent`, if there is one and it means something; of several none does.
    pub(crate) fn trace_parent(&self) -> Option<&[u8]> {
        let mut said = self.lines.iter().filter(|line| line.known == Name::TraceParent);
        let value = said.next()?.value.of_bytes(&self.bytes);
        (said.next().is_none() && is_trace_parent(value)).then_some(value)
    }

    /// The trace that the request belongs to, in 32 hexadecimal digits.
    pub fn trace_id(&self) -> Option<&[u8]> {
        Some(&self.trace_parent()?[TRACE_ID])
    }
}

/// Version, trace, parent and flags in lower case, with dashes between them; a version behind ours may say more.
fn is_trace_parent(value: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |part: &[u8]| is_hex(part) && part.iter().any(|&byte| byte != b'0');
    value.len() >= LENGTH
        && [2, 35, 52].iter().all(|&at| value[at] == b'-')
        && is_hex(&value[..2])
        && &value[..2] != b"ff"
        && is_id(&value[TRACE_ID])
        && is_id(&value[36..52])
        && is_hex(&value[53..LENGTH])
        && match value.get(LENGTH) {
            None => true,
            Some(next) => &value[..2] != b"00" && *next == b'-',
        }
}

const TRACE_ID: std::ops::Range<usize> = 3..35;
/// Of version 00.
const LENGTH: usize = 55;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_well_formed_is_known() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        for value in [good, &good.replacen("00", "cc", 1), &format!("{}-more", good.replacen("00", "01", 1))]
        {
            assert!(is_trace_parent(value.as_bytes()), "{value}");
        }
        let zeros = |count| "0".repeat(count);
        for value in [
            "",
            "00",
            &good[..54],
            &good.to_uppercase(),
            &good.replacen("00", "ff", 1),
            &good.replacen('-', "_", 1),
            &good.replace("4bf92f3577b34da6a3ce929d0e0e4736", &zeros(32)),
            &good.replace("00f067aa0ba902b7", &zeros(16)),
            &good.replace("-01", "-0g"),
            &format!("{good}-more"),
            &format!("{}more", good.replacen("00", "01", 1)),
        ] {
            assert!(!is_trace_parent(value.as_bytes()), "{value}");
        }
    }
}
