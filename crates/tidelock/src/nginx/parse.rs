//! nginx's grammar: words, quotes, escapes, comments and blocks to a tree of directives. Knows no directive but those that
//! hold Lua, whose braces are not nginx's, and reads no file.

use std::rc::Rc;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub(super) file: Rc<str>,
    pub(super) line: usize,
}

/// `name args;` or `name args { block }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) name: String,
    pub(super) args: Vec<String>,
    pub(super) block: Option<Vec<Directive>>,
    pub(super) at: At,
}

impl Directive {
    /// The first argument, or nothing.
    pub(super) fn arg(&self) -> &str {
        self.args.first().map_or("", String::as_str)
    }

    /// What is in its block.
    pub(super) fn inside(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }

    /// As it was written, on one line and without its block.
    pub(super) fn text(&self) -> String {
        let mut text = self.name.clone();
        for arg in &self.args {
            text.push(' ');
            let is_bare = !arg.is_empty() && !arg.contains([' ', ';', '{', '}', '"', '\'', '\n', '\r', '\t']);
            let is_bare = is_bare || arg.starts_with("${");
            text.push_str(&if is_bare { arg.clone() } else { format!("{arg:?}") });
        }
        text
    }
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// Reads the text of one file. The error says where nginx would not understand it either.
pub(super) fn parse(text: &str, file: &Rc<str>) -> Result<Vec<Directive>, String> {
    let mut reader = Reader { rest: text, line: 1, file };
    let mut open: Vec<Directive> = Vec::new();
    let mut done: Vec<Vec<Directive>> = vec![Vec::new()];
    let mut words: Vec<(String, At)> = Vec::new();
    loop {
        let at = reader.at();
        match reader.token()? {
            Token::Word(word) => words.push((word, at)),
            Token::Semicolon => {
                let directive = directive(&mut words, None);
                let directive = directive.ok_or_else(|| format!("{at}: a `;` without a directive"))?;
                if let Some(level) = done.last_mut() {
                    level.push(directive);
                }
            }
            Token::Open => {
                let mut directive = directive(&mut words, Some(Vec::new()))
                    .ok_or_else(|| format!("{at}: a `{{` without a directive"))?;
                if directive.name.ends_with("_by_lua_block") {
                    reader.skip_lua()?;
                    directive.args.clear();
                    if let Some(level) = done.last_mut() {
                        level.push(directive);
                    }
                    continue;
                }
                if open.len() == DEPTH_MAX {
                    return Err(format!("{at}: blocks are nested more than {DEPTH_MAX} deep"));
                }
                open.push(directive);
                done.push(Vec::new());
            }
            Token::Close => {
                if let Some((word, at)) = words.first() {
                    return Err(format!("{at}: `{word}` has no `;` at its end"));
                }
                let (Some(mut directive), Some(block)) = (open.pop(), done.pop()) else {
                    return Err(format!("{at}: a `}}` without a `{{`"));
                };
                directive.block = Some(block);
                if let Some(level) = done.last_mut() {
                    level.push(directive);
                }
            }
            Token::End => {
                if let Some((word, at)) = words.first() {
                    return Err(format!("{at}: `{word}` has no `;` at its end"));
                }
                if let Some(directive) = open.last() {
                    return Err(format!("{}: the block of `{}` has no end", directive.at, directive.name));
                }
                return Ok(done.pop().unwrap_or_default());
            }
        }
    }
}

fn directive(words: &mut Vec<(String, At)>, block: Option<Vec<Directive>>) -> Option<Directive> {
    let mut words = std::mem::take(words).into_iter();
    let (name, at) = words.next()?;
    Some(Directive { name, args: words.map(|(word, _)| word).collect(), block, at })
}

enum Token {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
    file: &'t Rc<str>,
}

impl Reader<'_> {
    fn at(&mut self) -> At {
        self.skip_blanks();
        At { file: Rc::clone(self.file), line: self.line }
    }

    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// A `#` begins a comment only where a word could begin.
    fn skip_blanks(&mut self) {
        while let Some(next) = self.peek() {
            if next == '#' {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
            } else if is_blank(next) {
                self.next();
            } else {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<Token, String> {
        self.skip_blanks();
        match self.peek() {
            None => Ok(Token::End),
            Some(';') => Ok(self.single(Token::Semicolon)),
            Some('{') => Ok(self.single(Token::Open)),
            Some('}') => Ok(self.single(Token::Close)),
            Some(quote @ ('"' | '\'')) => self.quoted(quote).map(Token::Word),
            Some(_) => Ok(Token::Word(self.bare())),
        }
    }

    fn single(&mut self, token: Token) -> Token {
        self.next();
        token
    }

    fn bare(&mut self) -> String {
        let mut word = String::new();
        while let Some(next) = self.peek() {
            match next {
                ';' => break,
                '{' if !word.ends_with('$') => break,
                '\\' => self.escape(&mut word),
                next if is_blank(next) => break,
                next => {
                    self.next();
                    word.push(next);
                }
            }
        }
        word
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        let begin = self.at();
        self.next();
        let mut word = String::new();
        loop {
            match self.peek() {
                None => return Err(format!("{begin}: the quote {quote} has no end")),
                Some('\\') => self.escape(&mut word),
                Some(next) => {
                    self.next();
                    if next == quote {
                        return Ok(word);
                    }
                    word.push(next);
                }
            }
        }
    }

    /// A backslash stays before all but quotes, itself and three letters, so that regular expressions need no second one.
    fn escape(&mut self, word: &mut String) {
        self.next();
        match self.next() {
            Some(next @ ('"' | '\'' | '\\')) => word.push(next),
            Some('t') => word.push('\t'),
            Some('r') => word.push('\r'),
            Some('n') => word.push('\n'),
            Some(next) => word.extend(['\\', next]),
            None => word.push('\\'),
        }
    }

    /// Skips Lua up to the brace that ends the block: braces in its strings and comments do not count.
    fn skip_lua(&mut self) -> Result<(), String> {
        let begin = self.at();
        let mut depth = 1_usize;
        while depth > 0 {
            if self.rest.starts_with("--") && !self.rest.starts_with("--[[") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
            } else if self.rest.starts_with("--[[") || self.rest.starts_with("[[") {
                let end = self.rest.find("]]").map_or(self.rest.len(), |at| at + 2);
                self.line += self.rest[..end].matches('\n').count();
                self.rest = &self.rest[end..];
                continue;
            }
            match self.next() {
                None => return Err(format!("{begin}: the block of Lua has no end")),
                Some('{') => depth += 1,
                Some('}') => depth -= 1,
                Some(quote @ ('"' | '\'')) => self.skip_lua_string(quote),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn skip_lua_string(&mut self, quote: char) {
        while let Some(next) = self.next() {
            match next {
                '\\' => drop(self.next()),
                next if next == quote => return,
                _ => {}
            }
        }
    }
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// nginx's own blocks are nested four deep, and locations in each other seldom more.
const DEPTH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    fn check(text: &str, want: &str) {
        let read = match parse(text, &Rc::from("f")) {
            Ok(directives) => directives.iter().map(shown).collect::<Vec<_>>().join(" "),
            Err(why) => why,
        };
        assert_eq!(read, want, "{text}");
    }

    fn shown(directive: &Directive) -> String {
        let words = [&[directive.name.clone()][..], &directive.args].concat().join("|");
        let inside = directive.inside().iter().map(shown).collect::<Vec<_>>().join(" ");
        let block = if directive.block.is_some() { format!("{{{inside}}}") } else { String::new() };
        format!("{}:{words}{block}", directive.at.line)
    }

    #[test]
    fn words_quotes_escapes_comments_and_blocks() {
        check("a b;\n# c d;\ne 'f g' \"h'i\" ;", "1:a|b 3:e|f g|h'i");
        check("a{b c;}d;", "1:a{1:b|c} 1:d");
        check("location ~ \\.(js|css)$ {\n expires 1y;\n}", "1:location|~|\\.(js|css)${2:expires|1y}");
        check("set $a ${b}c;", "1:set|$a|${b}c");
        check("server ${HOST}:${PORT};", "1:server|${HOST}:${PORT}");
        check("a b#c;", "1:a|b#c");
        check("a \"\\\"b\\\\\" '\\n';", "1:a|\"b\\|\n");
        // As in nginx, a brace in a bare word begins a block; people quote such expressions.
        check("rewrite \"^/a{2}$\" /b;", "1:rewrite|^/a{2}$|/b");
    }

    #[test]
    fn what_nginx_does_not_understand_is_told_with_its_place() {
        check("a {\n b;", "f:1: the block of `a` has no end");
        check("a;\n}", "f:2: a `}` without a `{`");
        check("a\nb", "f:1: `a` has no `;` at its end");
        check("a { b }", "f:1: `b` has no `;` at its end");
        check("\n'a", "f:2: the quote ' has no end");
        check(";", "f:1: a `;` without a directive");
        assert!(parse(&"a{".repeat(100_000), &Rc::from("f")).is_err());
    }

    #[test]
    fn lua_is_skipped() {
        check("a_by_lua_block {\n s = \"}\" -- }\n t = { '}' }\n}\nb;", "1:a_by_lua_block{} 5:b");
        check("a_by_lua_block { --[[ } ]] }", "1:a_by_lua_block{}");
        check("a_by_lua_block { ", "f:1: the block of Lua has no end");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = parse(&text, &Rc::from("f"));
        }

        #[test]
        fn no_text_of_its_own_signs_makes_it_panic(text in "[a-c{};\"'\\\\#$ \n-\\[\\]]{0,60}(_by_lua_block)?[{};\"' \n-]{0,20}") {
            let _ = parse(&text, &Rc::from("f"));
        }
    }
}
