//! PM2's keys that make no line of their own: which are read elsewhere, which change nothing, and which another one overrules.

use serde_json::{Map, Value};

use super::values::is_zero;

/// Where PM2 has two keys for what is one of ours, the other one decides, as it does there.
pub(super) fn overruled(key: &str, of: &Map<String, Value>) -> Option<&'static str> {
    let has = |other: &str| of.get(other).is_some_and(|value| !value.is_null() && !is_zero(value));
    match key {
        "restart_delay" if has("exp_backoff_restart_delay") => {
            Some(": `exp_backoff_restart_delay` is there and decides")
        }
        "max_restarts" if of.get("autorestart") == Some(&Value::Bool(false)) => {
            Some(": `autorestart` is false, so that there are none")
        }
        _ => None,
    }
}

/// Keys that are read where they belong.
pub(super) const ELSEWHERE: [&str; 19] = [
    "name",
    "script",
    "cmd",
    "command",
    "exec",
    "interpreter",
    "exec_interpreter",
    "interpreter_args",
    "interpreterArgs",
    "node_args",
    "nodeArgs",
    "args",
    "cwd",
    "env",
    "exec_mode",
    "ignore_watch",
    "watch_ignore",
    "wait_ready",
    "listen_timeout",
];
/// What changes nothing here: what PM2 does for itself, or what is always so.
pub(super) const WITHOUT_EFFECT: [&str; 22] = [
    "source_map_support",
    "disable_source_map_support",
    "merge_logs",
    "combine_logs",
    "vizion",
    "autostart",
    "pmx",
    "automation",
    "treekill",
    "windowsHide",
    "kill_retry_time",
    "pid_file",
    "pid",
    "namespace",
    "watch_delay",
    "watch_options",
    "force",
    "execute_command",
    "trace",
    "disable_trace",
    "instance_id",
    "append_env_to_name",
];
pub(super) const LOG_FILES: [&str; 11] = [
    "out_file",
    "out",
    "output",
    "out_log",
    "error_file",
    "error",
    "err",
    "err_file",
    "err_log",
    "log_file",
    "log",
];
