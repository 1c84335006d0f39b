//! What apps write: where it comes to, and that nothing about it stops an app or fills a disk.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use config::app::{App, Logs};
use supervisor::logs::{LogSelector, Said};
use supervisor::process::Ending;
use testkit::{TIMEOUT, until_file};
use tokio::time::timeout;

use crate::support::{Stand, in_time, sh};

fn into_files(folder: &Path, script: &str) -> App {
    let app = sh(script);
    let logs = Logs { folder: Some(folder.to_owned()), file_bytes_max: 64 << 10, files_max: 3, ..app.logs };
    App { logs, ..app }
}

fn sizes(folder: &Path) -> Vec<u64> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    // One may be renamed at this moment.
    files.iter().filter_map(|file| Some(fs::metadata(file).ok()?.len())).collect()
}

#[tokio::test]
async fn half_a_line_is_a_line_at_its_end() {
    let stand = Stand::new();
    let process = stand.start(sh("printf 'whole\\nhalf'")).await;
    assert_eq!(process.ended().await, Ending::Code(0));
    assert_eq!(stand.lines(2).await, ["whole", "half"]);
    stand.is_empty().await;
}

/// Whoever hears that it has ended, and how, shows what it said last, however much others say.
#[tokio::test]
async fn what_it_has_said_is_read_before_it_is_told_that_it_has_ended() {
    let stand = Stand::new();
    let mut torrents = Vec::new();
    for slot in 1..4 {
        torrents.push(
            stand
                .start_at(
                    sh("exec yes 'a line of a torrent, and then another one that looks the same'"),
                    slot,
                )
                .await
                .unwrap(),
        );
    }
    for _ in 0..20 {
        let process = stand.start(sh("seq 1 500; echo why >&2; exit 3")).await;
        let id = process.launch().id;
        assert_eq!(process.ended().await, Ending::Code(3));
        let which = LogSelector { app: None, slot: Some(0) };
        let mut reader = stand.host.logs().read(&which, 4000, false).unwrap();
        let mut all = Vec::new();
        while let Some(Said::Line(line)) = reader.next().await {
            assert_eq!(line.instance, id);
            all.push(line.text());
        }
        assert_eq!(all.len(), 501);
        assert!(all.contains(&"why".to_owned()));
        stand.host.logs().flush(&which);
    }
    torrents.iter().for_each(|torrent| torrent.kill());
    for torrent in torrents {
        in_time("its end", torrent.ended()).await;
    }
    stand.is_empty().await;
}

#[tokio::test]
async fn it_may_close_what_it_writes_to() {
    let stand = Stand::new();
    let process = stand.start(sh("echo one; exec 1>&-; echo two >&2; exec 2>&-; sleep 1000")).await;
    stand.line_with("two").await;
    assert!(process.usage().await.processes > 0);
    process.kill();
    in_time("its end", process.ended()).await;
    stand.is_empty().await;
}

#[tokio::test]
async fn two_hundred_megabytes_stay_within_the_budget() {
    let stand = Stand::new();
    let folder = stand.folder.path().join("logs");
    let line = "a line of a torrent, and then another one that looks the same";
    let script = format!("yes '{line}' | head -c 200000000; echo; echo last");
    let process = stand.start(into_files(&folder, &script)).await;
    let ending = process.ended();
    tokio::pin!(ending);
    let mut looked = 0;
    let ending = loop {
        tokio::select! {
            ending = &mut ending => break ending,
            () = tokio::time::sleep(std::time::Duration::from_millis(5)) => {
                looked += 1;
                if folder.is_dir() {
                    let sizes = sizes(&folder);
                    assert!(sizes.len() <= 3 && sizes.iter().all(|&size| size <= 64 << 10), "{sizes:?}");
                }
            }
        }
    };
    assert_eq!(ending, Ending::Code(0));
    assert!(looked > 0);
    until_file(&folder.join("chat-0.log"), |text| text.ends_with("\nlast\n")).await;
    // Whole lines, and full files.
    let older = fs::read_to_string(folder.join("chat-0.log.1")).unwrap();
    let is_whole = |read: &str| line.starts_with(read) || read.starts_with("tidelock: ");
    assert!(older.len() > 63 << 10 && older.lines().all(is_whole), "{} {older}", older.len());
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")).unwrap();
    assert!(peak.parse::<u64>().unwrap() < 150_000, "{peak} kB");
    stand.is_empty().await;
}

#[tokio::test]
async fn files_are_rotated_without_losing_a_line() {
    let stand = Stand::new();
    let folder = stand.folder.path().join("logs");
    let process = stand.start(into_files(&folder, "seq 1 25000; echo last")).await;
    assert_eq!(process.ended().await, Ending::Code(0));
    until_file(&folder.join("chat-0.log"), |text| text.ends_with("\nlast\n")).await;
    let all = ["chat-0.log.2", "chat-0.log.1", "chat-0.log"]
        .map(|name| fs::read_to_string(folder.join(name)).unwrap_or_default());
    let expected: String = (1..=25_000).map(|number| format!("{number}\n")).collect();
    assert_eq!(all.concat(), expected + "last\n");
    assert_eq!(sizes(&folder).len(), 3);
    stand.is_empty().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_written_stops_no_app_and_is_told_later() {
    let stand = Stand::new();
    let folder = stand.folder.path().join("logs");
    fs::create_dir(&folder).unwrap();
    let log = folder.join("chat-0.log");
    symlink("/dev/full", &log).unwrap();
    let mut app = into_files(&folder, "seq 1 100000; echo all; while :; do echo more; sleep 0.05; done");
    app.logs.file_bytes_max = 1 << 20;
    let process = stand.start(app).await;
    // A reader may miss any one line of a torrent, so this waits for what comes again and again. Less than the whole
    // torrent can be under way to the file then: the first of it has been refused.
    stand.line_with("more").await;
    assert_eq!(fs::read_link(&log).unwrap(), Path::new("/dev/full"));
    fs::remove_file(&log).unwrap();
    let text = until_file(&log, |text| text.contains("more")).await;
    let told = text.strip_prefix("tidelock: lines lost here: ").and_then(|rest| rest.split_once('\n'));
    let (lost, rest) = told.unwrap_or_else(|| panic!("{text}"));
    // Every line is either counted or there.
    let expected = match lost.parse::<u64>().unwrap() {
        lost @ 1..100_000 => (lost + 1).to_string(),
        100_000 => "all".to_owned(),
        0 => panic!("{text}"),
        _ => "more".to_owned(),
    };
    assert_eq!(rest.lines().next(), Some(expected.as_str()));
    drop(process);
    stand.is_empty().await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_stops_no_app() {
    let stand = Stand::new();
    let file = stand.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let process = stand.start(into_files(&file, "seq 1 100000; echo all")).await;
    assert_eq!(in_time("its end", process.ended()).await, Ending::Code(0));
    stand.line_with("all").await;
    stand.is_empty().await;
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_told_how_much_it_missed() {
    let stand = Stand::new();
    let mut reader = stand.reader();
    let process = stand.start(sh("seq 1 50000; echo last")).await;
    assert_eq!(process.ended().await, Ending::Code(0));
    stand.line_with("last").await;
    let (mut lines, mut lost) = (0, 0);
    let reading = async {
        while lines + lost < 50_001 {
            match reader.next().await {
                Some(Said::Line(_)) => lines += 1,
                Some(Said::Lost(count)) => lost += count,
                None => break,
            }
        }
    };
    assert!(timeout(TIMEOUT, reading).await.is_ok(), "{lines} and {lost}");
    assert!(lines > 1000 && lost > 1000 && lines + lost == 50_001, "{lines} and {lost}");
    stand.is_empty().await;
}

#[tokio::test]
async fn readers_get_the_last_lines_of_those_they_ask_for() {
    let stand = Stand::new();
    let script = "echo $NODE_APP_INSTANCE one; echo $NODE_APP_INSTANCE two; echo $NODE_APP_INSTANCE three";
    for slot in [0, 1] {
        let process = stand.start_at(sh(script), slot).await.unwrap();
        process.ended().await;
        stand.line_with(&format!("{slot} three")).await;
    }
    let of = |app: Option<&str>, slot| LogSelector { app: app.map(str::to_owned), slot };
    for (which, lines, expected) in [
        (of(None, None), 4, vec!["0 three", "1 one", "1 two", "1 three"]),
        (of(Some("chat"), Some(0)), 2, vec!["0 two", "0 three"]),
        (of(Some("other"), None), 9, vec![]),
        (of(None, None), 0, vec![]),
    ] {
        let mut reader = stand.host.logs().read(&which, lines, false).unwrap();
        let mut read = Vec::new();
        while let Some(Said::Line(line)) = reader.next().await {
            read.push(line.text());
        }
        assert_eq!(read, expected);
    }
    stand.is_empty().await;
}

#[tokio::test]
async fn what_is_flushed_is_gone() {
    let stand = Stand::new();
    let folder = stand.folder.path().join("logs");
    let process = stand
        .start(into_files(
            &folder,
            "trap 'echo after' HUP; seq 1 25000; echo last; while :; do sleep 0.01; done",
        ))
        .await;
    let log = folder.join("chat-0.log");
    until_file(&log, |text| text.ends_with("\nlast\n")).await;
    stand.host.logs().flush(&LogSelector::default());
    until_file(&log, str::is_empty).await;
    assert_eq!(sizes(&folder), [0]);
    let mut nothing = stand.host.logs().read(&LogSelector::default(), 10, false).unwrap();
    assert_eq!(nothing.next().await, None);
    process.signal(1);
    until_file(&log, |text| text.ends_with("after\n") && !text.contains("last")).await;
    drop(process);
    stand.is_empty().await;
}

/// What an app puts in the place of its log, tidelock does not write to.
#[tokio::test]
async fn no_log_goes_through_a_link() {
    for (link, why) in [("symbolic", "a symbolic link"), ("hard", "a hard link"), ("fifo", "no regular file")]
    {
        let stand = Stand::new();
        let folder = stand.folder.path().join("logs");
        fs::create_dir(&folder).unwrap();
        let (precious, log) = (stand.folder.path().join("precious"), folder.join("chat-0.log"));
        fs::write(&precious, "dear diary\n").unwrap();
        match link {
            "symbolic" => symlink(&precious, &log).unwrap(),
            "hard" => fs::hard_link(&precious, &log).unwrap(),
            _ => rustix::fs::mkfifoat(rustix::fs::CWD, &log, rustix::fs::Mode::RWXU).unwrap(),
        }
        let app = into_files(&folder, "while :; do echo more; sleep 0.05; done");
        let process = stand.start(app).await;
        stand.lines(3).await;
        // It is made anew as soon as the link is gone, and so what came before was refused.
        stand.host.logs().flush(&LogSelector::default());
        fs::remove_file(&log).unwrap();
        until_file(&log, |text| text.contains("more\n")).await;
        assert_eq!(fs::read_to_string(&precious).unwrap(), "dear diary\n", "{link}: {why}");
        process.kill();
        in_time("its end", process.ended()).await;
        stand.is_empty().await;
    }
}

/// Where somebody else than root may write, with the rights of the app's user and no others.
#[tokio::test]
async fn logs_are_written_with_the_rights_of_whoever_owns_the_place() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    const NOBODY: u32 = 65534;
    let place = tempfile::tempdir_in("/run").unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let stand = Stand::new();
    let open = place.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let others = place.path().join("others");
    fs::create_dir(&others).unwrap();
    // What the app makes in its own folder leads into one that is root's.
    symlink(&others, open.join("stolen")).unwrap();
    for (folder, owner) in
        [(place.path().join("ours"), Some(0)), (open.join("logs"), Some(NOBODY)), (open.join("stolen"), None)]
    {
        let script = "while :; do echo more; sleep 0.05; done";
        let app = App { user: Some(NOBODY.to_string()), ..into_files(&folder, script) };
        let process = stand.start(app).await;
        match owner {
            Some(owner) => {
                let log = folder.join("chat-0.log");
                until_file(&log, |text| text.contains("more\n")).await;
                assert_eq!(fs::metadata(&log).unwrap().uid(), owner, "{folder:?}");
            }
            None => {
                stand.lines(3).await;
                assert_eq!(fs::read_dir(&others).unwrap().count(), 0);
            }
        }
        process.kill();
        in_time("its end", process.ended()).await;
    }
    stand.is_empty().await;
}
