//! Ids of requests, by which one is found in the logs of all that it passes.

use std::rc::Rc;

use config::routing::{KeptIds, RequestIds};
use wire::forward::ClientEnd;
use wire::request::RequestHead;

/// What everybody calls it.
pub(crate) const LINE: &str = "X-Request-Id";

/// The id of a request: its own, where it may be kept, or a new one.
pub(crate) fn of(head: &RequestHead, end: &ClientEnd, ids: RequestIds) -> Rc<str> {
    let may_be_kept = match ids.kept {
        KeptIds::Anyones => true,
        KeptIds::Trusted => end.is_trusted(),
        KeptIds::None => false,
    };
    let kept = head.header("x-request-id").filter(|_| may_be_kept).and_then(sane);
    kept.map_or_else(new, Rc::from)
}

/// 128 bits of chance, in nginx's form.
pub(crate) fn new() -> Rc<str> {
    format!("{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..)).into()
}

/// An id that can stand in a log, a header line, a URL and a page as it is.
fn sane(id: &[u8]) -> Option<&str> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+/=:@~".contains(byte);
    let is_sane = (1..=BYTES_MAX).contains(&id.len()) && id.iter().all(is_plain);
    std::str::from_utf8(id).ok().filter(|_| is_sane)
}

const BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_be_more_is_none() {
        let long = "x".repeat(BYTES_MAX);
        for id in ["1", "550e8400-e29b-41d4-a716-446655440000", "Root=1-67891233-abc", &long] {
            assert_eq!(sane(id.as_bytes()), Some(id));
        }
        for id in ["", "a b", "<b>", "a\"b", "a\tb", "\u{e9}", "a&b", &format!("{long}x")] {
            assert_eq!(sane(id.as_bytes()), None, "{id}");
        }
        assert_eq!(new().len(), 32);
    }
}
