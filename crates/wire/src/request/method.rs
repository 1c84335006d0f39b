//! Methods, as far as what a proxy does depends on them.

/// The methods that a proxy tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD, whose answer has no body.
    Head,
    /// OPTIONS.
    Options,
    /// POST.
    Post,
    /// Any other token but CONNECT.
    Other,
}

impl Method {
    /// Whether the request may be sent again, to another node, when nothing of its answer has come (RFC 9110
    /// section 9.2.1). PUT and DELETE are idempotent but not safe: what they do twice on two nodes is their app's
    /// business, so they are not retried.
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options)
    }
}
