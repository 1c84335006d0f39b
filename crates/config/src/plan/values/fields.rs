//! What of an exchange or a tunnel a line of `format = "json"` has.

/// A member of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum LogField {
    /// When the line was made, to the second.
    Time,
    /// The client's address, once trusted proxies were believed.
    Client,
    /// The address at the other end of the connection.
    Peer,
    /// The method.
    Method,
    /// Host, as the client has said it.
    Host,
    /// The target, without its secrets.
    Target,
    /// The protocol.
    Protocol,
    /// The same, where it is HTTP/2.
    ProtocolIfHttp2,
    /// `http` or `https`.
    Scheme,
    /// `TLSv1.3`.
    Tls,
    /// In OpenSSL's words.
    Cipher,
    /// What the client calls itself.
    UserAgent,
    /// Where it comes from, without its secrets.
    Referer,
    /// Its place among the requests of its connection.
    Request,
    /// The id of the request.
    RequestId,
    /// The trace that it belongs to, by W3C's trace context.
    TraceId,
    /// The status of the answer.
    Status,
    /// Content of the request, or bytes from the client of a tunnel.
    BytesIn,
    /// Sent to the client, heads included.
    BytesOut,
    /// The same without heads.
    BodyBytesOut,
    /// How long it took, or lasted.
    Ms,
    /// Until a node was turned to.
    QueueMs,
    /// From then until a new connection was there.
    ConnectMs,
    /// From then until the head of the answer was.
    FirstByteMs,
    /// From the first byte of the request until the head of the answer was there.
    AnsweredMs,
    /// The upstream.
    Upstream,
    /// The node, as the file has it.
    Node,
    /// The node's address.
    Address,
    /// What decided about the node.
    Sticky,
    /// Nodes that were asked.
    Attempts,
    /// Who it is, where a password has proved it.
    User,
    /// What a limit did.
    Limit,
    /// What went wrong.
    Fault,
    /// More of that.
    Detail,
    /// Who ended a tunnel.
    Tunnel,
    /// WebSocket frames from the client.
    FramesIn,
    /// To the client.
    FramesOut,
    /// WebSocket messages from the client.
    MessagesIn,
    /// To the client.
    MessagesOut,
    /// What the Close said.
    Close,
}

/// A choice of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogFields(u64);

impl LogFields {
    /// None.
    pub const NONE: Self = Self(0);
    /// Those that name a node, which are printed in one piece.
    pub const OF_NODE: Self = Self::of(&[LogField::Upstream, LogField::Node, LogField::Address]);
    /// Those of an exchange that are not usual, but for the protocol.
    pub const UNUSUAL: Self = Self::of(&UNUSUAL);
    /// Those of a line where the file does not say it.
    pub const USUAL: Self = Self::of(&USUAL);

    const fn of(fields: &[LogField]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < fields.len() {
            bits |= 1 << fields[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Returns whether it is one of them.
    pub const fn has(self, field: LogField) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    /// Returns whether all of them are.
    pub const fn has_all(self, fields: Self) -> bool {
        self.0 & fields.0 == fields.0
    }

    /// Returns whether at least one of these is.
    pub const fn has_some(self, fields: Self) -> bool {
        self.0 & fields.0 != 0
    }

    /// With more of them.
    #[must_use]
    pub const fn with(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// All that have a name.
    pub fn all() -> Self {
        NAMES.into_iter().fold(Self::NONE, |all, (_, field)| all.with(Self::of(&[field])))
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, field)| Self::of(&[*field]))
    }

    /// Their names, in the order in which a line has them.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        NAMES.into_iter().filter(move |(_, field)| self.has(*field)).map(|(name, _)| name)
    }
}

impl Default for LogFields {
    fn default() -> Self {
        Self::USUAL
    }
}

const USUAL: [LogField; 26] = [
    LogField::Time,
    LogField::Client,
    LogField::Method,
    LogField::Host,
    LogField::Target,
    LogField::ProtocolIfHttp2,
    LogField::RequestId,
    LogField::TraceId,
    LogField::Status,
    LogField::BytesIn,
    LogField::BytesOut,
    LogField::Ms,
    LogField::AnsweredMs,
    LogField::Upstream,
    LogField::Node,
    LogField::Address,
    LogField::Sticky,
    LogField::Attempts,
    LogField::User,
    LogField::Limit,
    LogField::Fault,
    LogField::Detail,
    LogField::Tunnel,
    LogField::FramesIn,
    LogField::FramesOut,
    LogField::Close,
];
const UNUSUAL: [LogField; 11] = [
    LogField::Peer,
    LogField::Scheme,
    LogField::Tls,
    LogField::Cipher,
    LogField::UserAgent,
    LogField::Referer,
    LogField::Request,
    LogField::BodyBytesOut,
    LogField::QueueMs,
    LogField::ConnectMs,
    LogField::FirstByteMs,
];
const NAMES: [(&str, LogField); 39] = [
    ("time", LogField::Time),
    ("client", LogField::Client),
    ("peer", LogField::Peer),
    ("method", LogField::Method),
    ("host", LogField::Host),
    ("target", LogField::Target),
    ("protocol", LogField::Protocol),
    ("scheme", LogField::Scheme),
    ("tls", LogField::Tls),
    ("cipher", LogField::Cipher),
    ("user_agent", LogField::UserAgent),
    ("referer", LogField::Referer),
    ("request", LogField::Request),
    ("request_id", LogField::RequestId),
    ("trace_id", LogField::TraceId),
    ("status", LogField::Status),
    ("bytes_in", LogField::BytesIn),
    ("bytes_out", LogField::BytesOut),
    ("body_bytes_out", LogField::BodyBytesOut),
    ("ms", LogField::Ms),
    ("queue_ms", LogField::QueueMs),
    ("connect_ms", LogField::ConnectMs),
    ("first_byte_ms", LogField::FirstByteMs),
    ("answered_ms", LogField::AnsweredMs),
    ("upstream", LogField::Upstream),
    ("node", LogField::Node),
    ("address", LogField::Address),
    ("sticky", LogField::Sticky),
    ("attempts", LogField::Attempts),
    ("user", LogField::User),
    ("limit", LogField::Limit),
    ("fault", LogField::Fault),
    ("detail", LogField::Detail),
    ("tunnel", LogField::Tunnel),
    ("frames_in", LogField::FramesIn),
    ("frames_out", LogField::FramesOut),
    ("messages_in", LogField::MessagesIn),
    ("messages_out", LogField::MessagesOut),
    ("close", LogField::Close),
];
