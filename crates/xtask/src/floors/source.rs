//! The words of one Rust source, as far as paths need them: identifiers, `::` and single marks, each with its line.
//! Comments, literals and what is compiled for tests only are left out. Knows nothing of files or modules.
//!
//! This is no parser. It reads what rustfmt leaves and the compiler has accepted, which is all that it is given.

/// One word of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    pub(super) line: usize,
}

impl Word<'_> {
    /// Whether it can stand between two `::`.
    pub(super) fn is_name(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// The words of the product's own code in `source`.
pub(super) fn product_words(source: &str) -> Vec<Word<'_>> {
    without_tests(&words(source))
}

fn words(source: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let (length, is_word) = match first {
            _ if rest.starts_with("//") => (rest.find('\n').unwrap_or(rest.len()), false),
            _ if rest.starts_with("/*") => (comment_length(rest), false),
            _ if string_length(rest) > 0 => (string_length(rest), false),
            '\'' => (quote_length(rest), false),
            _ if first.is_alphanumeric() || first == '_' => {
                (rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()), true)
            }
            _ if rest.starts_with("::") => (2, true),
            _ => (first.len_utf8(), !first.is_whitespace()),
        };
        let (text, after) = rest.split_at(length);
        if is_word {
            found.push(Word { text, line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

/// Block comments nest.
fn comment_length(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let step = if rest.starts_with(b"/*") {
            depth += 1;
            2
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

/// How long the string literal is that `text` begins with, its prefix included; 0 if it begins with none.
fn string_length(text: &str) -> usize {
    let letters = text.find(|c| !matches!(c, 'b' | 'c' | 'r')).unwrap_or(text.len());
    let after = &text[letters..];
    if letters > 2 {
        return 0;
    }
    if text[..letters].contains('r') {
        let hashes = after.find(|c| c != '#').unwrap_or(after.len());
        if !after[hashes..].starts_with('"') {
            return 0;
        }
        let end = format!("\"{}", "#".repeat(hashes));
        let body = &after[hashes + 1..];
        return letters + hashes + 1 + body.find(&end).map_or(body.len(), |at| at + end.len());
    }
    if !after.starts_with('"') {
        return 0;
    }
    letters + quoted_length(after, b'"')
}

fn quoted_length(text: &str, quote: u8) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() && bytes[at] != quote {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// A character, or a lifetime, which is a quote without a second one.
fn quote_length(text: &str) -> usize {
    let mut characters = text[1..].char_indices();
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), _) => quoted_length(text, b'\''),
        (Some(_), Some((at, '\''))) => at + 2,
        _ => 1,
    }
}

/// Leaves out each item, field and statement under `#[cfg(test)]`, or for fuzzing alone.
fn without_tests<'a>(words: &[Word<'a>]) -> Vec<Word<'a>> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let attribute = attribute_end(words, at);
        match attribute {
            Some(end) if is_for_tests(&words[at..end]) => at = item_end(words, end),
            _ => {
                kept.push(words[at]);
                at += 1;
            }
        }
    }
    kept
}

/// Behind the attribute that begins at `at`, if one does.
fn attribute_end(words: &[Word<'_>], at: usize) -> Option<usize> {
    let is_one = words[at].text == "#" && words.get(at + 1)?.text == "[";
    is_one.then(|| group_end(words, at + 1))
}

fn is_for_tests(attribute: &[Word<'_>]) -> bool {
    let texts: Vec<_> = attribute.iter().map(|word| word.text).collect();
    texts.starts_with(&["#", "[", "cfg", "(", "test"])
        || texts.starts_with(&["#", "[", "cfg", "(", "all", "(", "test"])
        || texts == ["#", "[", "cfg", "(", "fuzzing", ")", "]"]
        || texts == ["#", "[", "test", "]"]
}

/// Behind the bracket that closes the one at `at`.
fn group_end(words: &[Word<'_>], at: usize) -> usize {
    let mut depth = 0;
    for (index, word) in words.iter().enumerate().skip(at) {
        match word.text {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index + 1;
        }
    }
    words.len()
}

/// Behind what begins at `at`: an item, or a field, an arm or a statement, which a comma can end.
fn item_end(words: &[Word<'_>], mut at: usize) -> usize {
    while at < words.len() {
        match attribute_end(words, at) {
            Some(end) => at = end,
            None => break,
        }
    }
    let first = words.get(at).map_or("", |word| word.text);
    let is_item = ["pub", "fn", "async", "impl", "struct", "enum", "const", "static", "trait", "type", "mod"]
        .contains(&first);
    while at < words.len() {
        match words[at].text {
            ";" => return at + 1,
            "," if !is_item && first != "use" => return at + 1,
            "{" if first != "use" => return group_end(words, at),
            "(" | "[" | "{" => at = group_end(words, at),
            ")" | "]" | "}" => return at,
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: &str, want: &str) {
        let found: Vec<_> = product_words(source).iter().map(|word| word.text).collect();
        assert_eq!(found.join(" "), want, "{source}");
    }

    #[test]
    fn comments_and_literals_are_no_words() {
        check("a // crate::b\n/* c /* d */ e */ f", "a f");
        check(r##"a("crate::b", r#"c"d"#, b"e\"f", '"', '\'', 'g)"##, "a ( , , , , , g )");
        check("&'a str::b", "& a str :: b");
    }

    #[test]
    fn what_is_compiled_for_tests_is_left_out() {
        check("mod a; #[cfg(test)] mod tests; mod b;", "mod a ; mod b ;");
        check("#[cfg(test)] mod tests { use crate::a; fn b() {} } mod c;", "mod c ;");
        check("#[cfg(test)] use crate::{a, b}; use c;", "use c ;");
        check("#[cfg(fuzzing)] mod a; mod b;", "mod b ;");
        check("#[cfg(test)] #[allow(x)] pub(crate) fn a<B, C>() { d } e", "e");
        check("struct A { b: C, #[cfg(test)] d: E, f: G }", "struct A { b : C , f : G }");
        check("#[cfg(not(test))] mod a;", "# [ cfg ( not ( test ) ) ] mod a ;");
    }

    #[test]
    fn words_know_their_lines() {
        let found = product_words("a\n\"\n\n\" b /*\n*/ c");
        let lines: Vec<_> = found.iter().map(|word| word.line).collect();
        assert_eq!(lines, [1, 4, 5]);
    }
}
