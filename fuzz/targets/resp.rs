//! The broker's protocol: commands are the same however the bytes were cut, little is kept for one that is not whole, and
//! what we write is read as what was meant.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;

#[path = "../../crates/broker/src/resp.rs"]
#[expect(dead_code, reason = "replies that are no arrays are read by clients only")]
mod resp;

/// As it is in the crate.
mod settings {
    pub(crate) struct Limits {
        pub(crate) command_bytes_max: usize,
        pub(crate) arguments_max: usize,
    }
}
use settings::Limits;

const LIMITS: Limits = Limits { command_bytes_max: 200, arguments_max: 8 };

/// The commands, and whether they end in an error.
fn commands(bytes: &[u8], piece: usize) -> (Vec<Vec<Bytes>>, Option<resp::ProtocolError>) {
    let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
    for piece in bytes.chunks(piece.max(1)) {
        buffer.extend_from_slice(piece);
        loop {
            match resp::take_command(&mut buffer, &LIMITS) {
                Ok(Some(command)) => seen.push(command),
                Ok(None) => break,
                Err(error) => return (seen, Some(error)),
            }
        }
        assert!(buffer.len() <= LIMITS.command_bytes_max + 9 * 34, "{} bytes wait", buffer.len());
    }
    (seen, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let whole = commands(bytes, bytes.len());
    assert_eq!(whole, commands(bytes, usize::from(piece)));
    for command in whole.0 {
        assert!(command.len() <= LIMITS.arguments_max);
        let mut reply = resp::Reply::new();
        reply.array(command.len());
        for argument in &command {
            reply.bulk(argument);
        }
        assert_eq!(commands(&reply.done(), 1), (vec![command], None));
    }
    let error = resp::Reply::error(&String::from_utf8_lossy(bytes));
    assert!(error.ends_with(b"\r\n") && error.iter().filter(|&&byte| byte == b'\n').count() == 1);
});
