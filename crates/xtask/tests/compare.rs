//! Goal: `cargo xtask bench compare` works, from the start of three proxies to the saved table. Method: the command itself,
//! for a moment, with few connections and the build for tests. The numbers mean nothing, and are not looked at.

use std::process::Command;

#[test]
#[cfg_attr(not(feature = "programs"), ignore = "needs nginx and HAProxy: `cargo xtask test`")]
fn a_short_comparison_gives_a_table_of_everybody() {
    let rows = "http-128,latency-70,tls-full,echo-64,fan-out,idle-websocket,grow-routes";
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_tidelock-xtask"));
    // The programs are installed by `cargo xtask test`, and built by it.
    xtask.args(["bench", "compare", "--debug", "--offline", "--rounds", "1", "--warm", "0.1"]);
    xtask.args(["--seconds", "0.3", "--connections-max", "20", "--rows", rows]);
    let output = xtask.output().unwrap();
    let (said, table) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{said}");
    let lines: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).collect();
    let [head, measured @ ..] = lines.as_slice() else { panic!("no table in {table}") };
    assert!(head.contains("| tidelock | nginx | nginx-again | haproxy |"), "{head}");
    // CPU time and requests a second, or what else the rows show; growth is measured at tidelock alone, before and after.
    assert_eq!(measured.len(), 2 + 2 + 2 + 2 + 3 + 1 + 2, "{table}");
    for line in measured {
        let contenders = if line.contains("routes") || line.contains("grown") { 1 } else { 4 };
        assert_eq!(line.matches('±').count(), contenders, "somebody was not measured: {line}");
    }
}
