//! `${NAME}` and `${NAME:-default}` in the strings of a file: the environment's values are put in before anything else is
//! read. `$$` is a dollar; a dollar before anything else stands for itself, so that `"$HOME"` in a command is the shell's; `${PORT}` there is the process's own.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, Problems};

/// Looks a variable up.
pub(crate) type Variables<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// A string with variables in it.
#[derive(Debug)]
pub(crate) struct Expanded {
    /// As the file has it.
    pub(crate) written: String,
    /// One of its variables is not set, which has been told: the string says nothing.
    pub(crate) is_broken: bool,
}

/// Puts in the values of all variables in `table`, whose source is `text`. The answer has what was touched, by where it
/// begins.
pub(crate) fn expand(
    table: &mut DeTable<'_>,
    text: &str,
    variables: Variables<'_>,
    problems: &Problems,
) -> HashMap<usize, Expanded> {
    let mut walk = Walk { text, variables, problems, expanded: HashMap::new(), place: Place::Elsewhere };
    walk.table(table);
    walk.expanded
}

/// The text as a string of the file that means just that.
pub fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (before, from) = rest.split_at(at);
        let behind = from.trim_start_matches('$');
        let dollars = &from[..from.len() - behind.len()];
        literal.push_str(before);
        // One before anything else stands for itself.
        let is_doubled = dollars.len() > 1 || behind.starts_with('{');
        literal.push_str(&dollars.repeat(if is_doubled { 2 } else { 1 }));
        rest = behind;
    }
    literal.push_str(rest);
    literal
}

struct Walk<'e> {
    text: &'e str,
    variables: Variables<'e>,
    problems: &'e Problems,
    expanded: HashMap<usize, Expanded>,
    place: Place,
}

/// Where in the file a string stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Elsewhere,
    App,
    /// `command` or `args` of an app. Each of its processes has a PORT and a HOST of its own, which are put in at its start.
    Command,
}

/// What a text is made of.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Dollar,
    Variable {
        name: &'t str,
        default: Option<&'t str>,
    },
    /// From here on nothing is understood.
    Broken(&'t str),
}

impl Walk<'_> {
    fn table(&mut self, table: &mut DeTable<'_>) {
        for (key, value) in table.iter_mut() {
            let around = self.place;
            self.place = match (around, key.get_ref().as_ref()) {
                (Place::Elsewhere, "app") => Place::App,
                (Place::App, "command" | "args") => Place::Command,
                _ => around,
            };
            self.value(value);
            self.place = around;
        }
    }

    fn value(&mut self, value: &mut Spanned<DeValue<'_>>) {
        let span = value.span();
        match value.get_mut() {
            DeValue::Table(table) => self.table(table),
            DeValue::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            DeValue::String(text) if text.contains('$') => {
                if let Some(now) = self.string(text, &span) {
                    *text = now.into();
                }
            }
            _ => {}
        }
    }

    /// The string with its variables put in; nothing if that is what it is without. One that cannot be filled is
    /// noted in `expanded`, so that no other mistake is told of it.
    fn string(&mut self, written: &str, span: &Range<usize>) -> Option<String> {
        let mut now = String::new();
        let mut is_broken = false;
        let mut has_variables = false;
        for piece in pieces(written) {
            match piece {
                Piece::Text(text) => now.push_str(text),
                Piece::Dollar => now.push('$'),
                Piece::Variable { name: name @ ("PORT" | "HOST"), default: None }
                    if self.place == Place::Command =>
                {
                    let _ = write!(now, "${{{name}}}");
                }
                Piece::Variable { name, default } => {
                    has_variables = true;
                    match self.variable(name, default, span) {
                        Some(value) => now.push_str(&value),
                        None => is_broken = true,
                    }
                }
                Piece::Broken(rest) => {
                    is_broken = true;
                    self.refuse(rest, span, UNREADABLE.to_owned(), FORMS.to_owned());
                }
            }
        }
        if has_variables || is_broken {
            self.expanded.insert(span.start, Expanded { written: written.to_owned(), is_broken });
        }
        (now != written).then_some(now)
    }

    fn variable(&self, name: &str, default: Option<&str>, span: &Range<usize>) -> Option<String> {
        let said = format!("${{{name}");
        match ((self.variables)(name).map(OsString::into_string), default) {
            // As in a shell, and in Docker Compose: one that is empty is as good as none where there is a default.
            (Some(Ok(value)), Some(default)) if value.is_empty() => Some(default.to_owned()),
            (None, Some(default)) => Some(default.to_owned()),
            (Some(Ok(value)), _) => Some(value),
            (Some(Err(_)), _) => {
                let message = format!("the environment variable {name} is not UTF-8");
                self.refuse(&said, span, message, "give it another value".to_owned());
                None
            }
            (None, None) => {
                let message = format!("the environment variable {name} is not set");
                let hint = format!("set it, or say what to take without it: `${{{name}:-…}}`");
                self.refuse(&said, span, message, hint);
                None
            }
        }
    }

    /// Points at `what` in the source of the string, or at all of it where escapes hide it.
    fn refuse(&self, what: &str, span: &Range<usize>, message: String, hint: String) {
        let source = self.text.get(span.clone()).unwrap_or_default();
        let here = source.find(what).map_or(span.clone(), |at| {
            let start = span.start + at;
            let end = source[at..].find('}').map_or(start + what.len(), |end| start + end + 1);
            start..end.max(start + what.len()).min(span.end)
        });
        self.problems.push(Problem::error(here, message).hint(hint));
    }
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        pieces.push(Piece::Text(&rest[..at]));
        let behind = &rest[at + 1..];
        if let Some(after) = behind.strip_prefix('$') {
            pieces.push(Piece::Dollar);
            rest = after;
        } else if let Some(inner) = behind.strip_prefix('{') {
            let Some((variable, after)) = inner.split_once('}').and_then(|(inner, after)| {
                let (name, default) =
                    inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
                is_name(name).then_some((Piece::Variable { name, default }, after))
            }) else {
                pieces.push(Piece::Broken(&rest[at..]));
                return pieces;
            };
            pieces.push(variable);
            rest = after;
        } else {
            pieces.push(Piece::Text("$"));
            rest = behind;
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// As shells have it.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

const UNREADABLE: &str = "`${` begins the name of an environment variable, and this is none";
const FORMS: &str = "write `${NAME}` or `${NAME:-default}`; a dollar that stands for itself is `$$`";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(written: &str, want: Result<&str, &str>) {
        let text = format!("a = [{{ b = '{written}' }}]");
        let variables = |name: &str| match name {
            "NAME" => Some("value".into()),
            "EMPTY" => Some("".into()),
            "DOLLARS" => Some("${NAME}".into()),
            _ => None,
        };
        let mut table = DeTable::parse(&text).expect("TOML").into_inner();
        let problems = Problems::default();
        expand(&mut table, &text, &variables, &problems);
        let problems: Vec<_> = problems
            .into_vec()
            .into_iter()
            .map(|problem| format!("{} @{}", problem.message, &text[problem.span.expect("a place")]))
            .collect();
        let got = table["a"].get_ref()[0].get_ref()["b"].get_ref().as_str().unwrap_or_default().to_owned();
        let got = if problems.is_empty() { Ok(got) } else { Err(problems.join("; ")) };
        assert_eq!(got.as_deref().map_err(|said| &**said), want, "{written}");
    }

    #[test]
    fn the_environment_is_put_in() {
        check("${NAME}", Ok("value"));
        check("a ${NAME} b ${NAME}", Ok("a value b value"));
        check("${NOT_SET:-other}", Ok("other"));
        check("${NOT_SET:-}", Ok(""));
        check("${NAME:-other}", Ok("value"));
        check("${EMPTY:-other}", Ok("other"));
        check("${EMPTY}", Ok(""));
        check("${NOT_SET:-a:-b}", Ok("a:-b"));
        // What comes out of the environment is not looked at again.
        check("${DOLLARS}", Ok("${NAME}"));
        check("$$", Ok("$"));
        check("$${NAME}", Ok("${NAME}"));
        check("$$${NAME}", Ok("$value"));
        check("$NAME $ $1 100$", Ok("$NAME $ $1 100$"));
    }

    #[test]
    fn the_port_in_a_command_is_left_to_each_process() {
        let text = "[app.chat]\ncommand = ['x', '-b', '${HOST}:${PORT}', '${NAME}']\ncwd = '${PORT}'";
        let mut table = DeTable::parse(text).expect("TOML").into_inner();
        let problems = Problems::default();
        expand(&mut table, text, &|name| Some(format!("our {name}").into()), &problems);
        assert!(problems.into_vec().is_empty());
        let app = table["app"].get_ref()["chat"].get_ref();
        let command: Vec<_> =
            (0..4).filter_map(|at| app["command"].get_ref()[at].get_ref().as_str()).collect();
        assert_eq!(command, ["x", "-b", "${HOST}:${PORT}", "our NAME"]);
        assert_eq!(app["cwd"].get_ref().as_str(), Some("our PORT"));
    }

    #[test]
    fn what_is_not_set_is_pointed_at() {
        check("a ${NOT_SET} b", Err("the environment variable NOT_SET is not set @${NOT_SET}"));
        check(
            "${X}${Y}",
            Err("the environment variable X is not set @${X}; the environment variable Y is not set @${Y}"),
        );
        for broken in ["${", "${}", "${1}", "${A B}", "${NAME", "${NAME-x}"] {
            check(broken, Err(&format!("{UNREADABLE} @{broken}")));
        }
    }

    #[test]
    fn any_text_can_be_said_literally() {
        for text in ["$", "$$", "$$$", "${", "${NAME}", "$${NAME}", "$NAME", "a$", "$$$${"] {
            check(&literal(text), Ok(text));
        }
    }
}
