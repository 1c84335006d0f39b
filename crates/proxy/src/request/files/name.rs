//! From the path of a request to the name of a file in the folder. Pure.

/// What a path asks for, as seen from the folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    File(String),
    /// The path ends in a slash. The folder itself is empty.
    Folder(String),
    /// Nothing that could be there.
    None,
}

/// The file or folder that the normal form of a path asks for. What is still escaped in it, slashes above all, is
/// in no name; neither is what begins with a dot, but for `.well-known` (RFC 8615).
pub(super) fn of(path: &[u8]) -> Name {
    let Some(path) = path.strip_prefix(b"/") else { return Name::None };
    let (path, is_folder) = match path.strip_suffix(b"/") {
        Some(path) => (path, true),
        None => (path, path.is_empty()),
    };
    let mut name = String::new();
    for segment in path.split(|&byte| byte == b'/') {
        if path.is_empty() {
            break;
        }
        let Some(segment) = decoded(segment) else { return Name::None };
        if segment.is_empty() || (segment.starts_with('.') && segment != ".well-known") {
            return Name::None;
        }
        if !name.is_empty() {
            name.push('/');
        }
        name.push_str(&segment);
    }
    if is_folder { Name::Folder(name) } else { Name::File(name) }
}

/// A segment without the escapes that the normal form leaves: of the percent sign, and of three that are refused.
fn decoded(segment: &[u8]) -> Option<String> {
    let mut out = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match byte {
            b'%' => {
                rest = behind.strip_prefix(b"25")?;
                out.push(b'%');
            }
            0 | b'/' | b'\\' => return None,
            byte => out.push(*byte),
        }
    }
    String::from_utf8(out).ok()
}

/// Whether there is a hash of the content in the name of a file, as build tools put it there: eight or more letters
/// and digits, of both kinds, behind a dot or a dash and in front of the ending. `app.3f2a9c1b.js`,
/// `index-BxYa12Zw.css`.
pub(super) fn holds_hash(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let Some((stem, _)) = file.rsplit_once('.') else { return false };
    // `app.3f2a9c1b.min.js` has it in the middle.
    stem.split(['.', '-']).skip(1).any(|part| {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        part.len() >= HASH_MIN
            && part.bytes().all(is_word)
            && part.bytes().any(|byte| byte.is_ascii_digit())
            && part.bytes().any(|byte| byte.is_ascii_alphabetic())
    })
}

/// esbuild, Vite and Rollup write eight, webpack twenty.
const HASH_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use wire::path;

    use super::*;

    #[test]
    fn a_name_stays_in_its_folder() {
        let file = |name: &str| Name::File(name.to_owned());
        let folder = |name: &str| Name::Folder(name.to_owned());
        for (path, want) in [
            ("/", folder("")),
            ("/a.js", file("a.js")),
            ("/a/", folder("a")),
            ("/a/b%20c", file("a/b c")),
            ("/caf%C3%A9", file("café")),
            ("/100%25", file("100%")),
            ("/a//b", file("a/b")),
            ("/a/../b", file("b")),
            ("/.well-known/acme", file(".well-known/acme")),
            ("/.git/config", Name::None),
            ("/a/.env", Name::None),
            ("/a/..%2fb", Name::None),
            ("/a%2fb", Name::None),
            ("/a%5cb", Name::None),
            ("/a\\b", Name::None),
            ("/a%00", Name::None),
            ("/%252e%252e/b", file("%2e%2e/b")),
            ("/%c0%ae%c0%ae/b", Name::None),
            ("/a/..;/b", Name::None),
            ("*", Name::None),
        ] {
            assert_eq!(of(&path::normal(path.as_bytes())), want, "{path}");
        }
    }

    #[test]
    fn a_hash_is_told_from_a_word() {
        for (name, want) in [
            ("app.3f2a9c1b.js", true),
            ("assets/index-BxYa12Zw.css", true),
            ("app.3f2a9c1b.min.js", true),
            ("chunk-4f8e6d2a9b1c3d5e7f90.js", true),
            ("app.js", false),
            ("jquery-3.7.1.min.js", false),
            ("background-image.png", false),
            ("report-20240131.pdf", false),
            ("3f2a9c1b", false),
        ] {
            assert_eq!(holds_hash(name), want, "{name}");
        }
    }
}
