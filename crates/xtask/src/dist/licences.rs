//! The licences of everything inside the binary, as they lie in the crates' own folders.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::run::{command, root};

/// Writes the list of crates and the text of each licence, each text once.
pub(super) fn write(file: &Path) -> Result<()> {
    let metadata = metadata()?;
    let inside = metadata.inside()?;
    let mut texts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut list = String::new();
    for package in &inside {
        let name = format!("{} {}", package.name, package.version);
        let license = package.license.as_deref().unwrap_or("see its text");
        writeln!(list, "  {name}: {license}")?;
        let folder = package.manifest_path.parent().context("a manifest lies in a folder")?;
        let mut found = Vec::new();
        texts_in(folder, 0, &mut found)?;
        // A crate that has none brings that of its workspace, which others of it have; its name is in the list.
        for text in found {
            texts.entry(text).or_default().insert(name.clone());
        }
    }
    ensure!(!inside.is_empty() && !texts.is_empty(), "no licence was found");
    let mut all = format!(
        "tidelock is licensed under MIT or Apache-2.0. It is built with these crates, and with Rust's standard library (MIT or \
         Apache-2.0):\n\n{list}"
    );
    for (text, names) in &texts {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        write!(all, "\n{}\n{}\n\n{}\n", "=".repeat(80), names.join(", "), text.trim_end())?;
    }
    fs::write(file, all)?;
    eprintln!("xtask: {} texts of the licences of {} crates", texts.len(), inside.len());
    Ok(())
}

/// Files that hold licences, of the C libraries in its subfolders too.
fn texts_in(folder: &Path, depth: usize, found: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_dir() {
            if depth < DEPTH_MAX && !["TARGET", "TESTS", "NODE_MODULES"].contains(&&*name) {
                texts_in(&path, depth + 1, found)?;
            }
        } else if STARTS.iter().any(|start| name.starts_with(start))
            && ![".RS", ".C", ".H", ".PY", ".SH"].iter().any(|end| name.ends_with(end))
            && let Ok(text) = fs::read_to_string(&path)
        {
            found.push(text.replace("\r\n", "\n"));
        }
    }
    Ok(())
}

fn metadata() -> Result<Metadata> {
    let words = ["metadata", "--format-version=1", "--locked", "--filter-platform=x86_64-unknown-linux-gnu"];
    let output = command(".", "cargo", &words).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

impl Metadata {
    /// The packages that tidelock is linked with, others' only, by name.
    fn inside(&self) -> Result<Vec<&Package>> {
        let packages: HashMap<_, _> = self.packages.iter().map(|package| (&package.id, package)).collect();
        let nodes: HashMap<_, _> = self.resolve.nodes.iter().map(|node| (&node.id, node)).collect();
        let of_ours = |package: &Package| package.manifest_path.starts_with(root());
        let first = self.packages.iter().find(|package| package.name == "tidelock" && of_ours(package));
        let mut waiting = vec![&first.context("tidelock is a package of this workspace")?.id];
        let mut seen = HashSet::new();
        while let Some(id) = waiting.pop() {
            if seen.insert(id) {
                let deps = &nodes[id].deps;
                let linked = |dep: &&Dep| dep.dep_kinds.iter().any(|kind| kind.kind.is_none());
                waiting.extend(deps.iter().filter(linked).map(|dep| &dep.pkg));
            }
        }
        let mut inside: Vec<_> =
            seen.into_iter().map(|id| packages[id]).filter(|package| !of_ours(package)).collect();
        inside.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
        Ok(inside)
    }
}

/// What of `cargo metadata` is read.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dep>,
}

#[derive(Debug, Deserialize)]
struct Dep {
    pkg: String,
    dep_kinds: Vec<DepKind>,
}

#[derive(Debug, Deserialize)]
struct DepKind {
    kind: Option<String>,
}

/// How such files are called.
const STARTS: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];

/// zstd's lies at zstd-sys/zstd/LICENSE.
const DEPTH_MAX: usize = 2;
