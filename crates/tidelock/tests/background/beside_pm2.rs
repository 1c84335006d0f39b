//! One day of an app under tidelock and under PM2 7: it is started, its starter logs out, it is listed, reloaded under load, scaled,
//! deleted and started again. What its users see is the same, but that PM2 may lose requests at a reload.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;

use testkit::load::Load;
use testkit::raw::RawConnection;
use tokio::process::Command;

use crate::{Home, Said, TIDELOCK, address, said};

/// Says which of its processes answers.
const APP: &str = "require('http').createServer((_, answer) => answer.end(`${process.pid}`)).listen(process.env.PORT, '127.0.0.1')";

/// Who is given the app.
struct Host {
    home: Home,
    is_pm2: bool,
    at: SocketAddr,
}

impl Host {
    fn new(is_pm2: bool) -> Self {
        let home = Home::new();
        home.script("app.js", APP);
        Self { home, is_pm2, at: address() }
    }

    fn program() -> String {
        let pm2 = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testkit/js/node_modules/.bin/pm2");
        assert!(pm2.exists(), "`cargo xtask test` installs it");
        pm2.display().to_string()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.home.command(program);
        command.env("PM2_HOME", self.home.path().join("pm2"));
        if self.is_pm2 {
            command.env("PORT", self.at.port().to_string());
        }
        command
    }

    /// Says a verb, in the words that both have.
    async fn say(&self, words: &[&str]) -> Said {
        let mut command =
            self.command(if self.is_pm2 { Self::program() } else { TIDELOCK.to_owned() }.as_str());
        command.args(words);
        let said = if self.is_pm2 { self.said_in_a_file(command).await } else { said(command).await };
        assert!(said.success, "{words:?}: {}", said.text);
        said
    }

    /// What PM2 starts keeps what it inherits open: a pipe would not end before it.
    async fn said_in_a_file(&self, mut command: Command) -> Said {
        let path = self.home.path().join("said");
        let file = File::create(&path).expect("a file");
        command.stdout(file.try_clone().expect("a file")).stderr(file);
        let success = command.status().await.expect("it runs").success();
        let text = std::fs::read_to_string(path).expect("it is read");
        Said { success, stdout: text.clone(), text }
    }

    fn start_words(&self) -> String {
        match self.is_pm2 {
            true => "start app.js --name app -i 2".to_owned(),
            false => format!("start app.js --name app -i 2 --background -l {}", self.at),
        }
    }

    /// Starts the app from a login, all of whose processes are ended then.
    async fn start_and_log_out(&self) {
        let program = if self.is_pm2 { Self::program() } else { TIDELOCK.to_owned() };
        let line = format!(
            "{program} {}; sid=$(ps -o sid= -p $$); echo $sid > sid; kill -9 $(ps -o pid= -s $sid | grep -vw $$); kill -9 $$",
            self.start_words()
        );
        let mut command = self.command("script");
        command
            .args(["--quiet", "--command", &line, "/dev/null"])
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm");
        self.said_in_a_file(command).await;
        let session = std::fs::read_to_string(self.home.path().join("sid")).expect("the login had one");
        let mut left = self.home.command("ps");
        left.args(["-o", "pid=,args=", "-s", session.trim()]);
        let left = said(left).await;
        assert_eq!(left.stdout, "", "nothing is left of the login");
    }

    /// The processes that answer, once there are so many.
    async fn answering(&self, count: usize) -> BTreeSet<u32> {
        let mut seen = BTreeSet::new();
        let looking = async {
            // One that has gone may have answered before.
            while seen.len() != count {
                seen.clear();
                for _ in 0..count * 8 {
                    seen.extend(self.ask().await);
                }
            }
        };
        let in_time = tokio::time::timeout(testkit::TIMEOUT, looking).await.is_ok();
        assert!(in_time, "{count} processes of {} do not answer: {seen:?}", self.name());
        seen
    }

    /// Over a connection of its own.
    async fn ask(&self) -> Option<u32> {
        let mut connection = RawConnection::try_connect(self.at).await.ok()?;
        connection
            .try_ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .ok()?
            .text()
            .parse()
            .ok()
    }

    fn name(&self) -> &'static str {
        if self.is_pm2 { "PM2" } else { "tidelock" }
    }

    async fn list_has(&self, processes: &BTreeSet<u32>) {
        let list = self.say(&["list"]).await.text;
        for process in processes {
            assert!(list.contains(&process.to_string()), "{process}: {list}");
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.is_pm2 {
            let mut kill = self.command(&Self::program()).into_std();
            let file = File::create(self.home.path().join("killed")).expect("a file");
            let _ = kill.arg("kill").stdout(file.try_clone().expect("a file")).stderr(file).status();
        }
    }
}

async fn a_day(is_pm2: bool) {
    let host = Host::new(is_pm2);
    host.start_and_log_out().await;
    let first = host.answering(2).await;
    host.list_has(&first).await;
    assert_eq!(host.answering(2).await, first, "they outlive the logout");

    let load = Load::plain(host.at, 3, 2);
    load.until_answered(20).await;
    host.say(&["reload", "app"]).await;
    let second = host.answering(2).await;
    let report = load.stop().await;
    assert!(first.is_disjoint(&second), "{first:?} {second:?}");
    assert!(report.gets > 0 && report.heads > 0, "{report:#?}");
    // PM2 may lose some: what came over a connection that is kept, when its process ends.
    assert!(is_pm2 || report.failures.is_empty(), "{:#?}", report.failures);

    host.say(&["scale", "app", "3"]).await;
    let third = host.answering(3).await;
    assert!(third.is_superset(&second), "{second:?} {third:?}");
    host.say(&["scale", "app", "1"]).await;
    let last = host.answering(1).await;
    assert!(last.is_subset(&third), "{third:?} {last:?}");
    host.list_has(&last).await;

    host.say(&["delete", "app"]).await;
    assert_eq!(host.ask().await, None, "nobody answers");
    let is_there = |process: &u32| Path::new(&format!("/proc/{process}")).exists();
    let gone = async {
        while third.iter().any(is_there) {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(testkit::TIMEOUT, gone).await.is_ok(), "some of {third:?} are left behind");
    let words = host.start_words();
    host.say(&words.split(' ').collect::<Vec<_>>()).await;
    let again = host.answering(2).await;
    host.list_has(&again).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js: `cargo xtask test`")]
async fn a_day_of_an_app_under_tidelock() {
    a_day(false).await;
}

#[tokio::test]
#[cfg_attr(not(feature = "programs"), ignore = "needs Node.js and PM2: `cargo xtask test`")]
async fn a_day_of_an_app_under_pm2() {
    a_day(true).await;
}
