//! How a process ends, or is ended, with all that came of it.

use std::time::Duration;

use config::app::{App, ReadyWhen, Stop};
use supervisor::process::Ending;

use crate::support::{Stand, in_time, node, sh};

#[tokio::test]
async fn one_that_ignores_sigterm_is_killed() {
    let stand = Stand::new();
    // The shell hears it once its `sleep` has ended, and that may not have begun when the signal comes.
    let app = sh("trap 'echo heard' TERM; echo up; while :; do sleep 0.01; done");
    let process = stand.start(app.clone()).await;
    stand.line_with("up").await;
    process.stop(&app.stop);
    stand.line_with("heard").await;
    process.kill();
    let ending = in_time("its end", process.ended()).await;
    assert_eq!((ending, ending.to_string().as_str()), (Ending::Signal(9), "was ended by SIGKILL"));
    stand.is_empty().await;
}

#[tokio::test]
async fn the_signal_goes_to_the_whole_group() {
    let stand = Stand::new();
    let app = sh("sleep 1000 & sleep 1000 & echo up; wait");
    let process = stand.start(app.clone()).await;
    stand.line_with("up").await;
    let usage = process.usage().await;
    assert!(usage.processes == 3 && usage.resident_bytes > 0, "{usage:?}");
    process.stop(&app.stop);
    assert_eq!(in_time("its end", process.ended()).await, Ending::Signal(15));
    assert_eq!(process.usage().await.processes, 0);
    stand.is_empty().await;
}

/// Under `npm start` and `sh -c` the one that serves is a child, and its parent does not wait for it.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_child_may_finish_after_a_parent_that_ended_at_the_signal() {
    let stand = Stand::new();
    let child =
        "process.on('SIGTERM', () => setTimeout(() => { console.log('finished'); process.exit() }, 100));
        setInterval(() => {}, 1000); console.log('up')";
    let app =
        App { env: [("CHILD".to_owned(), child.to_owned())].into(), ..sh("node -e \"$CHILD\"; echo never") };
    let process = stand.start(app.clone()).await;
    stand.line_with("up").await;
    process.stop(&app.stop);
    assert_eq!(in_time("its end", process.ended()).await, Ending::Signal(15));
    assert_eq!(stand.lines(2).await, ["up", "finished"]);
    stand.is_empty().await;
}

#[tokio::test]
async fn whatever_it_leaves_behind_is_killed() {
    let stand = Stand::new();
    let script = "setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; (trap '' HUP TERM; sleep 1000 &) ; exit 3";
    let process = stand.start(sh(script)).await;
    let ending = in_time("its end", process.ended()).await;
    // Nothing is left at this very moment, not only soon.
    assert_eq!(crate::support::processes_with(stand.mark()), Vec::<String>::new());
    assert_eq!((ending, ending.to_string().as_str()), (Ending::Code(3), "ended with code 3"));
    stand.is_empty().await;
}

#[tokio::test]
async fn dropping_it_kills_it() {
    let stand = Stand::new();
    let process = stand.start(sh("setsid sleep 1000 & echo up; sleep 1000")).await;
    stand.line_with("up").await;
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn processor_time_of_those_that_ended_counts() {
    let stand = Stand::new();
    let burn =
        "node -e 'const end = process.cpuUsage().user + 200000; while (process.cpuUsage().user < end);'";
    let process = stand.start(sh(&format!("{burn}; echo burnt; sleep 1000"))).await;
    stand.line_with("burnt").await;
    let usage = process.usage().await;
    assert!(usage.cpu >= Duration::from_millis(190), "{usage:?}");
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn it_is_told_to_shut_down_as_by_pm2() {
    let stand = Stand::new();
    let script = "process.on('message', (message) => { console.log('told', message); process.exit(7); });
        process.on('SIGTERM', () => {}); process.send('hello'); process.send('ready'); setTimeout(() => {}, 1e6);";
    let mut app = node(script);
    app.ready.when = ReadyWhen::Message;
    app.stop = Stop { tell: true, ..app.stop };
    let process = stand.start(app.clone()).await;
    in_time("ready", process.told_ready()).await;
    process.stop(&app.stop);
    assert_eq!(in_time("its end", process.ended()).await, Ending::Code(7));
    assert_eq!(stand.line_with("told").await, "told shutdown");
    stand.is_empty().await;
}
