//! A line of an app's output, and how bytes become lines. Pure.

use std::sync::Arc;
use std::time::SystemTime;

use config::app::LogFormat;
use config::roster::InstanceId;
use time::OffsetDateTime;
use time::macros::format_description;

/// One line that an instance wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its end was read.
    pub at: SystemTime,
    /// The name of the app.
    pub app: Arc<str>,
    /// Which of its instances.
    pub instance: InstanceId,
    /// Where it was written to.
    pub stream: Stream,
    /// Without the end of the line; at most 16 KiB.
    pub bytes: Box<[u8]>,
    /// So many bytes more it had.
    pub cut_bytes: u64,
    /// Over all lines of this tidelock, so that those of several instances can be put in order.
    pub(crate) number: u64,
}

/// One of the two that a process writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Line {
    /// The line as it was written, with what is no UTF-8 replaced, and with what was cut off said.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.bytes).into_owned();
        if self.cut_bytes > 0 {
            text.push_str(&cut(self.cut_bytes));
        }
        text
    }

    /// When, in RFC 3339 with milliseconds, UTC.
    #[must_use]
    pub fn time(&self) -> String {
        let format =
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        // A year beyond 9999 cannot be formatted; a clock that says so is not to be believed anyway.
        OffsetDateTime::from(self.at).format(&format).unwrap_or_default()
    }

    /// As an object of JSON on one line: time, app, instance, stream, line.
    #[must_use]
    pub fn json(&self) -> String {
        // Strings can always be written.
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        let Self { app, instance, stream, .. } = self;
        let (time, app, line) = (self.time(), quoted(app), quoted(&self.text()));
        format!(
            r#"{{"time":"{time}","app":{app},"instance":{},"stream":"{}","line":{line}}}"#,
            instance.slot,
            stream.name()
        )
    }

    /// As it stands in a file, its end included.
    pub(crate) fn write_into(&self, file: &mut Vec<u8>, format: LogFormat, with_time: bool) {
        match format {
            LogFormat::Json => file.extend_from_slice(self.json().as_bytes()),
            LogFormat::Text => {
                if with_time {
                    file.extend_from_slice(self.time().as_bytes());
                    file.push(b' ');
                }
                file.extend_from_slice(&self.bytes);
                if self.cut_bytes > 0 {
                    file.extend_from_slice(cut(self.cut_bytes).as_bytes());
                }
            }
        }
        file.push(b'\n');
    }

    /// An estimate: its text and what a `VecDeque` keeps of it.
    pub(crate) fn weight(&self) -> usize {
        self.bytes.len() + LINE_BYTES_BESIDE
    }
}

impl Stream {
    /// As people know it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

fn cut(bytes: u64) -> String {
    let unit = if bytes == 1 { "byte" } else { "bytes" };
    format!("… (tidelock cut off {bytes} {unit} of this line)")
}

/// Bytes become lines: whatever pieces they come in.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    begun: Vec<u8>,
    cut_bytes: u64,
    /// There is a line, if only an empty one, that has not ended.
    is_begun: bool,
}

impl Splitter {
    /// Gives each line that ends in `bytes`, with how much of it was cut off.
    pub(crate) fn feed(&mut self, bytes: &[u8], mut give: impl FnMut(Box<[u8]>, u64)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, has_ended) = piece
                .split_last()
                .filter(|(last, _)| **last == b'\n')
                .map_or((piece, false), |(_, text)| (text, true));
            let room = LINE_BYTES_MAX - self.begun.len();
            let (kept, rest) = text.split_at(room.min(text.len()));
            self.begun.extend_from_slice(kept);
            self.cut_bytes += rest.len() as u64;
            self.is_begun = true;
            if has_ended {
                self.end(&mut give);
            }
        }
    }

    /// Gives the line that has no end.
    pub(crate) fn finish(&mut self, mut give: impl FnMut(Box<[u8]>, u64)) {
        if self.is_begun {
            self.end(&mut give);
        }
    }

    fn end(&mut self, give: &mut impl FnMut(Box<[u8]>, u64)) {
        let mut text = self.begun.as_slice();
        if let (Some((b'\r', before)), 0) = (text.split_last(), self.cut_bytes) {
            text = before;
        }
        give(text.into(), self.cut_bytes);
        *self = Self { begun: std::mem::take(&mut self.begun), ..Self::default() };
        self.begun.clear();
    }
}

/// Of one line; what follows is counted and not kept.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 10;
/// A line's fields and its place in a ring.
const LINE_BYTES_BESIDE: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Whole, byte by byte, and at every split.
    fn check(input: &str, expected: &[&str]) {
        let mut splits: Vec<Vec<&[u8]>> =
            (0..=input.len()).map(|at| vec![&input.as_bytes()[..at], &input.as_bytes()[at..]]).collect();
        splits.push(input.as_bytes().chunks(1).collect());
        for pieces in splits {
            let mut lines = Vec::new();
            let mut give = |bytes: Box<[u8]>, cut| {
                assert_eq!(cut, 0);
                lines.push(String::from_utf8(bytes.into()).unwrap());
            };
            let mut splitter = Splitter::default();
            for piece in pieces {
                splitter.feed(piece, &mut give);
            }
            splitter.finish(&mut give);
            assert_eq!(lines, expected, "{input:?}");
        }
    }

    #[test]
    fn lines_end_where_they_end() {
        check("", &[]);
        check("a", &["a"]);
        check("a\nb", &["a", "b"]);
        check("a\r\n\nb\rc\n", &["a", "", "b\rc"]);
        check("\n", &[""]);
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_rest_counted() {
        let mut splitter = Splitter::default();
        let mut lines = Vec::new();
        let mut give = |bytes: Box<[u8]>, cut| lines.push((bytes.len(), cut));
        for _ in 0..10 {
            splitter.feed(&[b'x'; 4096], &mut give);
        }
        splitter.feed(b"y\nz\n", &mut give);
        assert_eq!(lines, [(LINE_BYTES_MAX, 10 * 4096 + 1 - LINE_BYTES_MAX as u64), (1, 0)]);
    }

    #[test]
    fn how_lines_look() {
        let line = Line {
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_012),
            app: "chat".into(),
            instance: InstanceId { slot: 2, generation: 9 },
            stream: Stream::Stderr,
            bytes: b"\"a\"\xff\x1b[1m".as_slice().into(),
            cut_bytes: 0,
            number: 0,
        };
        let look = |line: &Line, format, time| {
            let mut file = Vec::new();
            line.write_into(&mut file, format, time);
            String::from_utf8_lossy(&file).into_owned()
        };
        assert_eq!(look(&line, LogFormat::Text, false), "\"a\"\u{fffd}\x1b[1m\n");
        assert_eq!(look(&line, LogFormat::Text, true), "2023-11-14T22:13:20.012Z \"a\"\u{fffd}\x1b[1m\n");
        assert_eq!(
            look(&line, LogFormat::Json, false),
            "{\"time\":\"2023-11-14T22:13:20.012Z\",\"app\":\"chat\",\"instance\":2,\"stream\":\"stderr\",\"line\":\"\\\"a\\\"\u{fffd}\\u001b[1m\"}\n"
        );
        let cut = Line { cut_bytes: 7, ..line };
        assert!(look(&cut, LogFormat::Text, false).ends_with("… (tidelock cut off 7 bytes of this line)\n"));
    }
}
