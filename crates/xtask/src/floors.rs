//! `cargo xtask floors`: no file of a product crate uses one that stands above it, no two need each other, none is too
//! long, and the walk of a request in ARCHITECTURE.md leads through functions that are there.

mod arrows;
mod source;
mod walk;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, DirEntry};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

use crate::run::root;
use arrows::{Module, Use, modules};

/// Check that each crate's files use only what is below them, and are not too long.
///
/// `crates/xtask/src/floors/floors.txt` names the floors of each crate, the highest first. Files of one floor may use each
/// other, but never in a circle. What is compiled for tests only may use whatever it likes. No file is longer than 450 lines,
/// but for those in `long.txt` beside it.
#[derive(Debug, clap::Args)]
pub(crate) struct Floors {
    /// The root of another tree of the same crates.
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
}

/// The order of floors.
const TABLE: &str = include_str!("floors/floors.txt");
/// Files that may be longer than the others.
const LONG: &str = include_str!("floors/long.txt");
/// Most lines of a file: one that would have more asks for a second room with a better name.
const LINES_MAX: usize = 450;

impl Floors {
    pub(crate) fn run(&self) -> Result<()> {
        check(&self.tree.clone().unwrap_or_else(root))
    }
}

/// Fails with all arrows of the tree under `root` that run back up or in a circle.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut faults = Vec::new();
    for (name, floors) in crates(TABLE)? {
        let folder = root.join("crates").join(name).join("src");
        let library = folder.join("lib.rs");
        let entry = if library.is_file() { library } else { folder.join("main.rs") };
        let modules = modules(&entry)?;
        let house = House { root, name, floors, modules };
        faults.extend(house.faults());
        long_files(root, &folder, &mut faults)?;
    }
    faults.extend(walk::faults(root)?);
    ensure!(faults.is_empty(), "the floors of the crates do not hold:\n{}", faults.join("\n"));
    Ok(())
}

/// Names the files under `folder` that are too long.
fn long_files(root: &Path, folder: &Path, faults: &mut Vec<String>) -> Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(DirEntry::path);
    for entry in entries {
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            long_files(root, &path, faults)?;
            continue;
        }
        let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        let may_be_long = LONG.lines().any(|line| line.split('#').next().unwrap_or_default().trim() == shown);
        if may_be_long || path.extension().is_none_or(|ending| ending != "rs") {
            continue;
        }
        let lines = fs::read_to_string(&path)?.lines().count();
        if lines > LINES_MAX {
            faults.push(format!(
                "  {shown} has {lines} lines, and {LINES_MAX} are enough: give a part of it a file of its own"
            ));
        }
    }
    Ok(())
}

/// A floor, as the names of what is on it.
type Floor<'a> = Vec<&'a str>;

/// Each crate's name and its floors, the highest first.
fn crates(table: &str) -> Result<BTreeMap<&str, Vec<Floor<'_>>>> {
    let mut crates: BTreeMap<&str, Vec<Floor<'_>>> = BTreeMap::new();
    let mut current = None;
    for line in table.lines() {
        let text = line.split('#').next().unwrap_or_default();
        let word = text.trim();
        if word.is_empty() {
            continue;
        }
        if text.starts_with(' ') {
            let name = current.context("a floor stands before the first crate")?;
            crates.entry(name).or_default().push(word.split_whitespace().collect());
        } else {
            if crates.insert(word, Vec::new()).is_some() {
                bail!("{word} has its floors twice");
            }
            current = Some(word);
        }
    }
    Ok(crates)
}

/// One crate, and what its files use.
struct House<'a> {
    root: &'a Path,
    name: &'a str,
    floors: Vec<Floor<'a>>,
    modules: Vec<Module>,
}

impl House<'_> {
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for room in self.floors.iter().flatten() {
            if !self.modules.iter().any(|module| is_in(module, room)) {
                faults.push(format!("  {}: no file is `{room}` of floors.txt", self.name));
            }
        }
        for (number, module) in self.modules.iter().enumerate() {
            if number > 0 && self.floor_of(number).is_none() {
                let file = self.shown(module);
                faults.push(format!("  {file} is on no floor of {}: name it in floors.txt", self.name));
            }
            for (&other, used) in &module.uses {
                faults.extend(self.back_up(number, other, used));
            }
        }
        faults.extend(self.circles());
        faults
    }

    /// What is wrong with one file's use of another one.
    fn back_up(&self, number: usize, other: usize, used: &Use) -> Option<String> {
        // The root of a crate stands above all of it.
        if number == 0 {
            return None;
        }
        let (from, to) =
            (self.floor_of(number)?, if other == 0 { None } else { Some(self.floor_of(other)?) });
        if to.is_some_and(|to| from <= to) {
            return None;
        }
        let upper = to.map_or("the crate's root".to_owned(), |to| format!("`{}`", self.floors[to].join(" ")));
        Some(format!(
            "  {}, which is {upper}, and `{}` is below that",
            self.arrow(number, other, used),
            self.floors[from].join(" ")
        ))
    }

    /// The floor of the module with this number: the innermost that is named in the table.
    fn floor_of(&self, number: usize) -> Option<usize> {
        let module = &self.modules[number];
        let rooms =
            (0..).zip(&self.floors).flat_map(|(index, floor)| floor.iter().map(move |room| (index, room)));
        let fitting = rooms.filter(|(_, room)| is_in(module, room));
        fitting.max_by_key(|(_, room)| room.len()).map(|(index, _)| index)
    }

    /// The shortest circle through each file that is in one, but one only for the same files.
    fn circles(&self) -> Vec<String> {
        let mut told = vec![false; self.modules.len()];
        let mut circles = Vec::new();
        for start in 0..self.modules.len() {
            let Some(circle) = self.circle(start) else { continue };
            if circle.iter().any(|&number| told[number]) {
                continue;
            }
            circle.iter().for_each(|&number| told[number] = true);
            let next = circle.iter().skip(1).chain([&start]);
            let arrows = circle
                .iter()
                .zip(next)
                .map(|(&from, &to)| format!("    {}", self.arrow(from, to, &self.modules[from].uses[&to])));
            circles.push(format!("  a circle:\n{}", arrows.collect::<Vec<_>>().join("\n")));
        }
        circles
    }

    /// The files on the shortest way from `start` back to it, itself first.
    fn circle(&self, start: usize) -> Option<Vec<usize>> {
        let mut came_from = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(number) = queue.pop_front() {
            for &other in self.modules[number].uses.keys() {
                if other == start {
                    let mut way = vec![number];
                    while let Some(&before) = came_from.get(way.last().unwrap_or(&start)) {
                        way.push(before);
                    }
                    way.reverse();
                    return Some(way);
                }
                if let std::collections::btree_map::Entry::Vacant(entry) = came_from.entry(other) {
                    entry.insert(number);
                    queue.push_back(other);
                }
            }
        }
        None
    }

    fn arrow(&self, from: usize, to: usize, used: &Use) -> String {
        let (from, to) = (&self.modules[from], &self.modules[to]);
        let place = used.declared.map(|line| format!(":{line}")).unwrap_or_default();
        let name = if used.name.is_empty() { String::new() } else { format!("`{}` of ", used.name) };
        format!("{}:{} uses {name}{}{place}", self.shown(from), used.line, self.shown(to))
    }

    fn shown(&self, module: &Module) -> String {
        module.file.strip_prefix(self.root).unwrap_or(&module.file).display().to_string()
    }
}

/// Whether `module` is the one that `room` names, or in its folder.
fn is_in(module: &Module, room: &str) -> bool {
    let mut names = module.path.iter();
    room.split('/').all(|name| names.next().is_some_and(|own| own == name))
}
