//! Words that are no verbs of ours: typed wrong, or PM2's.

use std::path::Path;

/// What is said to whoever typed `first` where a verb or a file stands, if it is neither: what PM2's word is here,
/// or the verb that was meant.
pub(crate) fn answer(first: &str, known: &clap::Command) -> Option<String> {
    let is_word = first.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte));
    if !is_word || first.starts_with('-') || first == "help" || known.find_subcommand(first).is_some() {
        return None;
    }
    if Path::new(first).exists() {
        return None;
    }
    if let Some((_, instead)) = PM2.iter().find(|(words, _)| words.contains(&first)) {
        return Some(format!("`{first}`: {instead}"));
    }
    let names = known.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut names: Vec<&str> =
        names.flat_map(|verb| std::iter::once(verb.get_name()).chain(verb.get_visible_aliases())).collect();
    names.sort_by_key(|name| name.len().abs_diff(first.len()));
    Some(match config::nearest(first, names) {
        Some(near) => format!("no verb `{first}`; did you mean `{near}`?"),
        None => format!("no verb `{first}`, and no such file; `tidelock help` tells the verbs"),
    })
}

/// PM2's verbs that have no counterpart by their name, and what to do.
const PM2: &[(&[&str], &str)] = &[
    (
        &["save", "dump"],
        "nothing has to be saved; what runs is in a file (`tidelock list` says which), and `tidelock resurrect` starts it again",
    ),
    (&["jlist", "prettylist"], "`tidelock status --json`"),
    (&["slist", "sysinfos"], "`tidelock list`, or `tidelock status --json`"),
    (&["ping"], "`tidelock list` says whether one runs, and exits with 1 if not"),
    (&["gracefulReload", "softReload"], "`tidelock reload APP` moves the sessions first"),
    (
        &["reloadLogs"],
        "nothing has to be opened again: log files are rotated by tidelock; SIGUSR1 is for the access log",
    ),
    (&["reset"], "restarts are counted since tidelock's start"),
    (&["update"], "install the new binary, `tidelock kill`, `tidelock resurrect`"),
    (&["id", "pid"], "`tidelock describe APP` shows the processes of an app; they are called APP/NUMBER"),
    (&["sendSignal"], "`kill -SIGNAL PID`, with the process ids of `tidelock list`"),
    (&["attach"], "an app has no terminal here; `tidelock logs -f APP` shows what it writes"),
    (&["serve", "expose"], "`files` of a `[[route]]` shows the files of a folder (docs/routes.md)"),
    (
        &["ecosystem"],
        "`tidelock init` writes a file for the app in this folder, and `tidelock start FILE` one for what runs in the background",
    ),
    (
        &["startOrRestart", "startOrReload", "startOrGracefulReload"],
        "`tidelock start FILE` starts what does not run, and applies what has changed",
    ),
    (
        &["deploy", "pull", "forward", "backward"],
        "tidelock copies no code to machines; `tidelock reload APP` takes over what is there now",
    ),
    (
        &[
            "install",
            "uninstall",
            "module:list",
            "module:update",
            "publish",
            "conf",
            "config",
            "get",
            "multiset",
        ],
        "there are no modules; `tidelock set APP KEY VALUE` changes an app, and logs are rotated without one",
    ),
    (
        &[
            "trigger",
            "link",
            "unlink",
            "plus",
            "monitor",
            "unmonitor",
            "open",
            "login",
            "register",
            "report",
            "profile:cpu",
            "profile:mem",
            "inspect",
        ],
        "that belongs to pm2.io; `tidelock status --json` has the figures",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_answered() {
        let known = clap::Command::new("tidelock")
            .subcommand(clap::Command::new("status"))
            .subcommand(clap::Command::new("start"))
            .subcommand(clap::Command::new("delete").visible_alias("rm"));
        let said = |first: &str| answer(first, &known).unwrap_or_default();
        assert_eq!(said("stauts"), "no verb `stauts`; did you mean `status`?");
        assert_eq!(said("delte"), "no verb `delte`; did you mean `delete`?");
        assert_eq!(
            said("frobnicate"),
            "no verb `frobnicate`, and no such file; `tidelock help` tells the verbs"
        );
        assert!(said("save").starts_with("`save`: nothing has to be saved"));
        for file in ["upstreams.toml", "./x", "src", "--help", "help", "status", "rm"] {
            assert_eq!(said(file), "", "{file}");
        }
    }
}
