//! Media types by the endings of names, and the codings that a client takes.

use wire::request::RequestHead;

/// What a file is.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    pub(crate) content_type: String,
    /// Whether compressing it brings anything.
    pub(crate) is_compressible: bool,
}

/// A coding of content (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Coding {
    Brotli,
    Zstd,
    Gzip,
}

impl Coding {
    /// The best first.
    pub(crate) const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What the name of a file in this coding ends in.
    pub(crate) fn ending(self) -> &'static str {
        match self {
            Self::Brotli => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }
}

/// What a file of this name is.
pub(crate) fn of(name: &str) -> Media {
    let guess = mime_guess::from_path(name).first_or_octet_stream();
    let essence = match guess.essence_str() {
        // Its old name, which the table still has for modules (RFC 9239 section 6).
        "application/javascript" => "text/javascript",
        essence => essence,
    };
    let is_text = essence.starts_with("text/")
        || matches!(
            essence,
            "application/json"
                | "application/manifest+json"
                | "application/xml"
                | "application/xhtml+xml"
                | "image/svg+xml"
        );
    let is_compressible = is_text
        || essence.ends_with("+json")
        || essence.ends_with("+xml")
        || matches!(
            essence,
            "application/wasm"
                | "application/vnd.ms-fontobject"
                | "font/ttf"
                | "font/otf"
                | "image/x-icon"
                | "image/bmp"
        );
    let content_type = if is_text { format!("{essence}; charset=utf-8") } else { essence.to_owned() };
    Media { content_type, is_compressible }
}

/// The codings that a client takes, the best first (RFC 9110 section 12.5.3).
pub(crate) fn accepted(head: &RequestHead) -> impl Iterator<Item = Coding> {
    let accept = head.header("accept-encoding").unwrap_or_default().to_ascii_lowercase();
    let accept = String::from_utf8(accept).unwrap_or_default();
    Coding::ALL.into_iter().filter(move |coding| quality(&accept, coding.as_str()) > 0)
}

/// In thousandths.
fn quality(accept: &str, coding: &str) -> u32 {
    let of = |wanted: &str| {
        accept.split(',').find_map(|part| {
            let mut words = part.split(';').map(str::trim);
            let is_it = words.next() == Some(wanted);
            let quality =
                words.find_map(|word| word.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
            is_it.then(|| quality.map_or(0, |quality| (quality.clamp(0.0, 1.0) * 1000.0) as u32))
        })
    };
    of(coding).or_else(|| of("*")).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_a_charset_where_there_is_one() {
        for (name, want) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a/app.js", "text/javascript; charset=utf-8"),
            ("app.mjs", "text/javascript; charset=utf-8"),
            ("x.css", "text/css; charset=utf-8"),
            ("x.json", "application/json; charset=utf-8"),
            ("x.svg", "image/svg+xml; charset=utf-8"),
            ("x.png", "image/png"),
            ("x.woff2", "font/woff2"),
            ("x.wasm", "application/wasm"),
            ("x.webmanifest", "application/manifest+json; charset=utf-8"),
            ("x", "application/octet-stream"),
        ] {
            assert_eq!(of(name).content_type, want, "{name}");
        }
    }

    #[test]
    fn codings_are_taken_by_quality() {
        for (accept, want) in [
            ("gzip, br", (1000, 1000)),
            ("gzip;q=0.5, br;q=0", (500, 0)),
            ("*", (1000, 1000)),
            ("br;q=0, *;q=0.1", (100, 0)),
            ("identity", (0, 0)),
            ("", (0, 0)),
            ("gzip;q=x", (0, 0)),
        ] {
            assert_eq!((quality(accept, "gzip"), quality(accept, "br")), want, "{accept}");
        }
    }
}
