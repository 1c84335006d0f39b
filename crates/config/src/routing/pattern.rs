//! Regular expressions over paths.

use std::fmt;

use regex::bytes::{Captures, Regex, RegexBuilder};

/// A regular expression that a path matches as a whole. It takes time linear in the path, whatever the path is.
#[derive(Clone)]
pub struct Pattern {
    written: String,
    regex: Regex,
}

/// Why a text is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotAPattern {
    /// In the words of the `regex` crate.
    Unreadable(String),
    /// It would take more memory than a pattern may.
    TooBig,
}

impl Pattern {
    /// Compiles a regular expression that has to match a path as a whole.
    ///
    /// # Errors
    /// If it cannot be read, or would take more than a megabyte when compiled.
    pub fn new(written: &str) -> Result<Self, NotAPattern> {
        // In a group, so that an alternative is anchored at both of its ends. Bytes, for a path need not be UTF-8.
        let regex = RegexBuilder::new(&format!("\\A(?:{written})\\z"))
            .unicode(false)
            .dot_matches_new_line(true)
            .size_limit(COMPILED_BYTES_MAX)
            .build();
        match regex {
            Ok(regex) => Ok(Self { written: written.to_owned(), regex }),
            Err(regex::Error::CompiledTooBig(_)) => Err(NotAPattern::TooBig),
            Err(error) => Err(NotAPattern::Unreadable(error.to_string())),
        }
    }

    /// As the file has it.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// The whole of `path` has to match, as if the pattern stood between `^` and `$`.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.regex.is_match(path)
    }

    /// The groups of a path that matches.
    pub fn captures<'p>(&self, path: &'p [u8]) -> Option<Captures<'p>> {
        self.regex.captures(path)
    }

    /// Groups in parentheses, named ones too; the whole match is none.
    pub fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    /// Whether it has a group of this name, which a template may then put in.
    pub fn has_group(&self, name: &str) -> bool {
        self.regex.capture_names().flatten().any(|group| group == name)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.written).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl Eq for Pattern {}

/// Ordinary patterns take a few kilobytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_the_whole_path() {
        for (pattern, path, want) in [
            ("/a|/b", "/a", true),
            ("/a|/b", "/ax", false),
            ("/a|/b", "/x/b", false),
            (r".*\.(png|jpe?g)", "/i/x.jpeg", true),
            (r".*\.(png|jpe?g)", "/i/x.jpeg/", false),
            (r"(?i)/api/.*", "/API/x", true),
            (r"/\d+", "/12", true),
            ("/.*", "/a\nb", true),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap().matches(path.as_bytes()), want, "{pattern} {path}");
        }
        assert!(Pattern::new("/.*").unwrap().matches(b"/\xff"));
        assert_eq!(Pattern::new("/(a{1000}){1000}").unwrap_err(), NotAPattern::TooBig);
        assert!(matches!(Pattern::new("/(a").unwrap_err(), NotAPattern::Unreadable(_)));
    }
}
