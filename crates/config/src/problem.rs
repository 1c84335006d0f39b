//! Everything that is wrong with a file, said in one go: what, where, and what to write instead.
//! Knows text and spans, nothing of keys or plans.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

/// What is wrong with a file, in its order, ready to be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Report {
    origin: String,
    text: String,
    problems: Vec<Problem>,
}

/// One thing to say about the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// An error stops the file from being used; a warning does not.
    pub severity: Severity,
    /// What is wrong, in a line without a full stop.
    pub message: String,
    /// Which bytes of the file are meant; `None` when what is wrong is that something is not there.
    pub span: Option<Range<usize>>,
    /// Other places that have to do with it, and what each of them is.
    pub related: Vec<(Range<usize>, String)>,
    /// What to do about it; may have several lines.
    pub hint: Option<String>,
}

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Probably not what was meant; the file is used.
    Warning,
    /// The file cannot be used.
    Error,
}

impl Report {
    /// Puts the problems in the order of the file; what points nowhere comes last.
    pub(crate) fn new(origin: &Path, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(place);
        Self { origin: origin.display().to_string(), text: text.to_owned(), problems }
    }

    /// Puts one more problem where it belongs in the order of the file.
    pub(crate) fn push(&mut self, problem: Problem) {
        let at = self.problems.partition_point(|other| place(other) <= place(&problem));
        self.problems.insert(at, problem);
    }

    /// The problems, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// True if there is neither an error nor a warning.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Each problem with its file, line, column, source line, caret and hint, a blank line between two of them;
    /// with ANSI colours if asked. Beyond the first hundred, errors before others, there is only their number. Ends with
    /// a line feed unless it is empty.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let (shown, more) = self.shown();
        let mut rendered: Vec<String> =
            shown.into_iter().map(|problem| renderer.render(&[self.snippet(problem)]) + "\n").collect();
        if more > 0 {
            rendered.push(format!("and {more} more; correct these first\n"));
        }
        rendered.join("\n")
    }

    /// Those that are shown, in the order of the file, and how many are not. To show one costs as much as the text is
    /// long, and nobody reads thousands.
    fn shown(&self) -> (Vec<&Problem>, usize) {
        let more = self.problems.len().saturating_sub(SHOWN_MAX);
        if more == 0 {
            return (self.problems.iter().collect(), 0);
        }
        let is_error = |problem: &&Problem| problem.severity == Severity::Error;
        let errors = self.problems.iter().filter(is_error).count().min(SHOWN_MAX);
        let (mut errors, mut others) = (errors, SHOWN_MAX - errors);
        let mut fits = |problem: &&Problem| {
            let room = if is_error(problem) { &mut errors } else { &mut others };
            let fits = *room > 0;
            *room -= usize::from(fits);
            fits
        };
        (self.problems.iter().filter(|problem| fits(problem)).collect(), more)
    }

    fn snippet<'r>(&'r self, problem: &'r Problem) -> Group<'r> {
        let level = match problem.severity {
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let group = level.primary_title(&*problem.message);
        let group = match &problem.span {
            Some(span) => group.element(
                Snippet::source(&*self.text)
                    .path(&*self.origin)
                    .annotation(AnnotationKind::Primary.span(span.clone()))
                    .annotations(
                        problem
                            .related
                            .iter()
                            .map(|(span, label)| AnnotationKind::Context.span(span.clone()).label(&**label)),
                    ),
            ),
            None => group.element(Origin::path(&*self.origin)),
        };
        match &problem.hint {
            Some(hint) => group.element(Level::HELP.message(&**hint)),
            None => group,
        }
    }
}

fn place(problem: &Problem) -> (usize, usize) {
    problem.span.as_ref().map_or((usize::MAX, usize::MAX), |span| (span.start, span.end))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl fmt::Debug for Report {
    // What a failed `expect` prints is then what a person would have read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl std::error::Error for Report {}

impl Problem {
    pub(crate) fn error(span: impl Into<Option<Range<usize>>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, span.into(), message.into())
    }

    pub(crate) fn warning(span: impl Into<Option<Range<usize>>>, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, span.into(), message.into())
    }

    fn new(severity: Severity, span: Option<Range<usize>>, message: String) -> Self {
        Self { severity, message, span, related: Vec::new(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }
}

/// Where readers put what they find while they go on reading. Shared, because a section and the sections in it
/// read side by side.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    found: RefCell<Vec<Problem>>,
    errors: Cell<usize>,
    /// How many names the wrong ones were compared with.
    compared: Cell<usize>,
}

impl Problems {
    pub(crate) fn push(&self, problem: Problem) {
        self.errors.set(self.errors.get() + usize::from(problem.severity == Severity::Error));
        self.found.borrow_mut().push(problem);
    }

    /// Warnings are not among them.
    pub(crate) fn errors(&self) -> usize {
        self.errors.get()
    }

    /// Whether a name that is wrong may be compared with `count` others, to find which was meant. Each comparison
    /// costs the product of two lengths, and a file may have as many mistakes as names.
    pub(crate) fn may_compare(&self, count: usize) -> bool {
        let compared = self.compared.get().saturating_add(count);
        self.compared.set(compared);
        compared <= COMPARED_MAX
    }

    pub(crate) fn into_vec(self) -> Vec<Problem> {
        self.found.into_inner()
    }
}

/// More are counted.
const SHOWN_MAX: usize = 100;
/// A thousand names are looked through for as many mistakes as are shown, which takes a twentieth of a second.
const COMPARED_MAX: usize = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_are_shown_and_the_rest_is_counted() {
        let text = "a = 1\n".repeat(1000);
        let at = |line: usize| line * 6..line * 6 + 1;
        let mut problems: Vec<_> = (0..500).map(|line| Problem::warning(at(line), "odd")).collect();
        problems.extend((500..540).map(|line| Problem::error(at(line), "wrong")));
        let said = Report::new(Path::new("file"), &text, problems).render(false);
        let count = |what: &str| said.matches(what).count();
        assert_eq!((count("error: wrong"), count("warning: odd")), (40, 60));
        assert!(said.ends_with("\n\nand 440 more; correct these first\n"), "{said}");
        let hundred = (0..100).map(|line| Problem::error(at(line), "wrong")).collect();
        let said = Report::new(Path::new("file"), &text, hundred).render(false);
        assert_eq!((said.matches("error: wrong").count(), said.contains(" more")), (100, false));
    }
}
