//! What people read when a file is wrong. Each `broken/*.toml` has next to it, in `*.report`, the exact text;
//! `UPDATE_REPORTS=1` writes them again, and then they are read by eye.

use std::path::{Path, PathBuf};

use tidelock_config::parse;

#[test]
fn broken_files_are_explained() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("the folder is in the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let name = path.file_name().expect("a file");
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let report = match parse(&text, Path::new(name)) {
            Ok(loaded) => loaded.warnings,
            Err(report) => report,
        };
        let expected = path.with_extension("report");
        if std::env::var_os("UPDATE_REPORTS").is_some() {
            std::fs::write(&expected, report.to_string()).expect("a writable folder");
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(report.to_string(), expected, "{}", name.display());
    }
}
