//! `cargo xtask bench drain`: the order of things. Who is compared is in `contender`, what is seen in `crowd`.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use tokio::runtime;

use super::contender::{self, Contender};
use super::crowd::{self, Size};
use super::page;
use crate::packages;
use crate::run::{aloud, built, command, root};

/// Count what a restart does to connected clients: tidelock's drain, nginx's reload, PM2's reload.
///
/// Each contender gets the same crowd: socket.io-clients over WebSocket, others that only poll (where the contender can
/// keep them on a node at all), and a steady load of plain requests. Then it is told to let go of its connections as
/// its users tell it, and what happens to the crowd is counted until it is quiet, 20 seconds at least: failed requests,
/// disconnects, clients that lost their connection twice, close codes, the most reconnects within one second, and the
/// time from the first disconnect to the last.
///
/// The table is printed, and saved as docs/drain.md with what is needed to repeat it. It takes about three minutes,
/// and before that the time of a release build. Everything stays on loopback. nginx is installed from Debian if it is
/// missing, and PM2 from npm into a directory under target/.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench drain                            all of them, and save the table
  cargo xtask bench drain --only pm2                 one program, to look at
  cargo xtask bench drain --websocket 1000 --no-save a larger crowd")]
pub(crate) struct Drain {
    /// How many clients use WebSocket.
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    websocket: usize,

    /// How many clients only poll; PM2 gets none of them, for it keeps no session on its worker.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    polling: usize,

    /// Measure only contenders whose name contains this, and save nothing.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,

    /// Print the table and leave docs/drain.md as it is.
    #[arg(long)]
    no_save: bool,

    /// Install nothing.
    #[arg(long)]
    offline: bool,
}

impl Drain {
    pub(crate) fn run(&self) -> Result<()> {
        if !self.offline {
            packages::programs(&packages::FOR_DRAIN)?;
            packages::npm()?;
            packages::npm_aside(contender::PM2)?;
        }
        let release = ["build", "--release", "--package", "tidelock"];
        aloud("building what is measured", command(".", "cargo", &release))?;
        let pm2 = root().join(packages::aside(contender::PM2)).join("node_modules/.bin/pm2");
        let programs = contender::Programs { tidelock: built("tidelock", false)?, pm2 };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let size = Size { websocket: self.websocket, polling: self.polling };
        let rows = runtime.block_on(measured(&Contender::DRAINING, size, self.only.as_deref(), &programs))?;
        let table = page::table(&rows);
        println!("{table}");
        if !self.no_save && self.only.is_none() {
            let file = root().join("docs/drain.md");
            let words = include_str!("drain.md").replace("{close_codes}", &close_codes(&file)?);
            page::save(&file, &words, &table, &programs.versions())?;
            eprintln!("xtask: saved as {}", file.display());
        }
        Ok(())
    }
}

/// What `bench apps` has written into the page; this command keeps it.
fn close_codes(page: &Path) -> Result<String> {
    let text = std::fs::read_to_string(page).with_context(|| format!("{} cannot be read", page.display()))?;
    let between = |text: &str| {
        let (_, rest) = text.split_once("<!-- close codes: cargo xtask bench apps -->")?;
        Some(rest.split_once("<!-- end of close codes -->")?.0.trim().to_owned())
    };
    Ok(between(&text).unwrap_or_default())
}

/// Measures those whose name contains `only`.
pub(crate) async fn measured(
    contenders: &[Contender],
    size: Size,
    only: Option<&str>,
    programs: &contender::Programs,
) -> Result<Vec<page::Row>> {
    // Guards end what was started; a process that is killed by Ctrl-C runs none of them.
    tokio::select! {
        rows = measure(contenders, size, only, programs) => rows,
        _ = tokio::signal::ctrl_c() => bail!("interrupted; everything that was started is ended"),
    }
}

async fn measure(
    contenders: &[Contender],
    size: Size,
    only: Option<&str>,
    programs: &contender::Programs,
) -> Result<Vec<page::Row>> {
    let mut rows = Vec::new();
    let wanted = |which: &&Contender| only.is_none_or(|only| which.name().contains(only));
    for &which in contenders.iter().filter(wanted) {
        eprintln!("xtask: {}: starting", which.name());
        let mut running = which.start(programs).await?;
        let size = if which.keeps_polling() { size } else { Size { polling: 0, ..size } };
        let mut crowd = crowd::Crowd::gather(running.address(), size).await?;
        eprintln!("xtask: {}: {}", which.name(), which.action());
        crowd.begin().await;
        let (acted, ()) = tokio::join!(running.act(), crowd.until_quiet());
        acted.with_context(|| format!("{}: {} failed", which.name(), which.action()))?;
        let seen = crowd.leave().await?;
        eprintln!("xtask: {}: {seen:?}", which.name());
        rows.push(page::Row { contender: which, size, seen });
    }
    Ok(rows)
}
