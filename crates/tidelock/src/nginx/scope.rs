//! What holds at a place of the file: its own block and those around it.

use std::collections::HashMap;
use std::rc::Rc;

use super::parse::Directive;

/// The blocks around a place, the outermost first.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope<'f>(Vec<Rc<Block<'f>>>);

/// The directives of one block by their names: a server may have thousands of locations, each of which asks for dozens of
/// names.
#[derive(Debug)]
struct Block<'f>(HashMap<&'f str, Vec<&'f Directive>>);

impl<'f> Block<'f> {
    fn of(directives: &'f [Directive]) -> Self {
        let mut by_name: HashMap<&str, Vec<&Directive>> = HashMap::new();
        for directive in directives {
            by_name.entry(&directive.name).or_default().push(directive);
        }
        Self(by_name)
    }

    fn named(&self, name: &str) -> &[&'f Directive] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}

impl<'f> Scope<'f> {
    /// The same, and a block in it.
    pub(super) fn inner(&self, block: &'f [Directive]) -> Self {
        let mut blocks = self.0.clone();
        blocks.push(Rc::new(Block::of(block)));
        Self(blocks)
    }

    /// The directive of this name that holds: that of the innermost block which has one.
    pub(super) fn one(&self, name: &str) -> Option<&'f Directive> {
        self.holding(name).first().copied()
    }

    /// Those of the innermost block that has any: one in a location takes away all of the server's.
    pub(super) fn list(&self, name: &str) -> Vec<&'f Directive> {
        self.holding(name).to_vec()
    }

    fn holding(&self, name: &str) -> &[&'f Directive] {
        let named = self.0.iter().rev().map(|block| block.named(name));
        named.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
    }

    /// Those of any of these names, in their order, of the innermost block that has any.
    pub(super) fn innermost(&self, names: &[&str]) -> Vec<&'f Directive> {
        let of = |block: &Rc<Block<'f>>| -> Vec<&'f Directive> {
            names.iter().flat_map(|name| block.named(name)).copied().collect()
        };
        let mut found = self.0.iter().rev().map(of).find(|found| !found.is_empty()).unwrap_or_default();
        // They stand in one slice, in the order of the file.
        found.sort_by_key(|directive| std::ptr::from_ref(*directive));
        found
    }

    /// Those of all blocks, the outermost first.
    pub(super) fn all(&self, name: &str) -> Vec<&'f Directive> {
        self.0.iter().flat_map(|block| block.named(name)).copied().collect()
    }

    /// The constant that `set` gave a variable, by its name without the dollar sign.
    pub(super) fn constant(&self, variable: &str) -> Option<&'f str> {
        let set = self.all("set").into_iter().filter(|set| set.arg().strip_prefix('$') == Some(variable));
        // Set twice, or in an `if`, it is no constant.
        let mut values = set.filter_map(|set| set.args.get(1).map(String::as_str));
        values.next().filter(|value| values.next().is_none() && !value.contains('$'))
    }

    /// A text with its constants put in.
    pub(super) fn filled_in(&self, text: &str) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('$') {
            filled.push_str(before);
            let (name, after) = variable(behind);
            match self.constant(name) {
                Some(value) => filled.push_str(value),
                None => filled.extend(["$", &behind[..behind.len() - after.len()]]),
            }
            rest = after;
        }
        filled + rest
    }
}

/// Splits the name of a variable off what stands behind a dollar sign.
pub(super) fn variable(behind: &str) -> (&str, &str) {
    if let Some((name, rest)) = behind.strip_prefix('{').and_then(|behind| behind.split_once('}')) {
        return (name, rest);
    }
    if behind.starts_with(|c: char| c.is_ascii_digit()) {
        return behind.split_at(1);
    }
    let end = behind.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(behind.len());
    behind.split_at(end)
}
