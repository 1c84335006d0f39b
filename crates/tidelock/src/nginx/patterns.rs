//! nginx's expressions as ours, which the whole of a path matches.

/// What nginx searches for in a path, as an expression that the whole path matches.
pub(super) fn whole(pattern: &str, is_any_case: bool) -> String {
    let case = if is_any_case { "(?i)" } else { "" };
    let pattern = &without_looking_ahead(pattern);
    let has_choice = has_choice(pattern);
    let begins = pattern.starts_with('^') && !has_choice;
    let ends = pattern.ends_with('$') && !pattern.ends_with("\\$") && !has_choice;
    match (begins, ends) {
        (true, true) => format!("{case}{}", &pattern[1..pattern.len() - 1]),
        (true, false) => format!("{case}{}.*", &pattern[1..]).replace(".*.*", ".*").replace("(.*).*", "(.*)"),
        (false, true) => format!("{case}.*?{}", &pattern[..pattern.len() - 1]),
        (false, false) if !has_choice => format!("{case}.*?{pattern}.*").replace("(.*).*", "(.*)"),
        (false, false) => format!("{case}.*?(?:{pattern}).*"),
    }
}

/// Whether an alternative divides the whole of a pattern.
fn has_choice(pattern: &str) -> bool {
    let mut depth = 0_usize;
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => drop(rest.next()),
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => return true,
            _ => {}
        }
    }
    false
}

/// `/\.(?!well-known)` at its end without looking ahead, which the `regex` crate cannot: all that goes on in another way.
fn without_looking_ahead(pattern: &str) -> String {
    let bare = pattern.strip_suffix(".*").unwrap_or(pattern);
    let split = bare.strip_suffix(')').and_then(|bare| bare.split_once("(?!"));
    let Some((before, word)) =
        split.filter(|(_, word)| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
    else {
        return pattern.to_owned();
    };
    let other = word.chars().rev().fold(String::new(), |inner, c| format!("(?:[^{c}].*|{c}{inner})?"));
    format!("{before}{other}$")
}

/// A path as an expression.
pub(super) fn escaped(path: &str) -> String {
    let mut escaped = String::new();
    for c in path.chars() {
        if ".+*?()|[]{}^$\\#&-~".contains(c) && c != '-' && c != '~' && c != '#' && c != '&' {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_the_whole_path() {
        for (theirs, ours) in [
            ("^/a/(.*)$", "/a/(.*)"),
            ("^/a", "/a.*"),
            ("^/a/(.*)", "/a/(.*)"),
            (r"\.php$", r".*?\.php"),
            (r"/\.git", r".*?/\.git.*"),
            ("^(/a|/b)", "(/a|/b).*"),
            (r"\.(js|css)$", r".*?\.(js|css)"),
            ("^/a|/b$", ".*?(?:^/a|/b$).*"),
            (r"/\.(?!we)", r".*?/\.(?:[^w].*|w(?:[^e].*|e)?)?"),
        ] {
            assert_eq!(whole(theirs, false), ours, "{theirs}");
        }
        assert_eq!(escaped("/socket.io"), r"/socket\.io");
    }
}
