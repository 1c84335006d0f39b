//! The words of PM2, the keys of its file among them.

use super::row::Ours::{Instead, Key};
use super::row::{COMMAND, Word, row};

pub(super) static WORDS: &[Word] = &[
    row(&["apps"], PM2, Instead(IMPORT)),
    row(
        &["script", "cmd", "exec_interpreter", "interpreter", "interpreter_args", "node_args", "exec"],
        PM2,
        Key("app.chat", "command", COMMAND),
    ),
    row(&["name"], PM2, Instead("the name stands in the header: `[app.NAME]`, `[upstream.NAME]`")),
    row(&["exec_mode", "instances"], PM2, Key("app.chat", "instances", "instances = \"max\"")),
    row(&["max_memory_restart", "max_memory"], PM2, Key("app.chat", "memory_max", "memory_max = \"300MiB\"")),
    row(
        &[
            "error_file",
            "out_file",
            "log_file",
            "error",
            "output",
            "out",
            "pm_err_log_path",
            "pm_out_log_path",
        ],
        PM2,
        Key("app.chat.logs", "folder", "folder = \"./logs\""),
    ),
    row(
        &["merge_logs", "combine_logs"],
        PM2,
        Instead(
            "leave it out: each process has a file of its own, and `tidelock logs APP` shows them together",
        ),
    ),
    row(&["log_date_format", "time"], PM2, Key("app.chat.logs", "time", "time = true")),
    row(&["log_type"], PM2, Key("app.chat.logs", "format", "format = \"json\"")),
    row(&["ignore_watch"], PM2, Key("app.chat.watch", "ignore", "ignore = [\"logs\"]")),
    row(&["watch_delay", "watch_options"], PM2, Instead("leave it out: a burst of changes is one")),
    row(&["autorestart"], PM2, Key("app.chat.restart", "max", "max = 0")),
    row(&["stop_exit_codes"], PM2, Key("app.chat.restart", "stop_exit_codes", "stop_exit_codes = [0]")),
    row(&["max_restarts"], PM2, Key("app.chat.restart", "max", "max = 10")),
    row(&["min_uptime"], PM2, Key("app.chat.restart", "stable", "stable = \"30s\"")),
    row(
        &["restart_delay", "exp_backoff_restart_delay"],
        PM2,
        Key("app.chat.restart", "pause_min", "pause_min = \"100ms\""),
    ),
    row(&["kill_timeout", "stop_grace_period"], PM2, Key("app.chat.stop", "timeout", "timeout = \"1600ms\"")),
    row(&["wait_ready"], PM2, Key("app.chat", "ready", "ready = \"told\"")),
    row(&["listen_timeout"], PM2, Key("app.chat", "ready", "ready = { deadline = \"30s\" }")),
    row(&["shutdown_with_message"], PM2, Key("app.chat.stop", "tell", "tell = true")),
    row(&["cron_restart"], PM2, Key("app.chat", "cron", "cron = \"0 4 * * *\"")),
    row(
        &["env_production", "env_development", "env_staging"],
        PM2,
        Key("app.chat", "env", "env = { NODE_ENV = \"production\" }"),
    ),
    row(&["uid"], PM2, Key("app.chat", "user", "user = \"www-data\"")),
    row(&["gid"], PM2, Key("app.chat", "group", "group = \"www-data\"")),
    row(
        &["increment_var", "instance_var"],
        PM2,
        Instead(
            "leave it out: NODE_APP_INSTANCE counts the processes from 0, and each has a port of its own in PORT",
        ),
    ),
    row(
        &[
            "filter_env",
            "namespace",
            "source_map_support",
            "pmx",
            "vizion",
            "treekill",
            "automation",
            "deploy",
            "force",
        ],
        PM2,
        Instead("leave it out: nothing here is like it"),
    ),
];

const PM2: &str = "PM2";
const IMPORT: &str = "write `[app.NAME]` and its keys on the lines under it, once for each; `tidelock import FILE` translates \
                      PM2's own file";
