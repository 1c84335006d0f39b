//! Whether what is written somewhere has colours, and which. A person who has set `NO_COLOR` (no-color.org), or whose terminal
//! is `dumb`, sees none, and neither does a pipe or a file.

use std::io::IsTerminal;

/// A terminal gets them, unless NO_COLOR is set or TERM is `dumb`.
pub(crate) fn is_wanted(stream: &impl IsTerminal) -> bool {
    let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|said| !said.is_empty());
    stream.is_terminal() && !is_unwanted && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Well, on its way, wrong, or of no more interest.
pub(crate) const GREEN: &str = "32";
pub(crate) const YELLOW: &str = "33";
pub(crate) const RED: &str = "31";
pub(crate) const DIM: &str = "2";
pub(crate) const BOLD: &str = "1";

/// `text` in a colour, by its number in SGR.
pub(crate) fn paint(text: &str, colour: &str) -> String {
    format!("\x1b[{colour}m{text}\x1b[0m")
}
