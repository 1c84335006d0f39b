//! What nobody connects to, and what PM2's options mean.

use crate::Home;

const WORK: &str = "console.log('at work, PORT is ' + process.env.PORT); setInterval(() => {}, 1000)";

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_script_that_listens_nowhere_is_a_worker() {
    let home = Home::new();
    home.script("lib.js", "exports.work = () => {}");
    let said = home.start(&[&home.script("bot.js", &format!("require('./lib'); {WORK}")), "-i", "2"]).await;
    assert!(
        said.text.contains("so that it runs as a worker") && said.stdout.contains("bot/1  ready"),
        "{}",
        said.text
    );
    assert!(!home.text().contains("listen") && !home.text().contains("upstream."), "{}", home.text());
    let said = home.start(&[&home.script("queue.js", WORK), "--worker"]).await;
    assert!(said.stdout.contains("queue runs; nobody connects to it"), "{}", said.text);
    home.until_written("queue", "at work, PORT is undefined").await;
    // What loads something that may listen is asked on its port.
    let said = home
        .say(&[
            "start",
            "--background",
            &home.script("app.js", "require('./inner')"),
            "--listen-timeout",
            "300",
        ])
        .await;
    assert!(!said.success, "{}", said.text);
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_job_that_ends_well_waits_for_its_time() {
    let home = Home::new();
    let job = home.script("job.js", "console.log('done')");
    let said = home.start(&[&job, "--worker", "--cron", "0 4 1 1 *", "--no-autorestart"]).await;
    assert!(said.success, "{}", said.text);
    let seen = async {
        loop {
            let list = home.say(&["list"]).await;
            if list.stdout.contains("finished") {
                return list.stdout;
            }
        }
    };
    let list = tokio::time::timeout(testkit::TIMEOUT, seen).await.expect("it ends");
    assert!(list.contains("-01-01 at 04:00"), "{list}");
    let said = home.say(&["restart", "job"]).await;
    assert!(said.success, "{}", said.text);
}

/// PM2 stops apps with SIGINT, and many clean up on that alone.
#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn it_is_stopped_with_the_signal_that_pm2_sends() {
    let home = Home::new();
    let text = "process.on('SIGINT', () => { console.log('cleaned up'); process.exit(0); }); console.log('at work'); setInterval(() => {}, 1000)";
    let bot = home.script("bot.js", text);
    home.start(&[&bot, "--worker"]).await;
    home.until_written("bot", "at work").await;
    assert!(home.say(&["stop", "bot"]).await.success);
    home.until_written("bot", "cleaned up").await;
    // What its owner says of it counts.
    assert!(home.say(&["set", "bot", "stop.signal", "SIGTERM"]).await.success);
    home.start(&[&bot, "--worker"]).await;
    assert!(home.text().contains("stop = { signal = \"SIGTERM\" }"), "{}", home.text());
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn lines_are_found_by_stream_and_text() {
    let home = Home::new();
    let text = "console.log('one'); console.error('two'); console.log('three'); console.error('end'); setInterval(() => {}, 1000)";
    home.start(&[&home.script("bot.js", text), "--worker"]).await;
    let all = async {
        while !home.say(&["logs", "bot"]).await.stdout.contains("end") {}
        while !home.say(&["logs", "bot"]).await.stdout.contains("three") {}
    };
    tokio::time::timeout(testkit::TIMEOUT, all).await.expect("it writes");
    for (words, want) in [
        (&["--stderr"][..], &["two", "end"][..]),
        (&["--stdout", "-n", "1"], &["three"]),
        (&["--grep", "t"], &["two", "three"]),
        (&["--out", "--grep", "one", "-n", "1"], &["one"]),
    ] {
        let said = home.say(&[&["logs", "bot"], words].concat()).await;
        let mut lines: Vec<&str> = said.stdout.lines().filter_map(|line| line.split(" | ").nth(1)).collect();
        lines.sort_unstable();
        let mut want = want.to_vec();
        want.sort_unstable();
        assert_eq!(lines, want, "{words:?}: {}", said.text);
    }
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn options_of_pm2_do_what_they_mean() {
    let home = Home::new();
    let bot = home.script("bot.js", &format!("console.log(process.execArgv.join()); {WORK}"));
    let options = [
        "--max-memory-restart",
        "300M",
        "--cron",
        "0 4 * * *",
        "--restart-delay",
        "200",
        "--kill-timeout",
        "3000",
        "--node-args",
        "--no-warnings --enable-source-maps",
        "--time",
        "--max-restarts",
        "7",
        "--stop-exit-codes",
        "0",
        "--merge-logs",
        "--worker",
    ];
    home.start(&[&[&*bot][..], &options].concat()).await;
    let text = home.text();
    for line in [
        "memory_max = \"300MiB\"\n",
        "cron = \"0 4 * * *\"\n",
        "stop = { signal = \"SIGINT\", timeout = \"3000ms\" }\n",
        "time = true }\n",
        "restart = { max = 7, pause_min = \"200ms\", pause_max = \"200ms\", stop_exit_codes = [0] }\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    home.until_written("bot", "--no-warnings,--enable-source-maps").await;
    let file = home.path().join("state/tidelock/logs/bot-0.log");
    let written = async {
        // A thread of its own writes it.
        while !std::fs::read_to_string(&file).is_ok_and(|text| text.contains("at work")) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(testkit::TIMEOUT, written).await.expect("its lines are in a file");
    for (words, why) in [
        (&["--output", "x.log"][..], "logs = { folder"),
        (&["--namespace", "a"], "apps have names alone"),
        (&["--interpreter", "no-such-program"], "no-such-program is not in $PATH"),
    ] {
        let said = home.say(&[&["start", "--background", &bot, "--name", "other"], words].concat()).await;
        assert!(!said.success && said.text.contains(why), "{words:?}: {}", said.text);
    }
}
