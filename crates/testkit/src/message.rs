//! One HTTP/1 message as it was read: the bytes themselves, and as much sense as a test needs from them.
//! Lenient on purpose: what a proxy must never send should arrive here and be seen.

/// A request or an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Every byte of it, framing included.
    pub raw: Vec<u8>,
    /// The request line or the status line, without its CRLF.
    pub start: String,
    /// The header lines in order, as they were written: names keep their case.
    pub headers: Vec<(String, String)>,
    /// The body, without chunk framing.
    pub body: Vec<u8>,
}

impl Message {
    /// Reads a head, its empty line included.
    ///
    /// # Panics
    /// If a header line has no colon: no test can go on from there.
    #[must_use]
    pub fn from_head(raw: Vec<u8>) -> Self {
        let text = String::from_utf8_lossy(&raw).into_owned();
        let mut lines = text.trim_end_matches("\r\n").split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .map(|line| match line.split_once(':') {
                Some((name, value)) => (name.to_owned(), value.trim().to_owned()),
                None => panic!("a header line without a colon: {line:?} in {text:?}"),
            })
            .collect();
        Self { raw, start, headers, body: Vec::new() }
    }

    /// The value of the first header called `name`, whatever its case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }

    /// The values of all headers called `name`, whatever its case.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The status of an answer.
    ///
    /// # Panics
    /// If this is a request.
    #[must_use]
    pub fn status(&self) -> u16 {
        let code = self.start.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).map(str::parse);
        match code {
            Some(Ok(code)) => code,
            _ => panic!("no status in {:?}", self.start),
        }
    }

    /// The body as text; bytes that are not UTF-8 show as U+FFFD.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn framing(&self) -> Framing {
        let answer = self.start.starts_with("HTTP/");
        if answer && matches!(self.status(), 100..=199 | 204 | 304) {
            return Framing::Length(0);
        }
        if self.all("transfer-encoding").iter().any(|coding| coding.to_ascii_lowercase().contains("chunked"))
        {
            return Framing::Chunked;
        }
        match self.header("content-length").map(str::parse) {
            Some(Ok(length)) => Framing::Length(length),
            Some(Err(_)) => panic!("no number in Content-Length: {:?}", self.headers),
            None if answer => Framing::UntilClose,
            None => Framing::Length(0),
        }
    }
}

pub(crate) enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}
