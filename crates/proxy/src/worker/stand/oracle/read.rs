//! Reads what the proxy has written, by rules that share nothing with the proxy's own.

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::draw::{Message, PASSES};

/// A message as it was read.
pub(super) struct Whole {
    /// Its method and target, or its status.
    pub(super) start: String,
    pub(super) lines: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// Its end was that of the connection.
    pub(super) is_last: bool,
}

impl Whole {
    /// What was meant to pass, of a drawn message.
    ///
    /// # Panics
    /// If something passes that should not.
    pub(super) fn passed(self) -> Message {
        for (name, value) in &self.lines {
            assert!(!name.eq_ignore_ascii_case("X-Stays"), "it passes: {value}");
            assert!(!value.contains("192.0.2.1"), "a stranger is believed in {name}");
        }
        let lines = self.lines.into_iter().filter(|(name, _)| PASSES.contains(&&**name)).collect();
        Message { start: self.start, lines, body: self.body }
    }
}

/// The next request; `None` if the connection ends before it does.
pub(super) async fn read_request(stream: &mut UnixStream) -> Option<Whole> {
    let (first, lines) = read_head(stream).await?;
    let start = first.strip_suffix(" HTTP/1.1").expect("ours is 1.1").to_owned();
    read_body(stream, Whole { start, lines, body: Vec::new(), is_last: false }, Framing::Request).await
}

/// The next answer, to a HEAD if `is_to_head`; `None` if the connection ends before it does.
pub(super) async fn read_answer(stream: &mut UnixStream, is_to_head: bool) -> Option<Whole> {
    let (first, lines) = read_head(stream).await?;
    let start = first.strip_prefix("HTTP/1.1 ").expect("ours is 1.1")[..3].to_owned();
    let framing = match is_to_head || start == "204" || start == "304" {
        true => Framing::Bodiless,
        false => Framing::Answer,
    };
    read_body(stream, Whole { start, lines, body: Vec::new(), is_last: false }, framing).await
}

/// Where a body ends whose head does not say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// There is none.
    Request,
    /// There is none, whatever the head says.
    Bodiless,
    /// With the connection.
    Answer,
}

/// The first line of a head, and the others.
async fn read_head(stream: &mut UnixStream) -> Option<(String, Vec<(String, String)>)> {
    let first = read_line(stream).await?;
    let mut lines: Vec<(String, String)> = Vec::new();
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no line of a head: {line}"));
        assert!(
            !name.is_empty() && !name.contains([' ', '\t']),
            "a name that can be read in two ways: {line}"
        );
        lines.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    for stays in STAYS {
        let passes = lines.iter().find(|(name, _)| name.eq_ignore_ascii_case(stays));
        assert_eq!(passes, None, "it is for one connection, or in the name of a proxy");
    }
    Some((first, lines))
}

async fn read_body(stream: &mut UnixStream, mut whole: Whole, framing: Framing) -> Option<Whole> {
    let all = |wanted: &str| -> Vec<&str> {
        let lines = whole.lines.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        lines.map(|(_, value)| &**value).collect()
    };
    let (codings, lengths) = (all("Transfer-Encoding"), all("Content-Length"));
    assert!(codings.len() + lengths.len() <= 1, "more than one frame: {codings:?}, {lengths:?}");
    assert!(codings.iter().all(|coding| *coding == "chunked"), "{codings:?}");
    let length = lengths.first().map(|length| {
        assert!(length.bytes().all(|digit| digit.is_ascii_digit()), "{length} is no length");
        length.parse::<usize>().expect("a length")
    });
    if framing == Framing::Bodiless {
    } else if !codings.is_empty() {
        whole.body = read_chunks(stream).await?;
    } else if let Some(length) = length {
        whole.body = read_exactly(stream, length).await?;
    } else if framing == Framing::Answer {
        stream.read_to_end(&mut whole.body).await.expect("an end without a reset");
        whole.is_last = true;
    }
    Some(whole)
}

async fn read_chunks(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream).await?;
        let digits = line.split(';').next().expect("there is a first");
        assert!(digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{line} is no size");
        let size = usize::from_str_radix(digits, 16).expect("a size");
        if size == 0 {
            while !read_line(stream).await?.is_empty() {}
            return Some(body);
        }
        body.extend_from_slice(&read_exactly(stream, size).await?);
        assert_eq!(read_line(stream).await?, "", "behind a chunk");
    }
}

/// So many bytes; fewer are there than a length may promise.
async fn read_exactly(stream: &mut UnixStream, length: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(length as u64).read_to_end(&mut bytes).await.ok()?;
    (bytes.len() == length).then_some(bytes)
}

/// A line without its end, which is CRLF and nothing else.
async fn read_line(stream: &mut UnixStream) -> Option<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(stream.read_u8().await.ok()?);
    }
    let line = line.strip_suffix(b"\r\n").expect("a line that ends in LF alone");
    assert!(!line.contains(&b'\r') && !line.contains(&0), "{}", line.escape_ascii());
    // What is no text need not be told apart here.
    Some(String::from_utf8_lossy(line).into_owned())
}

/// What never passes.
const STAYS: [&str; 6] =
    ["Keep-Alive", "Proxy-Connection", "TE", "Forwarded", "X_Forwarded_For", "Proxy-Authorization"];
