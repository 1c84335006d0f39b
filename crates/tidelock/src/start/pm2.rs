//! Options of `pm2 start` that people have in their fingers and their scripts: what they mean in words of our file, or what is
//! in their place.

use clap::Args;

use crate::quote::quoted;

/// See the head of the file.
#[derive(Debug, Default, Args)]
pub(crate) struct Options {
    /// Replaces a process that holds more memory: `memory_max`.
    #[arg(long, value_name = "SIZE", help_heading = PM2)]
    max_memory_restart: Option<String>,

    /// Replaces the processes at a time of the day: `cron`.
    #[arg(long, visible_alias = "cron-restart", value_name = "MIN HOUR DAY MONTH WEEKDAY", help_heading = PM2)]
    cron: Option<String>,

    /// What runs the file, with its options; `none` for the file itself.
    #[arg(long, value_name = "PROGRAM", help_heading = PM2)]
    pub(super) interpreter: Option<String>,

    /// Options of Node.js, or of another interpreter.
    #[arg(
        long,
        visible_alias = "interpreter-args",
        value_name = "OPTIONS",
        allow_hyphen_values = true,
        help_heading = PM2
    )]
    pub(super) node_args: Option<String>,

    /// Leaves what ends by itself alone: `restart.max = 0`.
    #[arg(long, help_heading = PM2)]
    no_autorestart: bool,

    /// So many starts again, and it is given up: `restart.max`.
    #[arg(long, value_name = "N", help_heading = PM2)]
    max_restarts: Option<u32>,

    /// The pause before each start again: `restart.pause_min` and `pause_max`.
    #[arg(long, value_name = "MS", help_heading = PM2)]
    restart_delay: Option<u64>,

    /// The first pause, which grows: `restart.pause_min`.
    #[arg(long, value_name = "MS", conflicts_with = "restart_delay", help_heading = PM2)]
    exp_backoff_restart_delay: Option<u64>,

    /// Ends with these codes are no failures: `restart.stop_exit_codes`.
    #[arg(long, value_name = "CODE", num_args = 1.., help_heading = PM2)]
    stop_exit_codes: Vec<u8>,

    /// How long it may take to end: `stop.timeout`.
    #[arg(long, value_name = "MS", help_heading = PM2)]
    kill_timeout: Option<u64>,

    /// It says `process.send('ready')`: `ready = "told"`.
    #[arg(long, help_heading = PM2)]
    wait_ready: bool,

    /// How long it may take to get ready: `ready.deadline`.
    #[arg(long, value_name = "MS", help_heading = PM2)]
    listen_timeout: Option<u64>,

    /// Puts the time before each line in files: `logs.time`.
    #[arg(long, help_heading = PM2)]
    pub(super) time: bool,

    /// It is so, or there is nothing of the kind.
    #[arg(long, aliases = ["no-vizion", "no-pmx", "no-treekill", "update-env", "force", "no-color", "silent", "disable-metrics"], short_alias = 'f', hide = true)]
    merge_logs: bool,

    /// Answered with what is in its place.
    #[arg(long, aliases = ["output", "error", "log-date-format"], hide = true, num_args = 0..=1)]
    log: Option<Option<String>>,

    /// Answered with what is in its place.
    #[arg(long, aliases = ["attach", "uid", "gid", "user", "hp", "container"], hide = true, num_args = 0..=1)]
    namespace: Option<Option<String>>,
}

/// PM2 stops with it, and apps that listen for a signal listen for this one.
pub(super) const STOP_SIGNAL: &str = "signal = \"SIGINT\"";
const PM2: &str = "As under PM2, in the place of a key in a file";

impl Options {
    /// Whether anything of it was said.
    pub(super) fn is_some(&self) -> bool {
        let texts = [&self.max_memory_restart, &self.cron, &self.interpreter, &self.node_args];
        let numbers =
            [self.restart_delay, self.exp_backoff_restart_delay, self.kill_timeout, self.listen_timeout];
        texts.iter().any(|text| text.is_some())
            || numbers.iter().any(Option::is_some)
            || [self.no_autorestart, self.wait_ready, self.time, self.merge_logs].contains(&true)
            || self.max_restarts.is_some()
            || !self.stop_exit_codes.is_empty()
    }

    /// What has no counterpart, answered.
    pub(super) fn demand_ours(&self) -> Result<(), String> {
        if self.log.is_some() {
            return Err("--log, --output, --error and --log-date-format: each process has a file NAME-NUMBER.log, its times as RFC 3339 \
                        has them; `logs = { folder = \"…\" }` of the app says in which folder: `tidelock set NAME logs.folder DIR`"
                .to_owned());
        }
        if self.namespace.is_some() {
            return Err("--namespace: apps have names alone; --attach: `tidelock logs -f NAME` follows it; --uid and --gid: `user` and \
                        `group` of the app: `tidelock set NAME user www-data`"
                .to_owned());
        }
        Ok(())
    }

    /// Keys of the app, and what they say.
    pub(super) fn keys(&self) -> Vec<(&'static str, String)> {
        let mut keys = Vec::new();
        keys.extend(self.max_memory_restart.as_ref().map(|size| ("memory_max", quoted(&in_full(size)))));
        keys.extend(self.cron.as_ref().map(|cron| ("cron", quoted(cron))));
        let time = |millis: u64| format!("\"{millis}ms\"");
        let mut restart = Vec::new();
        let max = if self.no_autorestart { Some(0) } else { self.max_restarts };
        restart.extend(max.map(|max| format!("max = {max}")));
        let first = self.restart_delay.or(self.exp_backoff_restart_delay).filter(|pause| *pause > 0);
        restart.extend(first.map(|pause| format!("pause_min = {}", time(pause))));
        let same = self.restart_delay.filter(|pause| *pause > 0);
        restart.extend(same.map(|pause| format!("pause_max = {}", time(pause))));
        if !self.stop_exit_codes.is_empty() {
            restart.push(format!("stop_exit_codes = {:?}", self.stop_exit_codes));
        }
        let mut ready = Vec::new();
        ready.extend(self.wait_ready.then(|| "when = \"told\"".to_owned()));
        ready.extend(self.listen_timeout.map(|timeout| format!("deadline = {}", time(timeout))));
        let stop = self
            .kill_timeout
            .map(|timeout| vec![STOP_SIGNAL.to_owned(), format!("timeout = {}", time(timeout))]);
        for (key, said) in [("restart", restart), ("ready", ready), ("stop", stop.unwrap_or_default())] {
            if !said.is_empty() {
                keys.push((key, format!("{{ {} }}", said.join(", "))));
            }
        }
        keys
    }
}

/// PM2 means powers of 1,024 by K, M and G.
fn in_full(size: &str) -> String {
    if size.ends_with(['K', 'M', 'G']) { format!("{size}iB") } else { size.to_owned() }
}
