//! What a row of the tables holds, and what it says.

/// A word of another program.
#[derive(Debug)]
pub(crate) struct Word {
    /// How they spell it, in lower case.
    pub(super) names: &'static [&'static str],
    /// Whose it is.
    pub(super) of: &'static str,
    pub(super) ours: Ours,
}

/// What there is in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ours {
    /// A key: its section, its name, and lines to write.
    Key(&'static str, &'static str, &'static str),
    /// No key, but something to do.
    Instead(&'static str),
}

impl Word {
    /// What is wrong with it; `name` is how the file has it.
    pub(crate) fn message(&self, name: &str) -> String {
        match self.ours {
            Ours::Key("", key, _) => format!("`{name}` is a word of {}; here it is `{key}`", self.of),
            Ours::Key(section, key, _) => {
                format!("`{name}` is a word of {}; here it is `{key}` in `{}`", self.of, header(section))
            }
            Ours::Instead(_) => format!("`{name}` is a word of {}, and no key here", self.of),
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self.ours {
            Ours::Key("", _, lines) => format!("write above the first `[`:\n{lines}"),
            Ours::Key(section, _, lines) => format!("write under `{}`:\n{lines}", header(section)),
            Ours::Instead(what) => what.to_owned(),
        }
    }
}

pub(super) const fn row(names: &'static [&'static str], of: &'static str, ours: Ours) -> Word {
    Word { names, of, ours }
}

/// As the file has it.
fn header(section: &str) -> String {
    match section {
        "listen" | "route" => format!("[[{section}]]"),
        section => format!("[{}]", section.replacen(".nodes", ".NAME", 1).replacen(".chat", ".NAME", 1)),
    }
}

pub(super) const NODES: &str = "nodes = [\"127.0.0.1:3000\"]";
pub(super) const TLS: &str =
    "tls = { certificate = \"certs/example.com.pem\", key = \"certs/example.com.key\" }";
pub(super) const COMMAND: &str = "command = [\"node\", \"index.js\"]";
