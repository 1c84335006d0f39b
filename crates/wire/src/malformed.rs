//! Every way in which a message can be refused, each with its reason. Whose message it was decides what follows:
//! a client's is answered with [`Malformed::status`], an origin's becomes a 502.

use std::fmt;

/// Why a message is refused. Its `Display` is the reason code of logs and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// The first line is not a request line or a status line of HTTP/1 (RFC 9112 sections 3 and 4).
    FirstLine,
    /// A version other than 1.0 and 1.1.
    Version,
    /// The request target is neither origin-form, absolute-form nor `*` for OPTIONS (RFC 9112 section 3.2).
    Target,
    /// The request target is longer than the bound.
    TargetTooLong,
    /// A path on whose meaning nodes may disagree, on a route that wants none such.
    Path,
    /// CONNECT: this is no forward proxy.
    Connect,
    /// A line of a request, or of a body, that ends in LF alone (RFC 9112 section 2.2 allows to accept it; accepting it
    /// is how requests are smuggled).
    BareLf,
    /// A header line that is not `name: value` with a token and without control bytes, is folded (RFC 9112 section
    /// 5.2), or has white space before its colon (section 5.1).
    HeaderLine,
    /// The head is longer than the bound.
    HeadTooLong,
    /// More header lines than the bound.
    TooManyLines,
    /// More tokens in Connection than any honest client sends.
    ConnectionTokens,
    /// An HTTP/1.1 request without Host (RFC 9112 section 3.2).
    HostMissing,
    /// A pseudo-header field of HTTP/2 that may not be there, or does not say what it may (RFC 9113 section 8.3).
    PseudoHeader,
    /// A field of HTTP/2 that is about a connection of HTTP/1 (RFC 9113 section 8.2.2).
    ConnectionField,
    /// More than one Host.
    HostTwice,
    /// A Host that is not a name or an address with an optional port.
    Host,
    /// An absolute-form target whose authority is not that of Host.
    HostContradicted,
    /// Content-Length that is not one number, or more than 2^60.
    ContentLength,
    /// More than one Content-Length, the same or not; in an answer, not the same.
    ContentLengthTwice,
    /// Content-Length beside Transfer-Encoding (RFC 9112 section 6.1).
    LengthAndCoding,
    /// More than one Transfer-Encoding line.
    CodingTwice,
    /// A transfer coding other than exactly `chunked`.
    Coding,
    /// Transfer-Encoding in an HTTP/1.0 message (RFC 9112 section 6.1).
    CodingInHttp10,
    /// A WebSocket handshake that carries a body.
    UpgradeWithBody,
    /// A WebSocket handshake whose Sec-WebSocket-Key is absent, given twice or not 16 bytes (RFC 6455 section 4.1).
    WebSocketKey,
    /// A body longer than the bound.
    BodyTooLong,
    /// A chunk size that is no hexadecimal number, or more than 2^60.
    ChunkSize,
    /// Chunk extensions beyond the bound, or with control bytes.
    ChunkExtension,
    /// A chunk whose data is not followed by CRLF.
    ChunkEnd,
    /// A trailer line that is no header line, or trailers beyond the bound.
    Trailer,
    /// A status that is no number from 100 to 999.
    Status,
    /// A 101 that nobody asked for, or that does not answer the handshake (RFC 6455 section 4.2.2).
    Unasked101,
    /// A 2xx to a stream that asked for a WebSocket by CONNECT, which would take it for the beginning of one (RFC 8441 section 5).
    UnaskedSuccess,
    /// More interim answers than any honest origin sends.
    TooManyInterim,
}

impl Malformed {
    /// The status that a client is answered with: 400, 413, 414, 431, 501 or 505.
    pub fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::TargetTooLong => 414,
            Self::HeadTooLong | Self::TooManyLines => 431,
            Self::BodyTooLong => 413,
            Self::Connect | Self::Coding => 501,
            Self::FirstLine
            | Self::Target
            | Self::Path
            | Self::BareLf
            | Self::HeaderLine
            | Self::ConnectionTokens
            | Self::HostMissing
            | Self::PseudoHeader
            | Self::ConnectionField
            | Self::HostTwice
            | Self::Host
            | Self::HostContradicted
            | Self::ContentLength
            | Self::ContentLengthTwice
            | Self::LengthAndCoding
            | Self::CodingTwice
            | Self::CodingInHttp10
            | Self::UpgradeWithBody
            | Self::WebSocketKey
            | Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkEnd
            | Self::Trailer
            | Self::Status
            | Self::Unasked101
            | Self::UnaskedSuccess
            | Self::TooManyInterim => 400,
        }
    }

    /// The reason in words, for logs and for the body of our own answer.
    pub fn reason(self) -> &'static str {
        match self {
            Self::FirstLine => "malformed first line",
            Self::Version => "HTTP version not supported",
            Self::Target => "malformed request target",
            Self::TargetTooLong => "request target too long",
            Self::Path => "ambiguous path",
            Self::Connect => "CONNECT is not served here",
            Self::BareLf => "line ends in a bare LF",
            Self::HeaderLine => "malformed header line",
            Self::HeadTooLong => "head too long",
            Self::TooManyLines => "too many header lines",
            Self::ConnectionTokens => "too many Connection tokens",
            Self::HostMissing => "Host is missing",
            Self::PseudoHeader => "malformed pseudo-header",
            Self::ConnectionField => "connection-specific header over HTTP/2",
            Self::HostTwice => "Host is given twice",
            Self::Host => "malformed Host",
            Self::HostContradicted => "target and Host name different hosts",
            Self::ContentLength => "malformed Content-Length",
            Self::ContentLengthTwice => "Content-Length is given twice",
            Self::LengthAndCoding => "Content-Length beside Transfer-Encoding",
            Self::CodingTwice => "Transfer-Encoding is given twice",
            Self::Coding => "transfer coding is not chunked",
            Self::CodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Self::UpgradeWithBody => "WebSocket handshake with a body",
            Self::WebSocketKey => "malformed Sec-WebSocket-Key",
            Self::BodyTooLong => "body too long",
            Self::ChunkSize => "malformed chunk size",
            Self::ChunkExtension => "malformed chunk extension",
            Self::ChunkEnd => "chunk not ended by CRLF",
            Self::Trailer => "malformed trailer",
            Self::Status => "malformed status",
            Self::Unasked101 => "101 without a matching handshake",
            Self::UnaskedSuccess => "a success that opens no WebSocket, to a CONNECT over HTTP/2",
            Self::TooManyInterim => "too many interim answers",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Malformed {}
