//! The files that both serve.

use std::path::{Path, PathBuf};

use crate::mapped::Found;

/// Puts files into every folder that is served: a page, a script, and what the locations of the file name.
pub(crate) fn fill(folder: &Path, found: &Found) {
    let write = |path: PathBuf, text: &str| {
        if path.is_dir() {
            return;
        }
        std::fs::create_dir_all(path.parent().expect("it is below")).expect("folders can be made");
        std::fs::write(path, text).expect("files can be written");
    };
    // An `alias` may be one file, which is in another's folder.
    let folders = found.folders.iter().filter(|path| Path::new(path).extension().is_none());
    for served in folders {
        let root = folder.join("disk").join(served.trim_start_matches('/'));
        write(root.join("index.html"), &format!("{PAGE}{served}\n"));
        for script in ["a/b.js", ".git/config"] {
            write(root.join(script), &format!("{script} of {served}\n"));
        }
        let named = found.paths.iter().chain(&found.pages);
        let paths = named.filter(|path| path.starts_with('/') && !path.contains(['\\', '(', '[']));
        for path in paths {
            let below = root.join(path.trim_matches('/'));
            match below.extension() {
                // That of the folder, which is there.
                Some(_) if below.ends_with("index.html") => {}
                Some(_) => write(below, &format!("{path} of {served}\n")),
                None => {
                    write(below.join("a/b.js"), &format!("a script of {path} in {served}\n"));
                    write(below.join("index.html"), &format!("{PAGE}{path} in {served}\n"));
                }
            }
        }
    }
}

/// What every page in a folder begins with.
pub(crate) const PAGE: &str = "a page of ";
