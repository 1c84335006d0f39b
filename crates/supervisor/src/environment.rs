//! The environment of a process: tidelock's own, then `env_file`, then `env`, then what only tidelock knows.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::Path;

use config::app::{App, Port, ReadyWhen};
use config::roster::{InstanceAddress, InstanceId};

use crate::account::{self, Account};
use crate::preload;
use crate::process::launch::StartProblem;
use crate::trust;

pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// What goes into the environment of one process.
#[derive(Debug)]
pub(crate) struct EnvInputs<'a> {
    pub(crate) app: &'a App,
    pub(crate) id: InstanceId,
    pub(crate) address: &'a InstanceAddress,
    pub(crate) account: Option<&'a Account>,
    /// Its private folder.
    pub(crate) folder: &'a Path,
    pub(crate) preload: &'a Path,
    /// Where it hears of the other instances.
    pub(crate) messages: Option<&'a Path>,
    /// By which everything that comes of it is known again.
    pub(crate) mark: &'a str,
}

/// Puts it together. Each source is stronger than those before it.
pub(crate) fn environment(own: Environment, inputs: &EnvInputs<'_>) -> Result<Environment, StartProblem> {
    let mut all = own;
    // They name sockets that systemd gave to tidelock, and no other.
    for name in
        ["NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID"]
    {
        all.remove(OsStr::new(name));
    }
    let since = account::become_since();
    if since.is_some() {
        // Root's, which nobody else may enter.
        all.remove(OsStr::new("XDG_RUNTIME_DIR"));
    }
    if let Some(account) = inputs.account.or(since) {
        set_account(&mut all, account);
    }
    if let Some(path) = &inputs.app.env_file {
        let lines = lines_of(path, inputs.account)?;
        all.extend(lines.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
    all.extend(inputs.app.env.iter().map(|(name, value)| (name.into(), value.into())));
    let is_host_said = says_host(inputs);
    set_place(&mut all, inputs, is_host_said);
    Ok(all)
}

/// The variables of an `env_file`, in their order. It is read with the rights of `account`, or an app's user could
/// have tidelock read any file.
pub(crate) fn lines_of(
    path: &Path,
    account: Option<&Account>,
) -> Result<Vec<(String, String)>, StartProblem> {
    let text = trust::read(path, account).and_then(|bytes| {
        String::from_utf8(bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
    });
    let text = text.map_err(|error| StartProblem::EnvFile(path.to_owned(), error))?;
    parse(&text).map_err(|Misread { line, why }| StartProblem::EnvFileLine {
        path: path.to_owned(),
        line,
        why,
    })
}

fn set_account(all: &mut Environment, account: &Account) {
    if let Some(name) = &account.name {
        all.insert("USER".into(), name.into());
        all.insert("LOGNAME".into(), name.into());
    }
    if let Some(home) = &account.home {
        all.insert("HOME".into(), home.into());
    }
}

/// Whether HOST means something to the app that is not ours to say: it stands in its `env` or `env_file`, or in a `.env`
/// in its folder, which dotenv reads and does not put over what is there.
fn says_host(inputs: &EnvInputs<'_>) -> bool {
    let app = inputs.app;
    let env_file = app.env_file.iter().filter_map(|path| lines_of(path, inputs.account).ok()).flatten();
    let begins = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix("export ")
            .unwrap_or(line)
            .trim_start()
            .strip_prefix("HOST")
            .is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    app.env.contains_key("HOST")
        || env_file.into_iter().any(|(name, _)| name == "HOST")
        || trust::read(&app.cwd.join(".env"), inputs.account)
            .is_ok_and(|text| String::from_utf8_lossy(&text).lines().any(begins))
}

/// Node.js' permission model lets the script read and write nothing but what it is told.
fn permissions(options: OsString, inputs: &EnvInputs<'_>) -> OsString {
    let is_on = |word: &str| word == "--permission" || word == "--experimental-permission";
    let said = options.to_string_lossy();
    if !inputs.app.argv().into_iter().chain(said.split(' ')).any(is_on) {
        return options;
    }
    let (script, folder) = (inputs.preload.display(), inputs.folder.display());
    format!("{said} --allow-fs-read={script} --allow-fs-read={folder}/* --allow-fs-write={folder}/*").into()
}

fn set_place(all: &mut Environment, inputs: &EnvInputs<'_>, is_host_said: bool) {
    let slot = inputs.id.slot.to_string();
    all.insert("NODE_APP_INSTANCE".into(), slot.clone().into());
    all.insert("INSTANCE_ID".into(), slot.clone().into());
    // As under PM2, where apps tell by them that they are managed, and which of them they are.
    all.entry("pm_id".into()).or_insert_with(|| slot.into());
    all.entry("name".into()).or_insert_with(|| (&inputs.app.name).into());
    all.insert(MARK.into(), inputs.mark.into());
    // Nobody is sent to a worker, and what it listens on for itself, such as its metrics, is to stay where it is.
    if inputs.app.ready.when != ReadyWhen::Running {
        set_address(all, inputs, is_host_said);
    }
    if let Some(path) = inputs.messages {
        let fanout = if inputs.app.fanout { "fanout" } else { "-" };
        let said =
            [format!("{} {fanout}", inputs.id.generation).as_ref(), path.as_os_str()].join(OsStr::new(" "));
        all.insert("TIDELOCK_MESSAGES".into(), said);
    }
    if inputs.messages.is_some() || all.contains_key(OsStr::new("TIDELOCK_FOLDER")) {
        let options = preload::options(all.get(OsStr::new("NODE_OPTIONS")), inputs.preload);
        let options = permissions(options, inputs);
        all.insert("NODE_OPTIONS".into(), options);
    }
}

fn set_address(all: &mut Environment, inputs: &EnvInputs<'_>, is_host_said: bool) {
    match inputs.address {
        InstanceAddress::Tcp(address) => {
            all.insert("PORT".into(), address.port().to_string().into());
            if !is_host_said {
                all.insert("HOST".into(), address.ip().to_string().into());
            }
        }
        // `listen(process.env.PORT)` takes a path for a Unix socket in Node.js, and apps that were written for a
        // platform with such sockets expect it there. There is no host then.
        InstanceAddress::Unix(path) => {
            all.insert("PORT".into(), path.into());
            if !is_host_said {
                all.remove(OsStr::new("HOST"));
            }
        }
    }
    if let Port::Redirect(port) = inputs.app.port {
        all.insert("TIDELOCK_FOLDER".into(), inputs.folder.into());
        all.insert("TIDELOCK_PORT".into(), port.map_or_else(String::new, |port| port.to_string()).into());
    }
}

/// The name of the variable by which a process is known again whose keeper was killed.
pub(crate) const MARK: &str = "TIDELOCK_INSTANCE";

/// What is wrong with an `env_file`.
#[derive(Debug, PartialEq, Eq)]
struct Misread {
    /// From 1.
    line: usize,
    why: &'static str,
}

/// Lines of `NAME=value`; blank ones and those that begin with `#` do not count, `export ` may come first. A value in
/// single quotes is taken as it is, one in double quotes knows `\n`, `\r`, `\t`, `\\`, `\"` and `\$`. Without quotes
/// ` #` begins a comment. Nothing is expanded.
fn parse(text: &str) -> Result<Vec<(String, String)>, Misread> {
    let mut all = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let misread = |why| Misread { line: at + 1, why };
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(misread("there is no `=`; a line is NAME=value"))?;
        let name = name.trim();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0' || c == '"' || c == '\'')
        {
            return Err(misread("what is before the `=` is no name"));
        }
        let value = value_of(value.trim()).map_err(misread)?;
        if value.contains('\0') {
            return Err(misread("a value cannot hold a NUL"));
        }
        all.push((name.to_owned(), value));
    }
    Ok(all)
}

fn value_of(written: &str) -> Result<String, &'static str> {
    let rest_is_comment = |rest: &str| rest.trim().is_empty() || rest.trim_start().starts_with('#');
    if let Some(quoted) = written.strip_prefix('\'') {
        let (value, rest) = quoted.split_once('\'').ok_or("the ' is not closed on the same line")?;
        return rest_is_comment(rest).then(|| value.to_owned()).ok_or("something follows the closing '");
    }
    let Some(quoted) = written.strip_prefix('"') else {
        return Ok(written.find(" #").map_or(written, |comment| written[..comment].trim_end()).to_owned());
    };
    let mut value = String::new();
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                return rest_is_comment(letters.as_str())
                    .then_some(value)
                    .ok_or("something follows the closing \"");
            }
            '\\' => match letters.next() {
                Some('n') => value.push('\n'),
                Some('r') => value.push('\r'),
                Some('t') => value.push('\t'),
                Some(letter @ ('\\' | '"' | '$')) => value.push(letter),
                Some(letter) => value.extend(['\\', letter]),
                None => break,
            },
            letter => value.push(letter),
        }
    }
    Err("the \" is not closed on the same line")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let said = match parse(text) {
            Ok(all) => {
                all.iter().map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(" ")
            }
            Err(Misread { line, why }) => format!("line {line}: {why}"),
        };
        assert!(said.starts_with(expected), "{text:?}: {said}");
    }

    #[test]
    fn env_files() {
        check("", "");
        check("# a\n\nA=1\nexport B = two words # said\n", r#"A="1" B="two words""#);
        check("A='$x \\n # y' # z\nB=\"a\\n\\\"b\\\" #\"", r##"A="$x \\n # y" B="a\n\"b\" #""##);
        check("A=\r\nB=a=b#c\r\n", r#"A="" B="a=b#c""#);
        check("A=1\nB\n", "line 2: there is no `=`");
        check("A B=1", "line 1: what is before");
        check("A=\"x", "line 1: the \" is not closed");
        check("A=\"x\\", "line 1: the \" is not closed");
        check("A='x' y", "line 1: something follows");
    }
}
