//! What names say: of a file, whose it is, and of an app, whether verbs can say it.

/// Which names PM2 takes for its file.
pub(super) fn is_ecosystem(target: &str) -> bool {
    [".config.js", ".config.cjs", ".config.mjs", ".json", ".yml", ".yaml"]
        .iter()
        .any(|end| target.ends_with(end))
}

/// A name has letters, digits, `-`, `_` and `.` only.
pub(crate) fn as_name(stem: &str) -> String {
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let name: String =
        stem.chars().map(|character| if fits(character) { character } else { '-' }).take(64).collect();
    // One that begins like an option cannot be said to a verb, and `all` is all of them.
    match name.trim_start_matches('-') {
        "" => "app".to_owned(),
        "all" => "app-all".to_owned(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_said_to_verbs() {
        for (stem, name) in [
            ("my chat", "my-chat"),
            ("${A}", "A-"),
            ("-x", "x"),
            ("--", "app"),
            ("", "app"),
            ("all", "app-all"),
            ("ü", "app"),
        ] {
            assert_eq!(as_name(stem), name, "{stem}");
        }
    }
}
