//! The walk of a request in ARCHITECTURE.md: each function that it names is where it says.

use std::fs;
use std::path::Path;

use anyhow::Result;

/// Most functions that a reader is led through.
const STEPS_MAX: usize = 9;

/// What ARCHITECTURE.md says of the walk of a request that the code does not bear out.
pub(super) fn faults(root: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(root.join("ARCHITECTURE.md"))?;
    let steps: Vec<(&str, &str)> = text
        .lines()
        .skip_while(|line| *line != HEAD)
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| {
            let mut cells = line.split('|').map(|cell| cell.trim().trim_matches('`')).skip(1);
            Some((cells.next()?, cells.next()?))
        })
        .collect();
    let mut faults = Vec::new();
    if !(1..=STEPS_MAX).contains(&steps.len()) {
        faults.push(format!(
            "  ARCHITECTURE.md: the walk of a request has {} steps of 1 to {STEPS_MAX}",
            steps.len()
        ));
    }
    let sources = root.join("crates/proxy/src");
    for (function, file) in steps {
        let name = function.rsplit("::").next().unwrap_or(function);
        let files = [format!("{file}.rs"), format!("{file}/mod.rs")];
        let is_there =
            files.iter().filter_map(|file| fs::read_to_string(sources.join(file)).ok()).any(|text| {
                [format!("fn {name}("), format!("fn {name}<")].iter().any(|begin| text.contains(begin))
            });
        if !is_there {
            faults.push(format!("  ARCHITECTURE.md: there is no `{function}` in `{file}`"));
        }
    }
    Ok(faults)
}

/// The first line of its table.
const HEAD: &str = "| function | in | does |";
