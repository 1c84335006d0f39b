//! Texts with variables in them: `https://{host}{uri}`. A value is put in once and never read again for variables.

use std::borrow::Cow;

use super::pattern::Pattern;
use crate::suggest::nearest;

/// A text whose variables are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    written: String,
    pieces: Vec<Piece>,
}

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Itself.
    Text(String),
    /// A value of the request.
    Variable(Variable),
}

/// What can be put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    /// The client's address, once trusted proxies were believed.
    ClientIp,
    /// The address at the other end of the connection.
    PeerIp,
    /// The method.
    Method,
    /// `http` or `https`, as the client speaks.
    Scheme,
    /// The host in lower case, without its port.
    Host,
    /// What stands for the star in the route's `host`; empty where it has none.
    Subdomain,
    /// The port that the client asked.
    Port,
    /// `HTTP/1.1` or `HTTP/1.0`.
    Protocol,
    /// Path and query as the client sent them.
    Uri,
    /// The path in its normal form.
    Path,
    /// The query without its question mark.
    Query,
    /// The value of a key in the query.
    QueryValue(String),
    /// The value of a header line.
    Header(String),
    /// The value of a cookie.
    Cookie(String),
    /// The id of the request.
    RequestId,
    /// Who it is, where a password has proved it.
    User,
    /// The node that is asked, as the file has it; in header lines alone, for it is chosen late.
    Node,
    /// A group of the route's `regex`.
    Capture(Capture),
}

/// A group of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Capture {
    /// By its place, from 1.
    Number(usize),
    /// By its name.
    Name(String),
}

/// Why a text is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotATemplate {
    /// What is wrong with it, as a sentence without its full stop.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl Template {
    /// Reads a text with variables in braces. Groups are those of `pattern`; `{{` and `}}` are braces.
    ///
    /// # Errors
    /// If a variable is not known here, or a brace has no other end.
    pub fn read(written: &str, pattern: Option<&Pattern>) -> Result<Self, NotATemplate> {
        let (mut pieces, mut text, mut rest) = (Vec::new(), String::new(), written);
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix(brace) {
                text.push_str(brace);
                rest = behind;
                continue;
            }
            let end = rest.find('}').filter(|_| brace == "{");
            let Some(end) = end else {
                return Err(NotATemplate {
                    message: format!("a `{brace}` stands alone in \"{written}\""),
                    hint: format!("a brace that is meant as itself is written `{brace}{brace}`"),
                });
            };
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
            }
            pieces.push(Piece::Variable(variable(&rest[..end], pattern)?));
            rest = &rest[end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            pieces.push(Piece::Text(text));
        }
        Ok(Self { written: written.to_owned(), pieces })
    }

    /// A text without variables.
    pub fn plain(text: &str) -> Self {
        let pieces = if text.is_empty() { Vec::new() } else { vec![Piece::Text(text.to_owned())] };
        Self { written: text.to_owned(), pieces }
    }

    /// As the file has it.
    pub fn written(&self) -> &str {
        &self.written
    }

    /// Its parts, in their order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The text, where there is no variable in it.
    pub fn constant(&self) -> Option<Cow<'_, str>> {
        match &self.pieces[..] {
            [] => Some(Cow::Borrowed("")),
            [Piece::Text(text)] => Some(Cow::Borrowed(text)),
            _ => None,
        }
    }

    /// This text, whose braces are its own.
    pub fn verbatim(text: String) -> Self {
        Self { pieces: vec![Piece::Text(text)], ..Self::default() }
    }

    /// `{request_id}` is in it.
    pub fn tells_id(&self) -> bool {
        self.pieces.contains(&Piece::Variable(Variable::RequestId))
    }

    /// `{node}` is in it, which is known only once a node has been chosen.
    pub fn names_node(&self) -> bool {
        self.pieces.contains(&Piece::Variable(Variable::Node))
    }

    /// Whether every byte between the variables satisfies `fits`. What a variable will hold is not known here, and
    /// is escaped when it is put in.
    pub fn texts_fit(&self, fits: impl Fn(u8) -> bool) -> bool {
        self.pieces.iter().all(|piece| match piece {
            Piece::Text(text) => text.bytes().all(&fits),
            Piece::Variable(_) => true,
        })
    }
}

fn variable(name: &str, pattern: Option<&Pattern>) -> Result<Variable, NotATemplate> {
    if let Some((_, variable)) = PLAIN.iter().find(|(plain, _)| *plain == name) {
        return Ok(variable.clone());
    }
    match name.split_once(':') {
        Some(("query", key)) if !key.is_empty() => return Ok(Variable::QueryValue(key.to_owned())),
        Some(("header", line)) if !line.is_empty() => return Ok(Variable::Header(line.to_ascii_lowercase())),
        Some(("cookie", cookie)) if !cookie.is_empty() => return Ok(Variable::Cookie(cookie.to_owned())),
        _ => {}
    }
    let groups = pattern.map_or(0, Pattern::groups);
    if let Ok(number) = name.parse::<usize>() {
        if (1..=groups).contains(&number) {
            return Ok(Variable::Capture(Capture::Number(number)));
        }
        return Err(NotATemplate {
            message: format!("there is no group for `{{{name}}}`"),
            hint: match groups {
                0 => "groups are those of a `regex` on the same route: `regex = \"/old/(.*)\"`".to_owned(),
                most => format!("the `regex` has {most}, counted from 1"),
            },
        });
    }
    if pattern.is_some_and(|pattern| pattern.has_group(name)) {
        return Ok(Variable::Capture(Capture::Name(name.to_owned())));
    }
    let names = PLAIN.iter().map(|(plain, _)| *plain);
    let hint = match nearest(name, names.clone()) {
        Some(meant) => format!("did you mean `{{{meant}}}`?"),
        None => format!(
            "there are {}, {{query:NAME}}, {{header:NAME}}, {{cookie:NAME}}, and the groups of `regex`",
            names.map(|name| format!("{{{name}}}")).collect::<Vec<_>>().join(", ")
        ),
    };
    Err(NotATemplate { message: format!("there is no variable `{{{name}}}`"), hint })
}

/// Variables without a name behind a colon.
const PLAIN: [(&str, Variable); 14] = [
    ("client_ip", Variable::ClientIp),
    ("peer_ip", Variable::PeerIp),
    ("method", Variable::Method),
    ("scheme", Variable::Scheme),
    ("host", Variable::Host),
    ("subdomain", Variable::Subdomain),
    ("port", Variable::Port),
    ("protocol", Variable::Protocol),
    ("uri", Variable::Uri),
    ("path", Variable::Path),
    ("query", Variable::Query),
    ("request_id", Variable::RequestId),
    ("user", Variable::User),
    ("node", Variable::Node),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_texts_and_variables() {
        let pattern = Pattern::new("/(?P<year>[0-9]+)/(.*)").unwrap();
        let read = Template::read("a{{b}}{host}/{year}{2}{header:X-A}c", Some(&pattern)).unwrap();
        assert_eq!(
            read.pieces(),
            [
                Piece::Text("a{b}".to_owned()),
                Piece::Variable(Variable::Host),
                Piece::Text("/".to_owned()),
                Piece::Variable(Variable::Capture(Capture::Name("year".to_owned()))),
                Piece::Variable(Variable::Capture(Capture::Number(2))),
                Piece::Variable(Variable::Header("x-a".to_owned())),
                Piece::Text("c".to_owned()),
            ]
        );
        assert_eq!(Template::read("x}}", None).unwrap().constant().as_deref(), Some("x}"));
        for (wrong, hint) in [
            ("{hots}", "did you mean `{host}`?"),
            ("{1}", "groups are those of a `regex` on the same route: `regex = \"/old/(.*)\"`"),
            ("a{host", "a brace that is meant as itself is written `{{`"),
            ("a}", "a brace that is meant as itself is written `}}`"),
        ] {
            assert_eq!(Template::read(wrong, None).unwrap_err().hint, hint, "{wrong}");
        }
        let hint = Template::read("{3}", Some(&pattern)).unwrap_err().hint;
        assert_eq!(hint, "the `regex` has 2, counted from 1");
    }
}
