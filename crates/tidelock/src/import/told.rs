//! What there is to say of an app beside its tables. All of it may be somebody else's words, and is made harmless here.

/// By how much it matters.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// It runs otherwise than under PM2.
    pub(super) left: Vec<String>,
    /// It is as under PM2, and worth knowing.
    pub(super) notes: Vec<String>,
    /// It does not run here at all.
    pub(super) broken: Vec<String>,
}

impl Told {
    pub(super) fn left(&mut self, what: impl AsRef<str>) {
        self.left.push(line(what.as_ref()));
    }

    pub(super) fn note(&mut self, what: impl AsRef<str>) {
        self.notes.push(line(what.as_ref()));
    }

    pub(super) fn broken(&mut self, what: impl AsRef<str>) {
        self.broken.push(line(what.as_ref()));
    }
}

/// In one line of a comment, and on a terminal.
pub(super) fn line(text: &str) -> String {
    let harmless = |character: char| if character.is_control() { ' ' } else { character };
    let mut line: String = text.chars().take(LETTERS_MAX).map(harmless).collect();
    if text.chars().nth(LETTERS_MAX).is_some() {
        line.push('…');
    }
    line
}

const LETTERS_MAX: usize = 400;
