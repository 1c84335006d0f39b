//! Media types by the endings of names, and the codings that a client takes.

use config::routing::{Coding, is_compressible};
use wire::request::RequestHead;

/// What a file is.
#[derive(Debug, Clone)]
pub(crate) struct Media {
    pub(crate) content_type: String,
    /// Whether compressing it brings anything.
    pub(crate) is_compressible: bool,
}

/// `.br`, `.zst` or `.gz`: beside `app.js` its compressed copy is `app.js.br`.
pub(crate) fn ending(coding: Coding) -> &'static str {
    match coding {
        Coding::Brotli => ".br",
        Coding::Zstd => ".zst",
        Coding::Gzip => ".gz",
    }
}

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
    let content_type = if is_text { format!("{essence}; charset=utf-8") } else { essence.to_owned() };
    Media { content_type, is_compressible: is_compressible(essence) }
}

/// The codings that a client takes, the best first (RFC 9110 section 12.5.3).
pub(crate) fn accepted(head: &RequestHead) -> impl Iterator<Item = Coding> {
    let accept = head.header("accept-encoding").unwrap_or_default().to_ascii_lowercase();
    let accept = String::from_utf8(accept).unwrap_or_default();
    Coding::ALL.into_iter().filter(move |coding| quality(&accept, coding.as_str()) > 0)
}

/// The coding of these that a client likes best, the first of several; none where it would rather have none.
pub(crate) fn preferred(head: &RequestHead, codings: &[Coding]) -> Option<Coding> {
    let accept = head.header("accept-encoding")?.to_ascii_lowercase();
    best(std::str::from_utf8(&accept).ok()?, codings)
}

fn best(accept: &str, codings: &[Coding]) -> Option<Coding> {
    // What is not said of it is that it may be sent (RFC 9110 section 12.5.3), not that it is liked.
    let plain = if accept.contains("identity") { quality(accept, "identity") } else { 0 };
    let mut best: Option<(Coding, u32)> = None;
    for &coding in codings {
        let quality = quality(accept, coding.as_str());
        if quality > 0 && quality >= plain && best.is_none_or(|(_, known)| quality > known) {
            best = Some((coding, quality));
        }
    }
    best.map(|(coding, _)| coding)
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

    #[test]
    fn a_client_gets_the_coding_that_it_likes_best() {
        use Coding::{Brotli, Gzip, Zstd};
        for (accept, want) in [
            ("gzip, deflate, br, zstd", Some(Zstd)),
            ("gzip, deflate, br", Some(Brotli)),
            ("gzip", Some(Gzip)),
            ("br;q=0.5, gzip;q=0.8", Some(Gzip)),
            ("gzip;q=0.5, identity", None),
            ("gzip, identity;q=0.5", Some(Gzip)),
            ("*;q=0.1", Some(Zstd)),
            ("zstd;q=0, *", Some(Brotli)),
            ("deflate", None),
            ("gzip;q=0", None),
            ("", None),
        ] {
            assert_eq!(best(accept, &[Zstd, Brotli, Gzip]), want, "{accept}");
        }
        assert_eq!(best("gzip, br, zstd", &[Gzip]), Some(Gzip));
    }
}
