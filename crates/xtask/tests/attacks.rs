//! Goal: `cargo xtask bench attacks` and `cargo xtask soak` work from start to end. Method: the commands themselves, for a
//! moment, with the build for tests. How fast anything was is not looked at; that nothing is left is.

use std::process::Command;

#[test]
fn a_short_attack_gives_a_table_of_everybody() {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_tidelock-xtask"));
    xtask.args([
        "bench",
        "attacks",
        "--debug",
        "--offline",
        "--rows",
        "nothing,chunks,frames",
        "--seconds",
        "1",
    ]);
    let output = xtask.output().unwrap();
    let (said, table) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}");
    for who in ["tidelock", "nginx", "haproxy"] {
        assert_eq!(table.matches(&format!("| {who} |")).count(), 3, "{table}");
    }
}

#[test]
fn after_a_short_soak_nothing_is_left() {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_tidelock-xtask"));
    xtask.args(["soak", "--debug", "--offline", "--minutes", "0.2"]);
    let output = xtask.output().unwrap();
    let (said, report) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}");
    assert!(report.contains("in the end all counts were zero"), "{report}");
}
