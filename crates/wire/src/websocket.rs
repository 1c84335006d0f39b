//! The WebSocket opening handshake, as far as a proxy must check it (RFC 6455 section 4).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

use crate::malformed::Malformed;

/// A key is the base64 of 16 bytes: 22 characters and two of padding. Nodes compute their answer from the text, so
/// that bits which decoding would throw away do not matter to anyone.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Malformed> {
    match key {
        [characters @ .., b'=', b'='] if characters.len() == 22 && characters.iter().all(is_base64) => Ok(()),
        _ => Err(Malformed::WebSocketKey),
    }
}

fn is_base64(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// The Sec-WebSocket-Accept that answers `key` (RFC 6455 section 4.2.2, item 5.4).
pub fn accept_for(key: &[u8]) -> [u8; 28] {
    let digest =
        Sha1::new().chain_update(key).chain_update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    let mut accept = [0; 28];
    STANDARD.encode_slice(digest, &mut accept).expect("20 bytes are 28 characters of base64");
    accept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455_section_1_3() {
        assert_eq!(&accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(check_key(b"dGhlIHNhbXBsZSBub25jZQ=="), Ok(()));
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for bad in ["", "dGhl", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZTEyMw==", "!!!!"] {
            assert_eq!(check_key(bad.as_bytes()), Err(Malformed::WebSocketKey), "{bad}");
        }
    }
}
