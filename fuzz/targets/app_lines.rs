//! What an app writes, on its way into memory and files: lines are the same however the bytes came, none is longer than
//! may be, nothing is lost uncounted, and each is one line of a file.
#![no_main]

use std::sync::Arc;
use std::time::SystemTime;

use config::app::LogFormat;
use config::roster::InstanceId;
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/supervisor/src/logs/lines.rs"]
mod lines;
#[path = "../../crates/supervisor/src/logs/ring.rs"]
#[expect(dead_code, reason = "nobody clears it here")]
mod ring;

use lines::{LINE_BYTES_MAX, Line, Splitter, Stream};

/// The lines of `bytes` that come in such pieces, and how much of each was cut off. Each piece is said so many times.
fn split(bytes: &[u8], piece: usize, times: usize) -> Vec<(Box<[u8]>, u64)> {
    let (mut seen, mut splitter) = (Vec::new(), Splitter::default());
    for _ in 0..times {
        bytes.chunks(piece.max(1)).for_each(|piece| splitter.feed(piece, |line, cut| seen.push((line, cut))));
    }
    splitter.finish(|line, cut| seen.push((line, cut)));
    seen
}

fuzz_target!(|data: &[u8]| {
    let [piece, times, bytes @ ..] = data else { return };
    // Often enough for lines that are too long.
    let times = 1 + usize::from(*times) * usize::from(piece & 1);
    let seen = split(bytes, bytes.len(), times);
    assert_eq!(seen, split(bytes, usize::from(*piece), times));
    let kept: u64 = seen.iter().map(|(line, cut)| line.len() as u64 + cut).sum();
    let all = (bytes.len() * times) as u64;
    assert!(kept <= all && all - kept <= 2 * seen.len() as u64, "only ends of lines are gone");
    let mut ring = ring::Ring::default();
    for (number, (bytes, cut_bytes)) in (0..).zip(seen.into_iter().take(64)) {
        assert!(bytes.len() <= LINE_BYTES_MAX && !bytes.contains(&b'\n'));
        let line = Line {
            at: SystemTime::UNIX_EPOCH,
            app: "chat".into(),
            instance: InstanceId { slot: 0, generation: 1 },
            stream: if number % 2 == 0 { Stream::Stdout } else { Stream::Stderr },
            bytes,
            cut_bytes,
            number,
        };
        for (format, with_time) in
            [(LogFormat::Json, false), (LogFormat::Text, true), (LogFormat::Text, false)]
        {
            let mut file = Vec::new();
            line.write_into(&mut file, format, with_time);
            assert_eq!(file.iter().position(|&byte| byte == b'\n'), Some(file.len() - 1));
            if format == LogFormat::Json {
                let read: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
                assert_eq!(read["line"], line.text());
            }
        }
        ring.push(Arc::new(line), 16);
        assert!(ring.last(64).count() <= 16);
    }
});
