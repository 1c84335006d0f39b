//! What a line of an exchange is made of.

use std::time::Duration;

use wire::Version;
use wire::request::RequestHead;

use crate::observe::access::cut::Cut;
use crate::observe::record::{Came, Record};

/// An exchange that is over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) record: &'a Record,
    /// `None` of what never became a request.
    pub(super) head: Option<&'a RequestHead>,
    pub(super) came: Came<'a>,
    pub(super) cut: &'a Cut,
}

impl Told<'_> {
    pub(super) fn user(&self) -> Option<&str> {
        self.record.guarded.as_ref()?.user.as_deref()
    }

    /// How long the connection to the node took. An idle one is there at once, and one that never came has no time.
    pub(super) fn connect_took(&self) -> Option<Duration> {
        let Record { asked, answered_after, .. } = self.record;
        asked.connect_took().or(answered_after.map(|_| Duration::ZERO))
    }

    /// How long the head of the answer took, from when the node was turned to.
    pub(super) fn first_byte_took(&self) -> Option<Duration> {
        let Record { asked, answered_after, .. } = self.record;
        answered_after.map(|after| after.saturating_sub(asked.after()))
    }

    pub(super) fn scheme(&self) -> &'static str {
        let Came { end, io, .. } = self.came;
        let is_https = self.head.map_or_else(|| io.tls_words().is_some(), |head| end.is_https(head));
        if is_https { "https" } else { "http" }
    }
}

/// As the client has said it.
pub(super) fn protocol(head: &RequestHead) -> &'static str {
    match head.version() {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 if head.is_over_http2() => "HTTP/2.0",
        Version::Http11 => "HTTP/1.1",
    }
}
