//! A line of the access log as a text with nginx's variables: `$remote_addr [$time_local] "$request" $status`.

use std::ops::Range;

use crate::suggest::nearest;

/// A text whose variables are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFormat {
    written: String,
    pieces: Vec<LinePiece>,
}

/// A part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinePiece {
    /// Itself.
    Text(String),
    /// What is known of the request.
    Variable(LineVariable),
}

/// What can be put in, in nginx's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineVariable {
    /// The client's address, once trusted proxies were believed.
    RemoteAddr,
    /// The other end of the connection.
    PeerAddr,
    /// Who it is, where a password has proved it.
    RemoteUser,
    /// `21/Nov/2026:14:03:07 +0000`.
    TimeLocal,
    /// `2026-11-21T14:03:07+00:00`.
    TimeIso8601,
    /// Seconds since 1970 with milliseconds.
    Msec,
    /// Method, target and protocol.
    Request,
    /// The method.
    RequestMethod,
    /// The target as the client sent it.
    RequestUri,
    /// The path in its normal form.
    Uri,
    /// The query without its question mark.
    Args,
    /// A question mark, where there is a query.
    IsArgs,
    /// The value of a key in the query.
    Arg(String),
    /// The value of a header line.
    Header(String),
    /// `HTTP/1.1`.
    ServerProtocol,
    /// The port of the listen.
    ServerPort,
    /// `http` or `https`.
    Scheme,
    /// `on` where it is HTTPS.
    Https,
    /// The host in lower case, without its port.
    Host,
    /// The status of the answer.
    Status,
    /// What was sent, without heads.
    BodyBytesSent,
    /// What was sent.
    BytesSent,
    /// What was received, head and body.
    RequestLength,
    /// From the first byte of the request to the end of the answer, in seconds.
    RequestTime,
    /// The address of the node.
    UpstreamAddr,
    /// What the node answered.
    UpstreamStatus,
    /// From when the node was turned to until the end of the answer, in seconds.
    UpstreamResponseTime,
    /// Until a new connection to it was there.
    UpstreamConnectTime,
    /// Until the head of its answer was there.
    UpstreamHeaderTime,
    /// The id of the request.
    RequestId,
    /// The trace that it belongs to, by W3C's trace context.
    TraceId,
    /// `TLSv1.3`.
    SslProtocol,
    /// In OpenSSL's words.
    SslCipher,
    /// Which request of its connection it is, from 1.
    ConnectionRequests,
}

/// How what a client has sent is written into such a line, so that it ends neither a quote nor the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LineEscape {
    /// `\xHH` for quotes, backslashes and whatever is no printable ASCII, as nginx does.
    #[default]
    Default,
    /// As in a string of JSON.
    Json,
}

/// Why a text is no format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAFormat {
    /// The variable, in the text; empty where the text as a whole is meant.
    pub at: Range<usize>,
    /// What is wrong with it, as a sentence without its full stop.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl LineFormat {
    /// Reads a text with variables: `$name`, or `${name}` where a letter follows.
    ///
    /// # Errors
    /// If a variable is not known here, or the text would be several lines.
    pub fn read(written: &str) -> Result<Self, NotAFormat> {
        if let Some(at) = written.find(char::is_control) {
            return Err(NotAFormat {
                at: at..at + 1,
                message: "a format is one line".to_owned(),
                hint: "leave line feeds and other control characters out".to_owned(),
            });
        }
        let (mut pieces, mut done) = (Vec::new(), 0);
        for (at, _) in written.match_indices('$') {
            if at < done {
                continue;
            }
            let (name, end) = name_at(written, at);
            let variable =
                variable(name).map_err(|(message, hint)| NotAFormat { at: at..end, message, hint })?;
            if done < at {
                pieces.push(LinePiece::Text(written[done..at].to_owned()));
            }
            pieces.push(LinePiece::Variable(variable));
            done = end;
        }
        if done < written.len() {
            pieces.push(LinePiece::Text(written[done..].to_owned()));
        }
        Ok(Self { written: written.to_owned(), pieces })
    }

    /// nginx's `combined`.
    pub fn combined() -> Self {
        Self::read(COMBINED).expect("a test reads it")
    }

    /// As the file has it.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Its parts, in their order.
    pub fn pieces(&self) -> &[LinePiece] {
        &self.pieces
    }
}

/// The name behind the dollar at `at`, and where it ends.
fn name_at(text: &str, at: usize) -> (&str, usize) {
    let rest = &text[at + 1..];
    if let Some(inner) = rest.strip_prefix('{')
        && let Some(length) = inner.find('}')
    {
        return (&inner[..length], at + length + 3);
    }
    let length = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    (&rest[..length], at + 1 + length)
}

/// The variable of a name, or what is wrong with it and what to write instead.
fn variable(name: &str) -> Result<LineVariable, (String, String)> {
    if let Some((_, variable)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
        return Ok(variable.clone());
    }
    if let Some(line) =
        name.strip_prefix("http_").filter(|line| !PROOFS.contains(line)).filter(|line| !line.is_empty())
    {
        return Ok(LineVariable::Header(line.replace('_', "-").to_ascii_lowercase()));
    }
    if let Some(key) = name.strip_prefix("arg_").filter(|key| !key.is_empty()) {
        return Ok(LineVariable::Arg(key.to_owned()));
    }
    let unknown = format!("`${name}` is not known here");
    if name.is_empty() {
        return Err((
            "a `$` stands alone".to_owned(),
            "it begins the name of a variable: `$status`".to_owned(),
        ));
    }
    if let Some((_, instead)) = MISSING.iter().find(|(missing, _)| name.starts_with(missing)) {
        return Err((unknown, (*instead).to_owned()));
    }
    let names = PLAIN.iter().map(|(plain, _)| *plain);
    let hint = match nearest(name, names.clone()) {
        Some(meant) => format!("did you mean `${meant}`?"),
        None => format!(
            "there are {}, $http_NAME and $arg_NAME",
            names.map(|name| format!("${name}")).collect::<Vec<_>>().join(", ")
        ),
    };
    Err((unknown, hint))
}

const COMBINED: &str = "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\"";
const PLAIN: [(&str, LineVariable); 35] = [
    ("remote_addr", LineVariable::RemoteAddr),
    ("realip_remote_addr", LineVariable::PeerAddr),
    ("remote_user", LineVariable::RemoteUser),
    ("time_local", LineVariable::TimeLocal),
    ("time_iso8601", LineVariable::TimeIso8601),
    ("msec", LineVariable::Msec),
    ("request", LineVariable::Request),
    ("request_method", LineVariable::RequestMethod),
    ("request_uri", LineVariable::RequestUri),
    ("uri", LineVariable::Uri),
    ("document_uri", LineVariable::Uri),
    ("args", LineVariable::Args),
    ("query_string", LineVariable::Args),
    ("is_args", LineVariable::IsArgs),
    ("server_protocol", LineVariable::ServerProtocol),
    ("server_port", LineVariable::ServerPort),
    ("scheme", LineVariable::Scheme),
    ("https", LineVariable::Https),
    ("host", LineVariable::Host),
    ("server_name", LineVariable::Host),
    ("status", LineVariable::Status),
    ("body_bytes_sent", LineVariable::BodyBytesSent),
    ("bytes_sent", LineVariable::BytesSent),
    ("request_length", LineVariable::RequestLength),
    ("request_time", LineVariable::RequestTime),
    ("upstream_addr", LineVariable::UpstreamAddr),
    ("upstream_status", LineVariable::UpstreamStatus),
    ("upstream_response_time", LineVariable::UpstreamResponseTime),
    ("upstream_connect_time", LineVariable::UpstreamConnectTime),
    ("upstream_header_time", LineVariable::UpstreamHeaderTime),
    ("request_id", LineVariable::RequestId),
    ("otel_trace_id", LineVariable::TraceId),
    ("ssl_protocol", LineVariable::SslProtocol),
    ("ssl_cipher", LineVariable::SslCipher),
    ("connection_requests", LineVariable::ConnectionRequests),
];
/// Header lines that prove who somebody is.
const PROOFS: [&str; 3] = ["cookie", "authorization", "proxy_authorization"];
/// What nginx has beside these, by how it begins.
const MISSING: [(&str, &str); 10] = [
    ("sent_http_", "lines of answers are not kept for the log; `$http_NAME` has those of requests"),
    ("upstream_http_", "lines of answers are not kept for the log; `$http_NAME` has those of requests"),
    ("http_cookie", "cookies open sessions, and are not written into a log"),
    ("http_authorization", "credentials are not written into a log; `$remote_user` is who it is"),
    ("http_proxy_authorization", "credentials are not written into a log"),
    ("cookie_", "cookies open sessions, and are not written into a log"),
    ("connection", "connections have no number; `$connection_requests` counts the requests of one"),
    ("pipe", "it is not known once the request has been answered; leave it out"),
    ("gzip_ratio", "it is not reckoned; leave it out"),
    ("upstream_cache_status", "there is no cache; leave it out"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_texts_and_variables() {
        let text = |text: &str| LinePiece::Text(text.to_owned());
        let read = LineFormat::read("a ${status}b $http_user_agent$arg_q \u{e9}").unwrap();
        assert_eq!(
            read.pieces(),
            [
                text("a "),
                LinePiece::Variable(LineVariable::Status),
                text("b "),
                LinePiece::Variable(LineVariable::Header("user-agent".to_owned())),
                LinePiece::Variable(LineVariable::Arg("q".to_owned())),
                text(" \u{e9}"),
            ]
        );
        assert_eq!(LineFormat::combined().pieces().len(), 16);
        for (wrong, at, hint) in [
            ("$status $stats", 8..14, "did you mean `$status`?"),
            ("${remote_adr}", 0..13, "did you mean `$remote_addr`?"),
            ("a $ b", 2..3, "it begins the name of a variable: `$status`"),
            ("$status\n", 7..8, "leave line feeds and other control characters out"),
            ("$pipe", 0..5, "it is not known once the request has been answered; leave it out"),
        ] {
            let told = LineFormat::read(wrong).unwrap_err();
            assert_eq!((told.at, &*told.hint), (at, hint), "{wrong}");
        }
    }
}
