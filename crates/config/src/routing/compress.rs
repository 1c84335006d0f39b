//! Which answers are compressed on their way, and how.

/// A coding of content (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 7932.
    Brotli,
    /// RFC 8878, as RFC 9659 bounds it.
    Zstd,
    /// RFC 1952.
    Gzip,
}

/// What a route compresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compress {
    /// Those that clients get, the best first.
    pub codings: Vec<Coding>,
    /// The media types, in lower case; `None` for those that it is known to help.
    pub types: Option<Vec<String>>,
    /// An answer that says that it is shorter is left as it is.
    pub bytes_min: u64,
}

impl Coding {
    /// Those that are better for files that are compressed beforehand come first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// As header lines have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

impl Compress {
    /// The type is one of the list's, or such as compressing is known to shorten where there is no list. Parameters do not
    /// count.
    pub fn takes(&self, content_type: &[u8]) -> bool {
        let essence = content_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let essence = String::from_utf8_lossy(essence).to_ascii_lowercase();
        match &self.types {
            None => is_compressible(&essence),
            Some(types) => types.iter().any(|wanted| match wanted.strip_suffix('*') {
                Some(front) => essence.starts_with(front),
                None => essence == *wanted,
            }),
        }
    }
}

/// Whether compressing content of this type, in lower case, is known to bring something. A stream of events is not
/// in it: its events are short, and each would go out in a block of its own.
pub fn is_compressible(essence: &str) -> bool {
    let is_text = essence.starts_with("text/") && essence != "text/event-stream";
    is_text
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence,
            "application/json"
                | "application/javascript"
                | "application/x-javascript"
                | "application/xml"
                | "application/wasm"
                | "application/x-ndjson"
                | "application/graphql"
                | "application/vnd.ms-fontobject"
                | "font/ttf"
                | "font/otf"
                | "image/x-icon"
                | "image/vnd.microsoft.icon"
                | "image/bmp"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_taken_whole_or_by_their_beginning() {
        let usual = Compress { codings: vec![Coding::Gzip], types: None, bytes_min: 0 };
        for (content_type, want) in [
            ("text/html; charset=utf-8", true),
            ("Application/JSON", true),
            ("application/problem+json ;x=y", true),
            ("image/svg+xml", true),
            ("text/event-stream", false),
            ("image/png", false),
            ("application/octet-stream", false),
            ("", false),
        ] {
            assert_eq!(usual.takes(content_type.as_bytes()), want, "{content_type}");
        }
        let of = |types: &[&str]| Compress {
            types: Some(types.iter().map(|&one| one.to_owned()).collect()),
            ..usual.clone()
        };
        assert!(of(&["text/event-stream"]).takes(b"text/event-stream;charset=utf-8"));
        assert!(!of(&["text/css"]).takes(b"text/csss"));
        assert!(of(&["font/*"]).takes(b"font/woff"));
        assert!(!of(&["font/*"]).takes(b"fonts/woff"));
        assert!(of(&["*"]).takes(b"image/png"));
    }
}
