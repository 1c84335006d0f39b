//! The request that another answer is asked for with, in the name of a client whose own request has failed. Pure.

use crate::forward::copy_line;
use crate::lines::Name;
use crate::malformed::Malformed;
use crate::request::{Method, RequestHead};
use crate::span::{HeadBounds, Version};

impl RequestHead {
    /// The request of the same client for `target`, a path and perhaps a query: HEAD where it has said so and GET otherwise,
    /// without a body, conditions, ranges or an upgrade, which were for what it has asked for.
    ///
    /// # Errors
    /// If `target` is none.
    pub fn asking_for(&self, target: &[u8]) -> Result<Self, Malformed> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + target.len());
        bytes.extend_from_slice(if self.method() == Method::Head { b"HEAD " } else { b"GET " });
        bytes.extend_from_slice(target);
        bytes.extend_from_slice(match self.version() {
            Version::Http10 => b" HTTP/1.0\r\n",
            Version::Http11 => b" HTTP/1.1\r\n",
        });
        for line in &self.lines {
            if is_of_client(line.known) && !is_of_content(line.name.of_bytes(&self.bytes)) {
                copy_line(&self.bytes, line, &mut bytes);
            }
        }
        // It may have stood in the target alone.
        if let Some(host) =
            self.host_bytes().filter(|_| self.lines.iter().all(|line| line.known != Name::Host))
        {
            bytes.extend_from_slice(b"Host: ");
            bytes.extend_from_slice(host);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        let bounds = HeadBounds {
            target_bytes_max: bytes.len(),
            head_bytes_max: bytes.len(),
            lines_max: HeadBounds::LINES_MAX,
        };
        let page = Self::parse(&bytes, &bounds)?;
        Ok(if self.is_over_http2() { page.over_http2() } else { page })
    }
}

/// Whether a line tells of the client, and not of the connection or of what its request has carried.
fn is_of_client(name: Name) -> bool {
    match name {
        Name::Connection
        | Name::ContentLength
        | Name::TransferEncoding
        | Name::Upgrade
        | Name::Expect
        | Name::KeepAlive
        | Name::HopByHop
        | Name::Nominated
        | Name::Again
        | Name::ContentEncoding
        | Name::ContentType
        | Name::SecWebSocketKey
        | Name::SecWebSocketAccept => false,
        Name::Other
        | Name::Host
        | Name::AcceptEncoding
        | Name::Cookie
        | Name::SetCookie
        | Name::XForwardedFor
        | Name::XForwardedProto
        | Name::XForwardedHost
        | Name::XForwardedPort
        | Name::XRealIp
        | Name::Forwarded
        | Name::FrontDoor
        | Name::Twin
        | Name::TraceParent
        | Name::TraceState => true,
    }
}

/// Whether a line of that name is about the content that was asked for.
fn is_of_content(name: &[u8]) -> bool {
    OF_CONTENT.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

const OF_CONTENT: [&str; 9] = [
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, want: &str) {
        let bounds = HeadBounds { target_bytes_max: 1000, head_bytes_max: 1000, lines_max: 50 };
        let head = RequestHead::parse(head.as_bytes(), &bounds).expect("a request");
        let page = head.asking_for(b"/404.html?x=1").expect("a target");
        assert_eq!(String::from_utf8_lossy(&page.bytes), want);
        assert_eq!(page.body(), crate::request::RequestBody::None);
    }

    #[test]
    fn a_page_is_asked_for_in_the_name_of_the_client() {
        check(
            "POST /x?y HTTP/1.1\r\nHost: a.example\r\nConnection: close, x-hop\r\nX-Hop: 1\r\nContent-Length: 3\r\nCookie: a=b\r\n\
             Range: bytes=0-1\r\nIf-None-Match: \"x\"\r\nContent-Type: text/plain\r\nExpect: 100-continue\r\nAccept: */*\r\n\r\n",
            "GET /404.html?x=1 HTTP/1.1\r\nHost: a.example\r\nCookie: a=b\r\nAccept: */*\r\n\r\n",
        );
        check("HEAD / HTTP/1.0\r\n\r\n", "HEAD /404.html?x=1 HTTP/1.0\r\n\r\n");
        check(
            "GET http://a.example/ HTTP/1.0\r\n\r\n",
            "GET /404.html?x=1 HTTP/1.0\r\nHost: a.example\r\n\r\n",
        );
        check(
            "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            "GET /404.html?x=1 HTTP/1.1\r\nHost: a\r\n\r\n",
        );
    }
}
