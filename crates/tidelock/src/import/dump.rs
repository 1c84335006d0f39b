//! PM2's dump: an entry for each process that ran, with the whole environment of the shell that started it. Gives apps as
//! an ecosystem file has them.

use std::path::Path;

use serde_json::{Map, Value, json};

/// The apps of it; `Err` is why there are none, in words. `home` is where PM2 keeps it.
pub(super) fn read(text: &str, home: &Path) -> Result<Value, String> {
    let dump: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
    let Value::Array(entries) = dump else { return Err("it is no list of processes".to_owned()) };
    let mut apps: Vec<Map<String, Value>> = Vec::new();
    for entry in entries.iter().filter_map(Value::as_object) {
        let app = app(entry, home);
        let is_it = |known: &&mut Map<String, Value>| {
            ["name", "script", "cwd", "args"].iter().all(|key| known.get(*key) == app.get(*key))
        };
        // Each process of an app has an entry of its own.
        match apps.iter_mut().find(is_it) {
            Some(known) => {
                let count = known.get("instances").and_then(Value::as_u64).unwrap_or(1);
                known.insert("instances".to_owned(), json!(count + 1));
            }
            None => apps.push(app),
        }
    }
    Ok(Value::Array(apps.into_iter().map(Value::Object).collect()))
}

fn app(entry: &Map<String, Value>, home: &Path) -> Map<String, Value> {
    let mut app = Map::new();
    for (theirs, key) in RENAMED {
        if let Some(value) = entry.get(theirs).filter(|value| !value.is_null()) {
            app.insert(key.to_owned(), value.clone());
        }
    }
    for (key, usual) in KEPT {
        let usual: Option<Value> = serde_json::from_str(usual).ok();
        if let Some(value) = entry.get(key).filter(|value| !value.is_null() && usual.as_ref() != Some(*value))
        {
            app.insert(key.to_owned(), value.clone());
        }
    }
    for (theirs, key) in [("pm_out_log_path", "out_file"), ("pm_err_log_path", "error_file")] {
        let path = entry.get(theirs).and_then(Value::as_str).unwrap_or_default();
        // Where PM2 puts it by itself.
        let is_usual = path.contains("/.pm2/logs/") || Path::new(path).starts_with(home.join("logs"));
        if !path.is_empty() && !is_usual {
            app.insert(key.to_owned(), json!(path));
        }
    }
    app.insert("instances".to_owned(), json!(1));
    if let Some(Value::Object(env)) = entry.get("env") {
        let is_apps = |name: &str, value: &Value| {
            !OF_THE_SHELL.contains(&name)
                && !OF_ANY_SHELL.iter().any(|prefix| name.starts_with(prefix))
                && !value.is_object()
        };
        let env = env.iter().filter(|(name, value)| is_apps(name, value));
        app.insert("env".to_owned(), env.map(|(name, value)| (name.clone(), value.clone())).collect());
    }
    app
}

const RENAMED: [(&str, &str); 5] = [
    ("name", "name"),
    ("pm_exec_path", "script"),
    ("pm_cwd", "cwd"),
    ("exec_interpreter", "interpreter"),
    ("exec_mode", "exec_mode"),
];
/// Keys of an ecosystem file that a dump has too, with what PM2 writes there by itself.
const KEPT: [(&str, &str); 33] = [
    ("args", "[]"),
    ("node_args", "[]"),
    ("max_memory_restart", "0"),
    ("autorestart", "true"),
    ("watch", "false"),
    ("ignore_watch", "[]"),
    ("cron_restart", "\"0\""),
    ("kill_timeout", "1600"),
    ("min_uptime", "1000"),
    ("max_restarts", "16"),
    ("restart_delay", "0"),
    ("exp_backoff_restart_delay", "0"),
    ("wait_ready", "false"),
    ("listen_timeout", "3000"),
    ("stop_exit_codes", "[]"),
    ("instance_var", "\"NODE_APP_INSTANCE\""),
    ("increment_var", "\"\""),
    ("source_map_support", "false"),
    ("shutdown_with_message", "false"),
    ("uid", "\"\""),
    ("gid", "\"\""),
    ("log_type", "\"\""),
    ("log_date_format", "\"\""),
    ("namespace", "\"default\""),
    ("disable_logs", "false"),
    ("port", "0"),
    ("status", "\"online\""),
    ("pmx_module", "false"),
    ("log_file", "\"\""),
    ("filter_env", "[]"),
    ("trace", "false"),
    ("treekill", "true"),
    ("interpreter_args", "[]"),
];
/// Of whoever typed `pm2 start`, and of PM2 itself. PATH is kept: it says which Node.js there is.
const OF_THE_SHELL: [&str; 28] = [
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "TERM",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "MAIL",
    "LS_COLORS",
    "LESSOPEN",
    "LESSCLOSE",
    "EDITOR",
    "PAGER",
    "DISPLAY",
    "HOSTNAME",
    "TMUX",
    "TMUX_PANE",
    "COLORTERM",
    "WINDOWID",
    "unique_id",
    "NODE_APP_INSTANCE",
    "INSTANCE_ID",
    "COLOR",
    "INIT_CWD",
    "MOTD_SHOWN",
    "NODE_CHANNEL_FD",
];
const OF_ANY_SHELL: [&str; 10] =
    ["PM2_", "SSH_", "XDG_", "DBUS_", "SUDO_", "NVM_", "npm_", "FNM_", "VSCODE_", "TERM_"];
