//! Goal: the events that the log tells of are those that docs/operating.md lists, no fewer and no more. Method: both are read.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn each_event_of_the_log_is_documented_and_each_documented_one_is_there() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut told = BTreeSet::new();
    for product in ["acme", "admin", "broker", "client", "config", "proxy", "supervisor", "tidelock", "wire"]
    {
        read_events(&crates.join(product).join("src"), &mut told);
    }
    let page = fs::read_to_string(crates.join("../docs/operating.md")).unwrap();
    let (_, table) = page.split_once("| event | what has happened |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let names =
        rows.map(|row| row.split('|').nth(1).unwrap()).flat_map(|names| names.split('`').skip(1).step_by(2));
    let documented: BTreeSet<String> = names.map(str::to_owned).collect();
    assert_eq!(told, documented);
}

/// The names behind `event =` in the files of a folder.
fn read_events(folder: &Path, told: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_events(&path, told);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let begun = text.split("event = \"").skip(1);
            told.extend(begun.filter_map(|rest| Some(rest.split_once('"')?.0.to_owned())));
        }
    }
}
