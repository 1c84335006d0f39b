//! Redis' patterns: `*`, `?`, `[abc]`, `[^a-c]`, and `\` before any of them.

/// Comparisons for one name, besides a few for each of its bytes. Nobody else may publish meanwhile; where a pattern needs more
/// than that, it does not match.
const COMPARISONS_MAX: usize = 4 << 20;

/// Whether `text` as a whole matches.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut left = COMPARISONS_MAX + 4 * text.len();
    // Where to go on if what follows the last `*` does not match: behind it, with one byte more swallowed.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        left -= 1;
        if left == 0 {
            return false;
        }
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                if at == pattern.len() {
                    return true;
                }
                retry = Some((at, seen));
                continue;
            }
            Some(_) if seen < text.len() => {
                if let Some(next) = one(pattern, at, text[seen]) {
                    (at, seen) = (next, seen + 1);
                    continue;
                }
            }
            None if seen == text.len() => return true,
            _ => {}
        }
        match &mut retry {
            Some((after_star, swallowed)) if *swallowed < text.len() => {
                *swallowed += 1;
                (at, seen) = (*after_star, *swallowed);
            }
            _ => return false,
        }
    }
}

/// Where the pattern goes on behind the element at `at`, if that element matches `byte`.
fn one(pattern: &[u8], at: usize, byte: u8) -> Option<usize> {
    match pattern[at] {
        b'?' => Some(at + 1),
        b'[' => class(pattern, at + 1, byte),
        b'\\' if at + 1 < pattern.len() => (pattern[at + 1] == byte).then_some(at + 2),
        literal => (literal == byte).then_some(at + 1),
    }
}

fn class(pattern: &[u8], mut at: usize, byte: u8) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match (pattern.get(at), pattern.get(at + 1), pattern.get(at + 2)) {
            // Redis takes a class without end as one that ends with the pattern.
            (None, ..) => break,
            (Some(b']'), ..) => {
                at += 1;
                break;
            }
            (Some(b'\\'), Some(literal), _) => {
                found |= *literal == byte;
                at += 2;
            }
            (Some(from), Some(b'-'), Some(to)) => {
                found |= (*from.min(to)..=*from.max(to)).contains(&byte);
                at += 3;
            }
            (Some(literal), ..) => {
                found |= *literal == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::matches;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} should match {text}");
        }
        for text in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} should not match {text}");
        }
    }

    #[test]
    fn patterns_match_as_in_redis() {
        check(
            "socket.io#/#*",
            &["socket.io#/#", "socket.io#/#room#", "socket.io#/#*"],
            &["socket.io#/", "socket.io#/a#"],
        );
        check("h?llo", &["hello", "hxllo"], &["hllo", "heello"]);
        check("h[ae]llo", &["hello", "hallo"], &["hillo"]);
        check("h[^e]llo", &["hallo"], &["hello"]);
        check("h[a-c]llo", &["hbllo"], &["hdllo"]);
        check("h[c-a]llo", &["hbllo"], &["hdllo"]);
        check(r"a\*b", &["a*b"], &["axb", r"a\*b"]);
        check(r"[\]]", &["]"], &["\\"]);
        check("[a", &["a"], &["b", ""]);
        check("*a*b*", &["ab", "xaxbx"], &["ba"]);
        check("", &[""], &["a"]);
        check("*", &["", "anything"], &[]);
        check("\\", &["\\"], &[""]);
    }

    #[test]
    fn stars_do_not_explode() {
        let pattern = "*a".repeat(50);
        assert!(!matches(pattern.as_bytes(), "a".repeat(49).as_bytes()));
        assert!(!matches((pattern + "b").as_bytes(), "a".repeat(5000).as_bytes()));
        // As long as a command may be. All publishers wait meanwhile, for days if nothing ended it.
        let (pattern, text) = (format!("*{}b", "a".repeat(4 << 20)), "a".repeat(8 << 20));
        assert!(!matches(pattern.as_bytes(), text.as_bytes()));
    }

    #[test]
    fn long_names_match_all_the_same() {
        let name = format!("socket.io#/#{}#", "room".repeat(1 << 20));
        check("socket.io#/#*", &[&name], &[]);
        check("socket.io#*#", &[&name], &[]);
        check("*m#", &[&name], &[]);
        check(&name.replace('#', "\\#"), &[&name], &[]);
    }
}
