//! "Moved" means that the same twenty requests are answered alike by nginx with the file and by tidelock with what
//! `tidelock import` makes of it: status, body, Location, the headers of the answer and those that the node saw.
//!
//! Each file of `corpus` is mapped to the test's own ports, folders, certificates and nodes. nginx listens on 127.0.0.2 and
//! tidelock on 127.0.0.3, on the same ports, so that what they say of a port is the same.

mod alike;
mod asks;
mod disk;
mod hostile;
mod mapped;
mod stand;
mod told;
mod week;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use stand::{Outcome, try_file};

/// Shapes that some files have, one in each of these. All of them move.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs nginx: `cargo xtask test`")]
async fn shapes_answer_as_nginx_does() {
    for file in files("shapes") {
        match try_file(&file).await {
            Outcome::Moved => {}
            Outcome::NotWhole(left) => panic!("{}: {left:?}", file.display()),
            Outcome::Differs(differences) => panic!("{}:\n{}", file.display(), differences.join("\n")),
        }
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs nginx: `cargo xtask test`")]
async fn files_that_import_whole_answer_as_nginx_does() {
    let files = files("corpus");
    assert_eq!(files.len(), 40);
    let only = std::env::var("ONLY").unwrap_or_default();
    let (mut table, mut moved, mut wrong) = (String::new(), 0, Vec::new());
    for file in &files {
        let name = file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        if !name.starts_with(&only) {
            continue;
        }
        let said = match try_file(file).await {
            Outcome::Moved => {
                moved += 1;
                "moves".to_owned()
            }
            Outcome::NotWhole(left) => left.join("<br>"),
            Outcome::Differs(differences) => {
                wrong.push(format!("{name}:\n{}", differences.join("\n")));
                "answers otherwise".to_owned()
            }
        };
        let _ = writeln!(table, "| {name} | {said} |");
    }
    println!("{moved} of {} move\n{table}", files.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    if only.is_empty() {
        the_documentation_says(&format!(
            "{moved} of these 40 files of ours, written in the ways people write them, move whole today.\n\n\
             | file | what keeps it |\n|---|---|\n{table}"
        ));
    }
}

/// `UPDATE_REPORTS=1` writes it there.
fn the_documentation_says(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/from-nginx.md");
    let text = std::fs::read_to_string(&path).expect("docs/from-nginx.md is there");
    let (before, rest) = text.split_once(BEGIN).expect("it has a place for the table");
    let (there, after) = rest.split_once(END).expect("the place has an end");
    let wanted = format!("\n{table}\n");
    if std::env::var_os("UPDATE_REPORTS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).expect("it can be written");
    } else {
        assert_eq!(there, wanted, "docs/from-nginx.md is old; UPDATE_REPORTS=1 writes it");
    }
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nginx").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    files.sort();
    files
}

const BEGIN: &str = "<!-- written by the test of the forty files, from here -->";
const END: &str = "<!-- to here -->";
