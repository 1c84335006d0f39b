//! What is wrong with a file that is no TOML, and what to write instead. The parser knows what it did not find; what
//! somebody meant is seen by the line it is in, and sometimes by the whole: it may be the file of another program.

use std::ops::Range;

use toml::de::{DeTable, Error};

use super::foreign;
use crate::problem::Problem;

/// Problems for a text that cannot be parsed: never none for an error, and one for each line, since the parser
/// finds several things wrong with what is one mistake.
pub(crate) fn explain(text: &str, errors: &[Error]) -> Vec<Problem> {
    if let Some(problem) = another_format(text) {
        return vec![problem];
    }
    let mut last = None;
    let mut told = Vec::new();
    let mut problems = Vec::new();
    // The parser tells some of them later than others.
    let mut errors: Vec<&Error> = errors.iter().collect();
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    for error in errors {
        let Some(line) = error.span().map(|span| Line::at(text, span.start)) else {
            problems.push(Problem::error(None, error.message()));
            continue;
        };
        if last.is_some_and(|last| follows(text, last, line.start)) {
            continue;
        }
        last = Some(line.start);
        told.push(line.start);
        problems.push(line.explain(text, error));
    }
    problems.extend(unseen(text, &told));
    problems
}

/// Values that are no TOML, in lines that nothing was told of: after some mistakes the parser looks at nothing more.
fn unseen<'t>(text: &'t str, told: &'t [usize]) -> impl Iterator<Item = Problem> + 't {
    // A line of a long string may look like anything.
    let is_sure = !text.contains("\"\"\"") && !text.contains("'''");
    let starts = text.split_inclusive('\n').scan(0, |next, line| {
        let start = *next;
        *next += line.len();
        Some(start)
    });
    starts.filter(move |start| is_sure && !told.contains(start)).filter_map(|start| {
        let line = Line::at(text, start);
        let is_wrong = line.key().is_some_and(is_key) && DeTable::parse(line.text).is_err();
        let (message, meant) = line.meant().filter(|_| is_wrong)?;
        Some(Problem::error(line.span(text), message).hint(format!("write `{meant}`")))
    })
}

/// Whether what is wrong in the line at `start` comes of what is wrong in the one at `last`: it is the same, or
/// that one is the header of a table that is there twice, as then are its keys.
fn follows(text: &str, last: usize, start: usize) -> bool {
    let between = text.get(last..start).unwrap_or_default();
    let is_key = Line::at(text, start).key().is_some();
    last == start || (is_key && between.starts_with('[') && !between.contains("\n[") && between.contains(']'))
}

/// A line of the file.
struct Line<'t> {
    /// Where it begins.
    start: usize,
    /// Without what is around it, and without a comment behind it.
    text: &'t str,
}

impl<'t> Line<'t> {
    fn at(text: &'t str, offset: usize) -> Self {
        let offset = offset.min(text.len());
        let start = text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |feed| feed + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        Self { start, text: without_comment(line).trim() }
    }

    fn span(&self, text: &str) -> Range<usize> {
        let before = text.get(self.start..).and_then(|rest| rest.find(self.text)).unwrap_or_default();
        let start = self.start + before;
        start..start + self.text.len()
    }

    fn explain(&self, text: &str, error: &Error) -> Problem {
        let problem = |message: String| Problem::error(error.span(), message);
        if error.message().starts_with("duplicate key") {
            return self.duplicate(text, error);
        }
        let all = |message: &str| Problem::error(self.span(text), message);
        if let Some(straight) = straightened(self.text) {
            return all("quotes are straight in this file: \" or '").hint(format!("write `{straight}`"));
        }
        if let Some(space) = self.text.chars().find(|letter| is_odd_space(*letter)) {
            let message = format!("there is a space here that is none (U+{:04X})", u32::from(space));
            return all(&message)
                .hint("type the line again: text that is copied from a page may have such spaces");
        }
        if self.text.starts_with("//") || self.text.starts_with("/*") || self.text.starts_with("--") {
            return all("a comment begins with `#`").hint("write `# …`");
        }
        if let Some(word) = self.foreign() {
            return all(&word.message(self.words().next().unwrap_or_default())).hint(word.hint());
        }
        if is_nginx(self.text) {
            return all("this looks like nginx.conf").hint(TOML);
        }
        match self.meant() {
            Some((message, line)) => problem(message.to_owned()).hint(format!("write `{line}`")),
            None => {
                let problem = problem(error.message().to_owned());
                match hint(error.message()) {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                }
            }
        }
    }

    fn duplicate(&self, text: &str, error: &Error) -> Problem {
        let span = error.span().unwrap_or_default();
        let name = text.get(span.clone()).unwrap_or_default();
        if let Some(header) = self.text.strip_prefix('[') {
            let header = header.trim_matches(['[', ']', ' ']);
            let problem = Problem::error(self.span(text), format!("`[{header}]` is here twice"));
            if ["listen", "route"].contains(&header) {
                return problem
                    .hint(format!("there may be several: write `[[{header}]]` above each of them"));
            }
            return first(problem, text, self.start, |line| {
                line.text.trim_matches(['[', ']', ' ']) == header && line.text.starts_with('[')
            })
            .hint("put the keys of both under the first, or give one of them another name");
        }
        let problem = Problem::error(span, format!("`{name}` is here twice"));
        first(problem, text, self.start, |line| line.key() == Some(name)).hint("keep one of them")
    }

    fn words(&self) -> impl Iterator<Item = &'t str> {
        self.text.split([' ', '\t', ':', '=', '{']).filter(|word| !word.is_empty())
    }

    /// The word of another program that it begins with, where it has no `=`.
    fn foreign(&self) -> Option<&'static foreign::Word> {
        if self.text.contains('=') || self.text.starts_with(['[', '"', '\'', '{', '}']) {
            return None;
        }
        let mut words = self.words();
        let first = words.next()?;
        let two = words.next().and_then(|second| foreign::word(&format!("{first} {second}")));
        two.or_else(|| foreign::word(first))
    }

    fn key(&self) -> Option<&'t str> {
        self.text.split_once('=').map(|(key, _)| key.trim())
    }

    /// What is wrong, and the line that was meant; `None` where the line alone does not tell.
    fn meant(&self) -> Option<(&'static str, String)> {
        let text = self.text;
        if let Some(header) = text.strip_prefix('[') {
            let name = header.trim_matches(['[', ']', ' ']);
            let is_many = text.starts_with("[[") || ["listen", "route"].contains(&name);
            let is_name = !name.is_empty() && !name.contains(['=', '"', ',']);
            let line = if is_many { format!("[[{name}]]") } else { format!("[{name}]") };
            return (is_name && line != text).then_some(("the brackets of a table are not closed", line));
        }
        if let Some((key, value)) = text.split_once('=').filter(|(key, _)| is_key(key.trim())) {
            let (key, value) = (key.trim(), value.trim().trim_end_matches([';', ',']).trim_end());
            if value.is_empty() {
                return Some(("there is no value", format!("{key} = \"…\"")));
            }
            let (message, value) = corrected(value)?;
            return Some((message, format!("{key} = {value}")));
        }
        let (key, value) = text.split_once(':').or_else(|| text.split_once(char::is_whitespace))?;
        let (key, value) = (key.trim().trim_matches('"'), value.trim().trim_end_matches([',', ';']));
        if !is_key(key) || value.is_empty() {
            return None;
        }
        let value = corrected(value).map_or_else(|| value.to_owned(), |(_, value)| value);
        Some(("there is no `=` between the key and its value", format!("{key} = {value}")))
    }
}

/// Shows where it was first, if that is found.
fn first(problem: Problem, text: &str, before: usize, is_it: impl Fn(&Line<'_>) -> bool) -> Problem {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let here = Line::at(text, start);
        if start >= before {
            break;
        }
        if is_it(&here) {
            return problem.related(here.span(text), "here it is first");
        }
        start += line.len();
    }
    problem
}

/// What is wrong with a value, and what it should be; nothing if it is not seen.
fn corrected(value: &str) -> Option<(&'static str, String)> {
    let lower = value.to_lowercase();
    let quote = value.chars().next().filter(|first| ['"', '\''].contains(first));
    if let Some(quote) = quote {
        let inner = value.trim_matches(quote);
        if inner.contains(quote) {
            return None;
        }
        let is_closed = value.len() > 1 && value.ends_with(quote);
        if is_closed {
            return (quote == '"' && inner.contains('\\'))
                .then(|| ("a backslash in \"…\" begins an escape", format!("'{inner}'")));
        }
        return Some(("the quote at the end is missing", format!("{quote}{inner}{quote}")));
    }
    match &*lower {
        "true" | "yes" | "on" | "enabled" if value != "true" => {
            return Some(("a boolean is `true` or `false`", "true".to_owned()));
        }
        "false" | "no" | "off" | "disabled" if value != "false" => {
            return Some(("a boolean is `true` or `false`", "false".to_owned()));
        }
        "true" | "false" => return None,
        _ => {}
    }
    if value.starts_with(['[', '{']) {
        return None;
    }
    if let Some(inner) = value.strip_suffix(['"', '\'']) {
        return (!inner.contains(['"', '\'']))
            .then(|| ("the quote at the beginning is missing", format!("\"{inner}\"")));
    }
    let is_plain = !value.contains(['"', '\\', '\'']);
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    (is_plain && !is_number)
        .then(|| ("a value that is not a number or a boolean is in quotes", format!("\"{value}\"")))
}

/// What to do where the line alone does not say what was meant, found by a word of the parser's message. The first
/// that fits holds, so that the longer words come first.
fn hint(message: &str) -> Option<&'static str> {
    let hints = [
        (
            "array",
            "elements of a list are in `[…]`, with commas between them: `nodes = [\"127.0.0.1:3000\", \"127.0.0.1:3001\"]`",
        ),
        ("key-value pairs", PAIRS),
        ("inline table", PAIRS),
        ("escape", "a backslash in \"…\" begins an escape; '…' takes it as it is"),
        ("string", "a string begins and ends with \", on one line; \"\"\" is for several"),
        ("no value", "write `key = value`"),
        ("value", "a value is \"text\", a number, `true` or `false`, `[a, list]` or `{ a = \"table\" }`"),
        ("key", "a line is `key = value`, or a header: `[limits]`, `[[listen]]`"),
    ];
    hints.iter().find(|(word, _)| message.contains(word)).map(|(_, hint)| *hint)
}

/// The file of another program, by its first line that can be nothing else; only where there is no TOML beside it.
fn another_format(text: &str) -> Option<Problem> {
    let says = |span: Range<usize>, what: &str, hint: &str| {
        Some(
            Problem::error(span, format!("this looks like {what}, and the file of tidelock is TOML"))
                .hint(hint),
        )
    };
    let mut start = 0;
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        let here = Line::at(text, start);
        if !here.text.is_empty() {
            lines.push(here);
        }
        start += line.len();
    }
    let first = lines.first()?;
    let is_pm2 = ["apps", "script", "module.exports", "export default"]
        .iter()
        .filter(|word| text.contains(**word))
        .count()
        >= 2;
    if first.text.starts_with("module.exports") || (is_pm2 && first.text.starts_with(['{', 'c', 'e', 'm'])) {
        return says(first.span(text), "the file of PM2", "`tidelock import FILE` translates it");
    }
    if first.text.starts_with('{') {
        return says(first.span(text), "JSON", TOML);
    }
    if lines.iter().any(|line| is_toml(line.text)) {
        return None;
    }
    if let Some(line) = lines.iter().find(|line| is_nginx(line.text)) {
        return match lines.iter().any(|line| line.text.ends_with(';')) {
            true => says(line.span(text), "nginx.conf", "`tidelock import FILE` translates it"),
            false => says(line.span(text), "a Caddyfile or nginx.conf", TOML),
        };
    }
    let is_section = |text: &str| {
        ["global", "defaults"].contains(&text)
            || text.starts_with("frontend ")
            || text.starts_with("backend ")
    };
    if let Some(line) = lines.iter().find(|line| is_section(line.text)) {
        return says(line.span(text), "haproxy.cfg", TOML);
    }
    let is_yaml = |text: &str| {
        text == "---"
            || text.starts_with("- ")
            || text.ends_with(':')
            || text.split_once(": ").is_some_and(|(key, _)| is_key(key))
    };
    let yaml = lines.iter().filter(|line| is_yaml(line.text)).count();
    (yaml > 1 && yaml * 2 > lines.len()).then(|| says(first.span(text), "YAML", TOML)).flatten()
}

/// A header, or a key with a value that is no code.
fn is_toml(line: &str) -> bool {
    let is_header = line.starts_with('[') && line.ends_with(']') && !line.contains(',');
    let is_pair = line
        .split_once('=')
        .is_some_and(|(key, value)| is_key(key.trim()) && !value.trim_end().ends_with(';'));
    is_header || is_pair
}

/// `listen 80;`, `server {`.
fn is_nginx(line: &str) -> bool {
    let begins_with_word = line.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_directive = line.ends_with(';') && line.contains([' ', '\t']) && !line.contains(" = ");
    let is_block = line.ends_with('{') && !line.contains(['=', ':', '[', '(']);
    begins_with_word && (is_directive || is_block)
}

fn is_key(text: &str) -> bool {
    let text = text.trim_matches(['"', '\'']);
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte))
}

/// With straight quotes, if there are others.
fn straightened(line: &str) -> Option<String> {
    let is_curled = |letter: char| {
        "\u{201c}\u{201d}\u{201e}\u{201f}\u{2033}\u{ab}\u{bb}\u{2018}\u{2019}\u{201a}\u{201b}`"
            .contains(letter)
    };
    line.contains(is_curled).then(|| line.replace(is_curled, "\""))
}

fn is_odd_space(letter: char) -> bool {
    (letter.is_whitespace() && !letter.is_ascii()) || ['\u{200b}', '\u{feff}', '\u{2060}'].contains(&letter)
}

fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, letter) in line.char_indices() {
        match (quote, letter) {
            (None, '#') => return &line[..at],
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            _ => {}
        }
    }
    line
}

const PAIRS: &str = "`{ … }` has commas between its keys: `{ address = \"127.0.0.1:3000\", weight = 2 }`";
const TOML: &str = "TOML looks like this:\n[[listen]]\naddress = \":80\"\n\n[[route]]\nhost = \"example.com\"\nupstream = \"nodes\"\n\n[upstream.nodes]\nnodes = [\"127.0.0.1:3000\"]";

#[cfg(test)]
mod tests;
