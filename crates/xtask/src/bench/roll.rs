//! `cargo xtask bench roll`: the order of things. Who is compared is in `contender`, what is seen in `crowd`.

use anyhow::{Context as _, Result, ensure};
use tokio::runtime;

use super::contender::{self, Contender};
use super::crowd::Size;
use super::{drain, page};
use crate::packages;
use crate::run::{aloud, built, command, root};

/// Count what replacing an app's processes does to its clients: tidelock's roll, PM2's reload.
///
/// Both run four processes of the same app, a Socket.IO node that knows nothing of either. Each gets the same crowd:
/// socket.io-clients over WebSocket, others that only poll (PM2 gets none of them, for it keeps no session on its
/// worker), and a steady load of plain requests. Then all four are replaced as its users do it, and what happens to the
/// crowd is counted until it is quiet.
///
/// The table is printed, and put into docs/from-pm2.md with what is needed to repeat it. It takes about two minutes, and
/// before that the time of a release build. Everything stays on loopback. PM2 is installed from npm into a directory
/// under target/ if it is missing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench roll                         all of them, and save the table
  cargo xtask bench roll --only tidelock         one program, to look at
  cargo xtask bench roll --websocket 1000 --no-save")]
pub(crate) struct Roll {
    /// How many clients use WebSocket.
    #[arg(long, value_name = "COUNT", default_value_t = 200)]
    websocket: usize,

    /// How many clients only poll.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    polling: usize,

    /// Measure only contenders whose name contains this, and save nothing.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,

    /// Print the table and leave docs/from-pm2.md as it is.
    #[arg(long)]
    no_save: bool,

    /// Install nothing.
    #[arg(long)]
    offline: bool,
}

impl Roll {
    pub(crate) fn run(&self) -> Result<()> {
        if !self.offline {
            packages::programs(&packages::FOR_ROLL)?;
            packages::npm()?;
            packages::npm_aside(contender::PM2)?;
        }
        let release = ["build", "--release", "--package", "tidelock"];
        aloud("building what is measured", command(".", "cargo", &release))?;
        let pm2 = root().join(packages::aside(contender::PM2)).join("node_modules/.bin/pm2");
        let programs = contender::Programs { tidelock: built("tidelock", false)?, pm2 };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let size = Size { websocket: self.websocket, polling: self.polling };
        let only = self.only.as_deref();
        let rows = runtime.block_on(drain::measured(&Contender::ROLLING, size, only, &programs))?;
        let table = page::table(&rows);
        println!("{table}");
        if !self.no_save && only.is_none() {
            let file = root().join("docs/from-pm2.md");
            let page = std::fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
            let versions = programs.versions();
            let versions: Vec<_> = versions.into_iter().filter(|line| !line.contains("nginx")).collect();
            page::save(&file, &template(&page)?, &table, &versions)?;
            eprintln!("xtask: saved in {}", file.display());
        }
        Ok(())
    }
}

/// The page with empty places for what was measured, between two marks that stay.
fn template(page: &str) -> Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("the page has lost its mark")?;
    let (_, after) = rest.split_once(END).context("the page has lost its second mark")?;
    ensure!(!after.contains(BEGIN), "the page has one mark twice");
    Ok(format!("{before}{BEGIN}{MEASURED}{END}{after}"))
}

const BEGIN: &str = "<!-- written by `cargo xtask bench roll`, from here -->";
const END: &str = "<!-- to here -->";
const MEASURED: &str = "\n{table}\n\nMeasured on {date} with\n\n    {command}\n\n- {machine}\n{versions}\n";
