//! Which program runs a file: by its extension, and by what there is in $PATH.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(super) fn is_known(extension: &str) -> bool {
    ["js", "mjs", "cjs", "py"].contains(&extension) || TYPESCRIPT.contains(&extension)
}

/// The program and its arguments, by the extension of the file.
pub(super) fn command(
    path: &Path,
    extension: &str,
    permissions: &std::fs::Permissions,
) -> Result<Vec<String>, String> {
    let path = std::path::absolute(path).map_err(|error| format!("the current folder is gone: {error}"))?;
    let file = path.to_str().ok_or("a name that is not UTF-8 needs a file of its own")?.to_owned();
    let with = |program: &str| match in_path(program) {
        Some(_) => Ok(vec![program.to_owned(), file.clone()]),
        None => Err(format!("{program} is not in $PATH, and {file} needs it")),
    };
    match extension {
        "js" | "mjs" | "cjs" => with("node"),
        "py" => with("python3"),
        typescript if TYPESCRIPT.contains(&typescript) => typescript_command(&file),
        _ if permissions.mode() & 0o111 != 0 => Ok(vec![file]),
        _ => Err(format!(
            "{file} cannot be run: make it executable, or name its interpreter: `tidelock start INTERPRETER --name \
             NAME -- {file}`"
        )),
    }
}

/// Node.js runs TypeScript by itself since 22.18; before that something else has to.
fn typescript_command(file: &str) -> Result<Vec<String>, String> {
    typescript(file).map(|program| program.into_iter().chain([file.to_owned()]).collect())
}

/// The program that runs TypeScript here, with its arguments; `file` is what it is needed for.
pub(crate) fn typescript(file: &str) -> Result<Vec<String>, String> {
    let node = node_version();
    if node.is_some_and(|version| {
        version >= (22, 18) && version != (23, 0) && !((23, 0)..(23, 6)).contains(&version)
    }) {
        return Ok(vec!["node".to_owned()]);
    }
    let others = [&["tsx"][..], &["bun"], &["deno", "run", "--allow-all"]];
    if let Some(found) = others.iter().find(|words| in_path(words[0]).is_some()) {
        return Ok(found.iter().map(|word| (*word).to_owned()).collect());
    }
    let node = node.map_or("there is no Node.js".to_owned(), |(major, minor)| {
        format!("this is Node.js {major}.{minor}")
    });
    Err(format!("{file} needs Node.js 22.18, tsx, bun or deno; {node}, and none of the others is in $PATH"))
}

/// Its two first numbers.
fn node_version() -> Option<(u32, u32)> {
    let said = Command::new("node").arg("--version").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let mut numbers = said.trim().strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Where in $PATH it is.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(is_program)
}

const TYPESCRIPT: [&str; 3] = ["ts", "mts", "cts"];
