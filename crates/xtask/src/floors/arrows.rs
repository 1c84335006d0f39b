//! Which file of a crate uses which other one: its module tree, and the paths in it. What a path means is found as the
//! compiler finds it, from `crate`, `self`, `super`, the module's own children and what it has imported; what comes out of
//! another crate is no arrow. A method that is called on a value names no path and is not seen.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::source::{Word, product_words};

/// One module in a file of its own.
#[derive(Debug)]
pub(super) struct Module {
    /// Where it is in the crate, empty for the crate itself.
    pub(super) path: Vec<String>,
    /// Its file.
    pub(super) file: PathBuf,
    /// Each other module that it uses, by number, and where it does so first.
    pub(super) uses: BTreeMap<usize, Use>,
    source: String,
}

/// Where a module uses another one.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) line: usize,
    /// What it names there, and the line of that in the other file, if it is declared there.
    pub(super) name: String,
    pub(super) declared: Option<usize>,
}

/// All modules of the crate whose root is `root` that are compiled into the product. The first is the crate itself.
pub(super) fn modules(root: &Path) -> Result<Vec<Module>> {
    let mut found = Vec::new();
    read(root.to_owned(), Vec::new(), &mut found)?;
    let uses: Vec<_> = found.iter().map(|module| uses_of(module, &found)).collect();
    for (module, uses) in found.iter_mut().zip(uses) {
        module.uses = uses;
    }
    Ok(found)
}

fn read(file: PathBuf, path: Vec<String>, found: &mut Vec<Module>) -> Result<()> {
    let source = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let children = children(&product_words(&source));
    let is_root = path.is_empty() || file.ends_with("mod.rs");
    let folder = if is_root { file.with_file_name("") } else { file.with_extension("") };
    found.push(Module { path: path.clone(), file, uses: BTreeMap::new(), source });
    for child in children {
        let (beside, inside) = (folder.join(format!("{child}.rs")), folder.join(&child).join("mod.rs"));
        let path = [path.as_slice(), &[child]].concat();
        read(if beside.is_file() { beside } else { inside }, path, found)?;
    }
    Ok(())
}

/// The modules in files of their own that are declared in `words`.
fn children(words: &[Word<'_>]) -> Vec<String> {
    let declared = words.windows(3).filter(|three| three[0].text == "mod" && three[2].text == ";");
    declared.map(|three| three[1].text.to_owned()).collect()
}

fn uses_of(module: &Module, all: &[Module]) -> BTreeMap<usize, Use> {
    let words = product_words(&module.source);
    let names = Names { module, all, children: children(&words) };
    let mut uses = BTreeMap::new();
    let mut imported: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut inline = Vec::new();
    let mut at = 0;
    while at < words.len() {
        if words[at].text == "use" {
            let end =
                words[at..].iter().position(|word| word.text == ";").map_or(words.len(), |end| at + end);
            for path in tree(&words[at + 1..end], &[]) {
                if let Some(absolute) = names.absolute(&path.names) {
                    if names.module_at(&absolute).is_some_and(|(_, length)| length == absolute.len()) {
                        imported.insert(path.called.clone(), absolute.clone());
                    }
                    names.note(&absolute, path.line, &mut uses);
                }
            }
            at = end;
        } else if let Some(length) = path_length(&words, at) {
            inline.push((names_of(&words[at..at + length]), words[at].line));
            at += length;
        } else {
            at += 1;
        }
    }
    for (path, line) in inline {
        let through = imported.get(&path[0]).map(|start| [start.as_slice(), &path[1..]].concat());
        if let Some(absolute) = through.or_else(|| names.absolute(&path)) {
            names.note(&absolute, line, &mut uses);
        }
    }
    uses
}

/// What names mean in one module.
struct Names<'a> {
    module: &'a Module,
    all: &'a [Module],
    children: Vec<String>,
}

impl Names<'_> {
    /// The path from the crate's root, or none if it leads out of the crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let supers = path.iter().take_while(|name| *name == "super").count();
        let here = &self.module.path;
        let (start, rest) = match path.first()?.as_str() {
            "crate" => (&[][..], &path[1..]),
            "super" => (&here[..here.len().checked_sub(supers)?], &path[supers..]),
            "self" => (here.as_slice(), &path[1..]),
            child if self.children.iter().any(|name| name == child) => (here.as_slice(), path),
            _ => return None,
        };
        Some([start, rest].concat())
    }

    /// The innermost module on the way along `path`, and how many names lead to it.
    fn module_at(&self, path: &[String]) -> Option<(usize, usize)> {
        (0..=path.len()).rev().find_map(|length| {
            let found = self.all.iter().position(|module| module.path == path[..length])?;
            Some((found, length))
        })
    }

    fn note(&self, absolute: &[String], line: usize, uses: &mut BTreeMap<usize, Use>) {
        let Some((number, length)) = self.module_at(absolute) else { return };
        let other = &self.all[number];
        if other.path == self.module.path {
            return;
        }
        let name = absolute.get(length).map_or("", String::as_str);
        uses.entry(number).or_insert_with(|| Use {
            line,
            name: name.to_owned(),
            declared: declared_at(&other.source, name),
        });
    }
}

/// The line that declares `name`.
fn declared_at(source: &str, name: &str) -> Option<usize> {
    const KEYWORDS: [&str; 8] = ["struct", "enum", "fn", "trait", "type", "const", "static", "macro_rules"];
    let words = product_words(source);
    let declares = |two: &&[Word<'_>]| KEYWORDS.contains(&two[0].text) && two[1].text == name;
    words.windows(2).find(declares).map(|two| two[1].line)
}

/// How many words the path takes that begins at `at`, if one with a `::` does.
fn path_length(words: &[Word<'_>], at: usize) -> Option<usize> {
    let is_visibility = at > 0 && words[at - 1].text == "in" && at > 1 && words[at - 2].text == "(";
    if !words[at].is_name() || is_visibility || (at > 0 && words[at - 1].text == "::") {
        return None;
    }
    let mut length = 1;
    while words.get(at + length).is_some_and(|word| word.text == "::")
        && words.get(at + length + 1).is_some_and(Word::is_name)
    {
        length += 2;
    }
    (length > 1).then_some(length)
}

fn names_of(words: &[Word<'_>]) -> Vec<String> {
    words.iter().filter(|word| word.is_name()).map(|word| word.text.to_owned()).collect()
}

/// One path of a `use`.
#[derive(Debug)]
struct Imported {
    names: Vec<String>,
    /// What it is called in the module.
    called: String,
    line: usize,
}

/// All paths of the tree that `words` are, each behind `prefix`.
fn tree(words: &[Word<'_>], prefix: &[String]) -> Vec<Imported> {
    let Some(first) = words.first() else { return Vec::new() };
    let open = words.iter().position(|word| word.text == "{");
    let Some(open) = open else {
        let renamed = words.iter().position(|word| word.text == "as");
        let mut names = prefix.to_vec();
        names.extend(names_of(&words[..renamed.unwrap_or(words.len())]));
        if names.len() > 1 && names.last().is_some_and(|name| name == "self") {
            names.pop();
        }
        let called = renamed.and_then(|at| words.get(at + 1)).map(|word| word.text.to_owned());
        let called = called.or_else(|| names.last().cloned()).unwrap_or_default();
        return vec![Imported { names, called, line: first.line }];
    };
    let prefix = [prefix, &names_of(&words[..open])].concat();
    let mut found = Vec::new();
    let (mut start, mut depth) = (open + 1, 0);
    for (at, word) in words.iter().enumerate().skip(open) {
        match word.text {
            "{" => depth += 1,
            "}" => depth -= 1,
            _ => {}
        }
        let ends = (word.text == "," && depth == 1) || (word.text == "}" && depth == 0);
        if ends {
            found.extend(tree(&words[start..at], &prefix));
            start = at + 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_taken_apart() {
        let words = product_words("crate::a::{self, b::{C, D as E}, f::*}");
        let paths: Vec<_> = tree(&words, &[])
            .iter()
            .map(|path| format!("{} as {}", path.names.join("::"), path.called))
            .collect();
        let want = ["crate::a as a", "crate::a::b::C as C", "crate::a::b::D as E", "crate::a::f as f"];
        assert_eq!(paths, want);
    }
}
