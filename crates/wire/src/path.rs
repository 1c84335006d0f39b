//! The path of a request as routes see it. A node gets what the client sent; but whoever writes a route for `/admin` means
//! every way to spell it that a node takes for `/admin` (RFC 3986 section 6.2.2).

use std::borrow::Cow;

/// The normal form of a path: escapes decoded, slashes merged, and then dot segments resolved, those that lead above the
/// root left out. Escaped slashes, backslashes and NULs stay escaped, for nodes disagree on what they are, and so does the
/// percent sign, so that nothing else looks like them; one that escapes nothing counts as escaped. The normal form of a
/// normal form is itself. What does not begin with a slash is no path and stays as it is.
///
/// Borrows where there is nothing to do, which [`is_plain`] tells.
pub fn normal(path: &[u8]) -> Cow<'_, [u8]> {
    match is_plain(path) {
        true => Cow::Borrowed(path),
        false => Cow::Owned(Normal::of(path).path),
    }
}

/// Whether nodes may disagree on what a path means: it holds a slash, a backslash or a NUL in an escape, a
/// backslash, an escape that is none, dot segments that lead above the root, or one with a parameter (`..;`, which
/// some servers take for `..`).
pub fn is_ambiguous(path: &[u8]) -> bool {
    path.contains(&b'\\') || (!is_plain(path) && Normal::of(path).is_ambiguous)
}

/// Whether a path is its own normal form for a simple reason: there is neither `%` nor `//` nor `/.` in it. Asked
/// of nearly every path, hence eight bytes at a time, of which the first is the last of those before.
#[inline]
pub fn is_plain(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return true;
    }
    let Some(last) = path.last_chunk() else {
        return !path.contains(&b'%') && !path.windows(2).any(|two| matches!(two, b"//" | b"/."));
    };
    let mut rest = path;
    while let Some(eight) = rest.first_chunk() {
        if !is_plain_here(eight) {
            return false;
        }
        rest = &rest[7..];
    }
    is_plain_here(last)
}

/// Whether there is neither `%` nor `//` nor `/.` in eight bytes.
#[inline]
fn is_plain_here(eight: &[u8; 8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let word = u64::from_le_bytes(*eight);
    // The highest bit of each byte that is this one; and of one above it now and then, which costs a second look.
    let is = |byte: u8| {
        let zero_there = word ^ (ONES * u64::from(byte));
        zero_there.wrapping_sub(ONES) & !zero_there & (ONES << 7)
    };
    let (slashes, dots) = (is(b'/'), is(b'.'));
    is(b'%') | (slashes << 8 & (slashes | dots)) == 0
}

/// A normal form in the making.
struct Normal {
    path: Vec<u8>,
    /// Where the segment begins that is being read, behind its slash.
    segment_at: usize,
    is_ambiguous: bool,
}

impl Normal {
    fn of(path: &[u8]) -> Self {
        let mut normal =
            Self { path: Vec::with_capacity(path.len() + 2), segment_at: 1, is_ambiguous: false };
        normal.path.push(b'/');
        let mut rest = path.get(1..).unwrap_or_default();
        while let [byte, behind @ ..] = rest {
            rest = behind;
            match byte {
                b'/' => normal.end_segment(true),
                b'%' => match decoded(behind) {
                    Some(byte) => {
                        rest = &behind[2..];
                        normal.push_escaped(byte);
                    }
                    None => {
                        normal.is_ambiguous = true;
                        normal.path.extend_from_slice(b"%25");
                    }
                },
                &byte => normal.path.push(byte),
            }
        }
        normal.end_segment(false);
        normal
    }

    fn push_escaped(&mut self, byte: u8) {
        let stays: &[u8] = match byte {
            b'/' => b"%2F",
            b'\\' => b"%5C",
            0 => b"%00",
            b'%' => b"%25",
            byte => return self.path.push(byte),
        };
        self.is_ambiguous |= byte != b'%';
        self.path.extend_from_slice(stays);
    }

    fn end_segment(&mut self, at_slash: bool) {
        match &self.path[self.segment_at..] {
            // A second slash.
            b"" => return,
            b"." => return self.path.truncate(self.segment_at),
            b".." => return self.leave(),
            segment => self.is_ambiguous |= segment.starts_with(b".;") || segment.starts_with(b"..;"),
        }
        if at_slash {
            self.path.push(b'/');
            self.segment_at = self.path.len();
        }
    }

    /// To the folder above; there is none above the root.
    fn leave(&mut self) {
        let folder = &self.path[..self.segment_at - 1];
        match folder.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => self.segment_at = slash + 1,
            None => self.is_ambiguous = true,
        }
        self.path.truncate(self.segment_at);
    }
}

/// The byte that two hexadecimal digits stand for.
fn decoded(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A path as it is sent, our normal form, and nginx's (1.22, `$uri`), or `400`.
    ///
    /// Where they differ nginx decodes what nodes disagree on, so that a request for `/x/..%2fadmin` is one for `/admin`
    /// there and none for a node that does not decode slashes; ours stays what it is, and `paths = "strict"` refuses it.
    /// And nginx refuses what is merely odd, of which a node may make what it likes: that is strict here, too.
    const BESIDE_NGINX: &[(&str, &str, &str)] = &[
        ("/admin", "/admin", "/admin"),
        ("/%61dmin", "/admin", "/admin"),
        ("/%61DMIN", "/aDMIN", "/aDMIN"),
        ("/ADMIN", "/ADMIN", "/ADMIN"),
        ("//admin", "/admin", "/admin"),
        ("///admin//x", "/admin/x", "/admin/x"),
        ("/admin//", "/admin/", "/admin/"),
        ("//", "/", "/"),
        ("/x/../admin", "/admin", "/admin"),
        ("/x/%2e%2e/admin", "/admin", "/admin"),
        ("/x/%2E./admin", "/admin", "/admin"),
        ("/x//../admin", "/admin", "/admin"),
        ("/x/./../admin", "/admin", "/admin"),
        ("/x/..//admin", "/admin", "/admin"),
        ("/./admin", "/admin", "/admin"),
        ("/%2e/admin", "/admin", "/admin"),
        ("/x/%2e%2e/%61dmin/%2e", "/admin/", "/admin/"),
        ("/admin/.", "/admin/", "/admin/"),
        ("/admin/./", "/admin/", "/admin/"),
        ("/admin/..", "/", "/"),
        ("/a/%2e%2e", "/", "/"),
        ("/x/..", "/", "/"),
        ("/.", "/", "/"),
        ("/.../admin", "/.../admin", "/.../admin"),
        ("/.admin", "/.admin", "/.admin"),
        ("/..admin", "/..admin", "/..admin"),
        ("/x/..admin", "/x/..admin", "/x/..admin"),
        ("/admin.", "/admin.", "/admin."),
        ("/admin/...", "/admin/...", "/admin/..."),
        ("/admin;x", "/admin;x", "/admin;x"),
        ("/admin/..;/x", "/admin/..;/x", "/admin/..;/x"),
        ("/..;/admin", "/..;/admin", "/..;/admin"),
        ("/admin%3fx", "/admin?x", "/admin?x"),
        ("/admin%23x", "/admin#x", "/admin#x"),
        ("/admin%20x", "/admin x", "/admin x"),
        ("/admin+x", "/admin+x", "/admin+x"),
        ("/admin%c3%a9", "/admin\u{e9}", "/admin\u{e9}"),
        ("/a%01b", "/a\x01b", "/a\x01b"),
        ("/admin\\x", "/admin\\x", "/admin\\x"),
        ("/x\\..\\admin", "/x\\..\\admin", "/x\\..\\admin"),
        // A slash in an escape: nodes disagree whether it ends a segment.
        ("/admin%2fx", "/admin%2Fx", "/admin/x"),
        ("/%2fadmin", "/%2Fadmin", "/admin"),
        ("/x/..%2fadmin", "/x/..%2Fadmin", "/admin"),
        ("/x%2f..%2fadmin", "/x%2F..%2Fadmin", "/admin"),
        ("/.%2fadmin", "/.%2Fadmin", "/admin"),
        ("/admin/%2e%2e%2fx", "/admin/..%2Fx", "/x"),
        ("/a%2F%2fb", "/a%2F%2Fb", "/a/b"),
        // A backslash: some nodes take it for a slash.
        ("/admin%5cx", "/admin%5Cx", "/admin\\x"),
        ("/x%5c..%5cadmin", "/x%5C..%5Cadmin", "/x\\..\\admin"),
        // The percent sign stays escaped, or these would look like those above.
        ("/admin%2500", "/admin%2500", "/admin%00"),
        ("/admin%252fx", "/admin%252fx", "/admin%2fx"),
        ("/%2561dmin", "/%2561dmin", "/%61dmin"),
        // What nginx refuses.
        ("/admin%00", "/admin%00", "400"),
        ("/admin%00/x", "/admin%00/x", "400"),
        ("/admin%", "/admin%25", "400"),
        ("/admin%zz", "/admin%25zz", "400"),
        ("/%%361dmin", "/%2561dmin", "400"),
        ("/..", "/", "400"),
        ("/../admin", "/admin", "400"),
        ("/%2e%2e/admin", "/admin", "400"),
        ("/a/../../admin", "/admin", "400"),
        ("/a/..//..", "/", "400"),
    ];

    #[test]
    fn routes_see_what_nginx_sees_or_there_is_a_reason() {
        for &(sent, ours, nginxs) in BESIDE_NGINX {
            assert_eq!(String::from_utf8_lossy(&normal(sent.as_bytes())), ours, "{sent}");
            // Whatever is decided otherwise can be refused.
            let is_reasoned = ours == nginxs || is_ambiguous(sent.as_bytes()) || sent.contains("%25");
            assert!(is_reasoned, "{sent}: {nginxs}");
        }
    }

    #[test]
    fn what_nodes_may_disagree_on_is_ambiguous() {
        for path in [
            "/a%2fb",
            "/a%5Cb",
            "/a\\b",
            "/%00",
            "/a%",
            "/a%zz",
            "/a%4",
            "/..",
            "/a/../..",
            "/%2e%2e/a",
            "/..;/a",
            "/a/.;x/b",
            "/a/%2e%2e;a=b",
        ] {
            assert!(is_ambiguous(path.as_bytes()), "{path}");
        }
        for path in
            ["/", "/a/b", "/a//b", "/a/./b", "/a/../b", "/%61", "/a%25b", "/a;x", "/.well-known/x", "*"]
        {
            assert!(!is_ambiguous(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn a_path_is_plain_if_it_looks_so_to_the_eye() {
        let mut dice = fastrand_like(7);
        for _ in 0..20_000 {
            let length = dice() % 40;
            let path: Vec<u8> =
                std::iter::once(b'/').chain((0..length).map(|_| b"aaaaaaab/%.0"[dice() % 12])).collect();
            let looks = !path.contains(&b'%') && !path.windows(2).any(|two| matches!(two, b"//" | b"/."));
            assert_eq!(is_plain(&path), looks, "{}", path.escape_ascii());
        }
    }

    /// Numbers that look random, the same in each run.
    fn fastrand_like(mut seed: u64) -> impl FnMut() -> usize {
        move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize
        }
    }

    #[test]
    fn a_plain_path_is_its_own() {
        for path in ["/", "/a", "/socket.io/", "/a/b.c/d", "*", ""] {
            assert!(
                matches!(normal(path.as_bytes()), Cow::Borrowed(same) if same == path.as_bytes()),
                "{path}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own(path in "/([a./%\\\\;0-9F]|%2[eEfF5]|%5[cC]|%00|%61){0,30}") {
            let once = normal(path.as_bytes()).into_owned();
            prop_assert_eq!(normal(&once), &once[..], "{}", path);
            prop_assert!(once.starts_with(b"/"));
            prop_assert!(!once.windows(2).any(|two| two == b"//"));
            prop_assert!(!once.split(|&byte| byte == b'/').any(|segment| segment == b"." || segment == b".."));
        }

        #[test]
        fn garbage_never_panics(path in proptest::collection::vec(any::<u8>(), 0..60)) {
            let path = [b"/".as_slice(), &path].concat();
            let once = normal(&path).into_owned();
            prop_assert_eq!(normal(&once), &once[..]);
            is_ambiguous(&path);
        }
    }
}
