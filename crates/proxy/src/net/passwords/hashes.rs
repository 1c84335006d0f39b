//! Whether a password is the one that is stored. Takes long on purpose, and so is called on a thread of its own.

use argon2::Argon2;
use argon2::password_hash::PasswordVerifier;
use argon2::password_hash::phc::PasswordHash;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use config::routing::{Scheme, StoredPassword};
use md5::{Digest, Md5};
use sha_crypt::ShaCrypt;
use sha1::Sha1;

/// Verifies it. What is stored and cannot be read verifies nothing.
pub(super) fn is_right(password: &[u8], stored: &StoredPassword) -> bool {
    let text = stored.text();
    match stored.scheme {
        Scheme::Bcrypt => bcrypt::verify(password, text).unwrap_or(false),
        Scheme::Argon2 => PasswordHash::new(text)
            .is_ok_and(|stored| Argon2::default().verify_password(password, &stored).is_ok()),
        Scheme::ShaCrypt => ShaCrypt::default().verify_password(password, text).is_ok(),
        Scheme::Md5 => {
            md5_crypt(password, text).is_some_and(|made| is_same(made.as_bytes(), text.as_bytes()))
        }
        Scheme::Sha1 => {
            let made = format!("{{SHA}}{}", STANDARD.encode(Sha1::digest(password)));
            is_same(made.as_bytes(), text.as_bytes())
        }
    }
}

/// Compares without telling by the time how much is alike.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// The whole text that a password is stored as, with the salt of another: Poul-Henning Kamp's MD5-crypt (`$1$`), and Apache's, which
/// differs by its name (`$apr1$`).
fn md5_crypt(password: &[u8], stored: &str) -> Option<String> {
    let magic = ["$apr1$", "$1$"].into_iter().find(|magic| stored.starts_with(magic))?;
    let salt = stored[magic.len()..].split('$').next()?;
    let salt = salt.as_bytes().get(..salt.len().min(MD5_SALT_BYTES))?;
    let inner = Md5::digest([password, salt, password].concat());
    let mut first = Md5::new_with_prefix([password, magic.as_bytes(), salt].concat());
    for at in (0..password.len()).step_by(inner.len()) {
        first.update(&inner[..inner.len().min(password.len() - at)]);
    }
    let mut left = password.len();
    while left > 0 {
        first.update(if left & 1 == 1 { &[0] } else { password.get(..1)? });
        left >>= 1;
    }
    let mut digest = first.finalize();
    for round in 0..MD5_ROUNDS {
        let mut next = Md5::new();
        let is_odd = round % 2 == 1;
        next.update(if is_odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if is_odd { &digest[..] } else { password });
        digest = next.finalize();
    }
    let mut text = format!("{magic}{}$", std::str::from_utf8(salt).ok()?);
    // Its bytes in an order of their own, six bits a letter, the lowest first.
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        let word = u32::from(digest[a]) << 16 | u32::from(digest[b]) << 8 | u32::from(digest[c]);
        push_letters(word, 4, &mut text);
    }
    push_letters(digest[11].into(), 2, &mut text);
    Some(text)
}

fn push_letters(mut word: u32, count: usize, text: &mut String) {
    for _ in 0..count {
        text.push(char::from(LETTERS[(word & 0x3f) as usize]));
        word >>= 6;
    }
}

const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const MD5_SALT_BYTES: usize = 8;
const MD5_ROUNDS: usize = 1000;

#[cfg(test)]
mod tests {
    use config::routing::Users;

    use super::*;

    /// What `htpasswd`, `openssl passwd` and `argon2` make of these passwords.
    #[test]
    fn a_password_is_right_or_not() {
        for (password, stored) in [
            ("secret", "$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/"),
            ("a longer password of 40 characters, or so", "$apr1$xy$cQJFfLOBCQ5sUU1I5mtUI/"),
            ("secret", "$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1"),
            ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
            (
                "Hello world!",
                "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            ),
            ("secret", "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="),
            ("secret", "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
            ("secret", "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"),
            (
                "password",
                "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            ),
        ] {
            let users = Users::read(&format!("a:{stored}"), String::new()).unwrap();
            let stored = users.password("a").unwrap();
            assert!(is_right(password.as_bytes(), stored), "{password} {}", stored.text());
            for wrong in ["", "x", &format!("{password}x"), &password.to_uppercase()] {
                let is_it = wrong == password;
                assert_eq!(
                    is_right(wrong.as_bytes(), stored),
                    is_it,
                    "{wrong} for {password} {}",
                    stored.text()
                );
            }
        }
    }

    #[test]
    fn what_is_stored_badly_verifies_nothing() {
        for stored in [
            "$2y$10$x",
            "$apr1$",
            "$apr1$abc",
            "$1$",
            "$5$",
            "$6$rounds=1$",
            "{SHA}",
            "$argon2id$v=19$m=8,t=1,p=1$",
        ] {
            let users = Users::read(&format!("a:{stored}"), String::new()).unwrap();
            assert!(!is_right(b"", users.password("a").unwrap()), "{stored}");
        }
    }
}
