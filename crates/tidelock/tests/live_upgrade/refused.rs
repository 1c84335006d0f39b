//! What does not get ready does not go on.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use testkit::load::Load;
use testkit::tidelock::Tidelock;

use crate::{TIDELOCK, app_file, pids, status, upgrade, verb};

/// Programs that are no tidelock, and one that refuses the file: the old one goes on, says why, and can be upgraded after that.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_program_that_does_not_get_ready_changes_nothing() {
    let good = app_file(2, "");
    let mut tidelock = Tidelock::start(TIDELOCK, &good).await;
    let (before, pid) = (pids(&tidelock, 2).await, tidelock.process().pid());
    let load = Load::start(tidelock.address());
    load.until_answered(10).await;
    let script = |name: &str, text: &str| {
        let path = tidelock.directory().join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("set");
        path.display().to_string()
    };
    let (exits, hangs) = (script("exits", "exit 3"), script("hangs", "exec sleep 1000"));
    // It takes everything, says nothing, and ends when it is told to.
    let deaf = script("deaf", "exec cat > /dev/null");
    let no_program = tidelock.file().display().to_string();
    for (program, why) in [
        (&*exits, "exit status: 3"),
        (&*hangs, "not ready within 1s"),
        (&*deaf, "not ready within 1s"),
        ("/no/such/tidelock", "No such file"),
        (&*no_program, "Permission denied"),
    ] {
        let said = verb(&tidelock, &["upgrade", "--timeout", "1s", program]).await;
        assert!(!said.success && said.text.contains(why), "{program}: {}", said.text);
    }
    // The same program, and a file that says something wrong by now.
    tidelock.rewrite(&good.replace("instances", "instancez"));
    let said = verb(&tidelock, &["upgrade"]).await;
    assert!(!said.success && said.text.contains("instancez"), "the report is there: {}", said.text);
    // A listen that cannot be had, which is found later.
    tidelock.rewrite(&good.replace("127.0.0.1:0", "192.0.2.1:80"));
    let said = verb(&tidelock, &["upgrade"]).await;
    assert!(!said.success && said.text.contains("cannot listen on 192.0.2.1:80"), "{}", said.text);

    tidelock.rewrite(&good);
    assert_eq!(status(&tidelock).await["pid"], pid);
    load.until_answered(10).await;
    assert_eq!(pids(&tidelock, 2).await, before, "its processes are its own");
    let _successor = upgrade(&tidelock).await;
    load.until_answered(10).await;
    let seen = load.stop().await;
    assert_eq!(seen.failures, [""; 0], "{seen:#?}");
    assert_eq!(pids(&tidelock, 2).await, before);
}
