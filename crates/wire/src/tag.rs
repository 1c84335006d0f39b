//! The tag behind a session id that says which node the session is on, and proves it. Eight base64url characters, so that
//! a tagged id is still an id to every client. Two of them are a hint, a keyed digest of the node; six are a message
//! authentication code over the node and the session's id, so that one session's tag says nothing about another, and
//! nobody without the secret can make one. Nothing else, so that any number of tidelocks with the same secret agree
//! without talking.
//!
//! A [`Pin`] is the same for what is no session: it proves its node alone, and is never taken for a tag. It is a cookie's
//! value, or stands behind one that the node gave the cookie.

use std::hash::Hasher;

use sha1::{Digest, Sha1};
use siphasher::sip::SipHasher24;

/// 48 bits in base64url: 12 of the hint, 36 of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tag([u8; Tag::BYTES]);

/// 72 bits in base64url: 12 of the hint, 60 of the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; Pin::BYTES]);

/// Which node it may be. Of 1,000 nodes some 115 pairs share a hint, so that each candidate has to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hint([u8; Hint::BYTES]);

impl Hint {
    const BYTES: usize = 2;

    /// How many buckets [`bucket`](Self::bucket) tells apart: one for each value of twelve bits.
    pub const BUCKETS: usize = 1 << 12;

    /// Where what has this hint is looked for. A few hints share a bucket, which costs those who look there nothing
    /// but another try.
    pub fn bucket(self) -> usize {
        let [first, second] = self.0;
        usize::from(first & 63) << 6 | usize::from(second & 63)
    }
}

impl Tag {
    /// How many characters a tag adds to a session id.
    pub const BYTES: usize = 8;

    /// The characters as they stand behind a session id; all of them may stand in a query.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Takes a tagged id apart. Any id that ends like one comes apart; whether the tag is true is for a [`Seal`] to say.
    pub fn split(sid: &[u8]) -> Option<(&[u8], Self)> {
        let (sid, tag) = sid.split_last_chunk()?;
        (!sid.is_empty() && tag.iter().all(|&byte| is_base64url(byte))).then_some((sid, Self(*tag)))
    }

    /// The part that is looked up first: it leads to the few nodes that may have made it.
    pub fn hint(&self) -> Hint {
        Hint([self.0[0], self.0[1]])
    }
}

impl Pin {
    /// How many characters a pin takes in a cookie, without the mark in front.
    pub const BYTES: usize = 12;

    /// What stands between a node's own value and the pin.
    pub const MARK: u8 = b'.';

    /// The characters as they stand in a cookie; all of them may stand there without quotes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Takes the value of a cookie apart: the node's own value, empty where the pin stands alone, and the pin. `None` if
    /// it cannot end in one. Whether the pin is true is for a [`Seal`] to say.
    pub fn split(value: &[u8]) -> Option<(&[u8], Self)> {
        let (own, pin) = value.split_last_chunk()?;
        // Without the mark a node's own value that is long enough would be taken for a pin, and lose its end.
        let own = if own.is_empty() {
            own
        } else {
            own.strip_suffix(&[Self::MARK]).filter(|own| !own.is_empty())?
        };
        pin.iter().all(|&byte| is_base64url(byte)).then_some((own, Self(*pin)))
    }

    /// The part that is looked up first: it leads to the few nodes that may have made it.
    pub fn hint(&self) -> Hint {
        Hint([self.0[0], self.0[1]])
    }
}

/// A secret, from which the codes of all nodes follow. Every tidelock that is given the same one makes the same ones.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// The secret may have any length; its digest is the key.
    pub fn new(secret: &[u8]) -> Self {
        let digest: [u8; 20] = Sha1::digest(secret).into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }

    /// What this key makes for a node. `place` is what tells the node from all others, the same on every tidelock:
    /// its address, or its process.
    pub fn seal(&self, place: &str) -> Seal {
        let hint = letters(self.digest("node", place).finish());
        let mut pin = [0; Pin::BYTES];
        let code: [u8; Pin::BYTES - Hint::BYTES] = letters(self.digest("pin", place).finish());
        pin[..Hint::BYTES].copy_from_slice(&hint);
        pin[Hint::BYTES..].copy_from_slice(&code);
        Seal { hint: Hint(hint), sessions: self.digest("session", place), pin: Pin(pin) }
    }

    /// Four characters that tell this key from another one, and nothing about either.
    pub fn name(&self) -> [u8; 4] {
        letters(self.digest("key", "").finish())
    }

    /// A digest that has taken in what it is for, and for which node. Neither holds a NUL, so that no two pairs write
    /// the same bytes.
    fn digest(&self, purpose: &str, place: &str) -> SipHasher24 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        for part in [purpose, place] {
            hasher.write(part.as_bytes());
            hasher.write_u8(0);
        }
        hasher
    }
}

/// Makes the tags and the pin of one node under one key, and tells whether they are true.
#[derive(Clone)]
pub struct Seal {
    hint: Hint,
    sessions: SipHasher24,
    pin: Pin,
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal(..)")
    }
}

impl Seal {
    /// What every tag and pin of the node begins with, by which the node is found without trying all.
    pub fn hint(&self) -> Hint {
        self.hint
    }

    /// The tag of the session that the node calls `sid`.
    pub fn tag(&self, sid: &[u8]) -> Tag {
        let mut hasher = self.sessions;
        hasher.write(sid);
        let code: [u8; Tag::BYTES - Hint::BYTES] = letters(hasher.finish());
        let mut tag = [0; Tag::BYTES];
        tag[..Hint::BYTES].copy_from_slice(&self.hint.0);
        tag[Hint::BYTES..].copy_from_slice(&code);
        Tag(tag)
    }

    /// Whether `tag` is that of the session `sid` on this node. Takes as long for any wrong tag.
    pub fn proves(&self, sid: &[u8], tag: &Tag) -> bool {
        is_equal(self.tag(sid).as_bytes(), tag.as_bytes())
    }

    /// The pin of the node, the same for everybody.
    pub fn pin(&self) -> &Pin {
        &self.pin
    }

    /// Whether `pin` is this node's. Takes as long for any wrong pin.
    pub fn holds(&self, pin: &Pin) -> bool {
        is_equal(self.pin.as_bytes(), pin.as_bytes())
    }
}

/// In a time that does not depend on where the two differ.
fn is_equal<const N: usize>(a: &[u8; N], b: &[u8; N]) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b))) == 0
}

fn letters<const N: usize>(mut bits: u64) -> [u8; N] {
    std::array::from_fn(|_| {
        let letter = ALPHABET[(bits & 63) as usize];
        bits >>= 6;
        letter
    })
}

fn is_base64url(byte: u8) -> bool {
    IS_BASE64URL[usize::from(byte)]
}

/// Every request of a session has a tag's characters looked at, and one of a pinned client a pin's.
const IS_BASE64URL: [bool; 256] = {
    let mut is = [false; 256];
    let mut at = 0;
    while at < ALPHABET.len() {
        is[ALPHABET[at] as usize] = true;
        at += 1;
    }
    is
};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    const SID: &[u8] = b"lv_VI97HAXpY6yYWAAAC";
    const PLACE: &str = "tcp:10.0.0.1:3000";

    /// Tags and pins outlive a version: what was made by the last one must be found by the next.
    #[test]
    fn what_is_made_never_changes() {
        let key = Key::new(b"a secret");
        let seal = key.seal(PLACE);
        assert_eq!(std::str::from_utf8(seal.tag(SID).as_bytes()), Ok("410dmv4E"));
        assert_eq!(std::str::from_utf8(seal.pin().as_bytes()), Ok("41KtHgeeIcT5"));
        assert_eq!(std::str::from_utf8(&key.name()), Ok("hPyq"));
    }

    #[test]
    fn a_tag_proves_its_session_on_its_node_and_nothing_else() {
        let seal = Key::new(b"a secret").seal(PLACE);
        let tag = seal.tag(SID);
        assert!(seal.proves(SID, &tag));
        for (secret, place, sid) in [
            (&b"a secret"[..], PLACE, &b"lv_VI97HAXpY6yYWAAAD"[..]),
            (b"a secret", PLACE, b""),
            (b"a secret", "tcp:10.0.0.1:3001", SID),
            (b"another", PLACE, SID),
        ] {
            assert!(!Key::new(secret).seal(place).proves(sid, &tag), "{place} {sid:?}");
        }
    }

    #[test]
    fn a_tag_with_one_letter_changed_proves_nothing() {
        let seal = Key::new(b"a secret").seal(PLACE);
        let tag = seal.tag(SID);
        for at in 0..Tag::BYTES {
            let mut forged = tag;
            forged.0[at] = if forged.0[at] == b'A' { b'B' } else { b'A' };
            assert!(!seal.proves(SID, &forged), "letter {at}");
        }
    }

    #[test]
    fn a_pin_is_no_tag() {
        let seal = Key::new(b"a secret").seal(PLACE);
        assert!(seal.holds(&Pin::split(seal.pin().as_bytes()).unwrap().1));
        // Whatever is made of a pin's letters, behind whatever id, is not what a session would have.
        let pin = seal.pin().as_bytes();
        let (sid, tag) = Tag::split(pin).unwrap();
        assert!(!seal.proves(sid, &tag));
        assert!(!seal.proves(SID, &Tag(*pin.first_chunk().unwrap())));
    }

    #[test]
    fn a_pin_stands_alone_or_behind_a_value() {
        let check = |value: &str, own: Option<&str>| {
            let split = Pin::split(value.as_bytes()).map(|(own, _)| std::str::from_utf8(own).unwrap());
            assert_eq!(split, own, "{value}");
        };
        check("41KtHgeeIcT5", Some(""));
        check("dark.41KtHgeeIcT5", Some("dark"));
        check("a.b.c.41KtHgeeIcT5", Some("a.b.c"));
        for none in [
            "",
            "dark",
            "1KtHgeeIcT5",
            "41KtHgeeIcT5A",
            ".41KtHgeeIcT5",
            "dark.1KtHgeeIcT5",
            "d.41KtHgeeIc%5",
        ] {
            check(none, None);
        }
    }

    #[test]
    fn splits_what_it_made() {
        let tag = Key::new(b"a secret").seal(PLACE).tag(SID);
        let tagged = [SID, tag.as_bytes()].concat();
        assert_eq!(Tag::split(&tagged), Some((SID, tag)));
        assert_eq!(Tag::split(tag.as_bytes()), None);
        assert_eq!(Tag::split(b"a session without a tag."), None);
    }
}
