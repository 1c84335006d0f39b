//! The tag behind a session id that names its node. Eight base64url characters, so that a tagged id is still an id
//! to every client; a keyed digest, so that nobody without the secret can choose a node; nothing else, so that any
//! number of tidelocks with the same secret agree without talking.

use std::fmt::Display;
use std::hash::Hasher;

use sha1::{Digest, Sha1};
use siphasher::sip::SipHasher24;

/// 48 bits in base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag([u8; Tag::BYTES]);

impl Tag {
    /// How many characters a tag adds to a session id.
    pub const BYTES: usize = 8;

    /// The characters.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// A tag that stands alone.
    pub fn read(text: &[u8]) -> Option<Self> {
        text.try_into().ok().map(Self)
    }

    /// Takes a tagged id apart. Any id that is longer than a tag comes apart; whether the tag is a node's is for the
    /// caller to look up.
    pub fn split(sid: &[u8]) -> Option<(&[u8], Self)> {
        let (sid, tag) = sid.split_last_chunk()?;
        if sid.is_empty() { None } else { Some((sid, Self(*tag))) }
    }
}

/// Makes tags. Every tidelock that is given the same secret makes the same ones.
#[derive(Clone)]
pub struct Tagger {
    key: [u8; 16],
}

impl std::fmt::Debug for Tagger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tagger(..)")
    }
}

impl Tagger {
    /// The secret may have any length; its digest is the key.
    pub fn new(secret: &[u8]) -> Self {
        let digest: [u8; 20] = Sha1::digest(secret).into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self { key }
    }

    /// The tag of a node: of its upstream, its name as written in the file and the address that name resolved to. For
    /// a process that has no lasting address, of whatever tells it from all others.
    pub fn tag(&self, upstream: &str, written: &str, address: impl Display) -> Tag {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        for part in [upstream, written, &address.to_string()] {
            hasher.write(part.as_bytes());
            // No name holds a NUL, so that no two triples write the same bytes.
            hasher.write_u8(0);
        }
        let mut bits = hasher.finish();
        Tag(std::array::from_fn(|_| {
            let character = ALPHABET[(bits & 63) as usize];
            bits >>= 6;
            character
        }))
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn node(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    /// Tags outlive a version: sessions made by the last one must be found by the next.
    #[test]
    fn a_tag_never_changes() {
        let tag = Tagger::new(b"a secret").tag("nodes", "server1:3000", node(3000));
        assert_eq!(std::str::from_utf8(tag.as_bytes()), Ok("hvOz1A4p"));
    }

    #[test]
    fn every_part_counts() {
        let tagger = Tagger::new(b"a secret");
        let tag = tagger.tag("nodes", "server1:3000", node(3000));
        assert_ne!(tag, tagger.tag("other", "server1:3000", node(3000)));
        assert_ne!(tag, tagger.tag("nodes", "server2:3000", node(3000)));
        assert_ne!(tag, tagger.tag("nodes", "server1:3000", node(3001)));
        assert_ne!(tag, Tagger::new(b"another").tag("nodes", "server1:3000", node(3000)));
    }

    #[test]
    fn splits_what_it_made() {
        let tag = Tagger::new(b"a secret").tag("nodes", "server1:3000", node(3000));
        let tagged = [b"lv_VI97HAXpY6yYWAAAC".as_slice(), tag.as_bytes()].concat();
        assert_eq!(Tag::split(&tagged), Some((b"lv_VI97HAXpY6yYWAAAC".as_slice(), tag)));
        assert_eq!(Tag::split(tag.as_bytes()), None);
    }
}
