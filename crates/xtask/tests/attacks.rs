//! Goal: `cargo xtask bench attacks` and `cargo xtask soak` work from start to end. Method: the commands themselves, for a
//! moment, with the build for tests. How fast anything was is not looked at; that nothing is left is.

use std::process::Command;

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs nginx and HAProxy: `cargo xtask test`")]
fn a_short_attack_gives_a_table_of_everybody() {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_tidelock-xtask"));
    xtask.args([
        "bench",
        "attacks",
        "--debug",
        "--offline",
        "--rounds",
        "2",
        "--rows",
        "nothing,frames",
        "--seconds",
        "1",
    ]);
    let output = xtask.output().unwrap();
    let (said, table) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}");
    for who in ["tidelock", "nginx", "haproxy"] {
        assert_eq!(table.matches(&format!("| {who} |")).count(), 2, "{table}");
        assert!(said.contains(&format!("round 2, frames, {who}: ")), "{said}");
    }
}

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
fn after_a_short_soak_nothing_is_left() {
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_tidelock-xtask"));
    xtask.args(["soak", "--debug", "--offline", "--minutes", "0.2"]);
    let output = xtask.output().unwrap();
    let (said, report) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}");
    assert!(report.contains("in the end all counts were zero"), "{report}");
}
