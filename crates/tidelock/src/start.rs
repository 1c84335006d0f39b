//! What `tidelock start` means: an app of the running tidelock, or a file that is run here and now, without an
//! `upstreams.toml`. For the latter such a file is written in memory, so that there is one way from words to a plan.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

/// What can be said behind `tidelock start`.
#[derive(Debug, Args)]
pub(crate) struct What {
    /// A file to run in the foreground, or the name of an app of the running tidelock.
    ///
    /// With a slash or a known extension (.js .mjs .cjs .ts .mts .cts .py), or beside any of the options below, it is
    /// a file or a program; otherwise the name of an app.
    #[arg(value_name = "FILE|APP")]
    target: String,

    /// How many processes: a number, or `max` for one on each core [default: 1].
    #[arg(short, long, value_name = "N", help_heading = FOREGROUND)]
    instances: Option<String>,

    /// Where clients connect; may be given more than once [default: $PORT or 3000, on every interface].
    #[arg(short, long, value_name = "ADDRESS", help_heading = FOREGROUND)]
    listen: Vec<String>,

    /// The name of the app [default: that of the file].
    #[arg(short, long, value_name = "NAME", help_heading = FOREGROUND)]
    name: Option<String>,

    /// The port that the app has in its code, or `env` if it listens on $PORT and must not be redirected
    /// [default: the first that it listens on].
    #[arg(long, value_name = "PORT", help_heading = FOREGROUND)]
    port: Option<String>,

    /// What keeps a client on its process, as `sticky` in a file: auto, engineio, cookie, ip, header:NAME, path:N, none
    /// [default: auto].
    #[arg(long, value_name = "MODE", help_heading = FOREGROUND)]
    sticky: Option<String>,

    /// Sets a variable in the app's environment; may be given more than once.
    #[arg(short, long, value_name = "NAME=VALUE", help_heading = FOREGROUND)]
    env: Vec<String>,

    /// The folder that the app runs in, and that the file is looked for in first [default: the current one].
    #[arg(long, value_name = "FOLDER", help_heading = FOREGROUND)]
    cwd: Option<PathBuf>,

    /// Roll the app whenever a file in its folder changes; for development.
    #[arg(long, help_heading = FOREGROUND)]
    watch: bool,

    /// Arguments of the app, as they are.
    #[arg(last = true, value_name = "ARGS", help_heading = FOREGROUND)]
    args: Vec<String>,
}

const FOREGROUND: &str = "Options for a file";

/// What was meant.
#[derive(Debug)]
pub(crate) enum Meant {
    /// The text of a file with one app.
    Foreground(String),
    /// An app of the running tidelock.
    App(String),
}

impl What {
    /// Decides what is meant. `Err` is why nothing can be started, in words.
    pub(crate) fn meant(self) -> Result<Meant, String> {
        let extension = Path::new(&self.target).extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or_default();
        let is_path = self.target.contains('/') || is_known(extension);
        if !is_path && !self.has_options() {
            return Ok(Meant::App(self.target));
        }
        let path = &self.path();
        let command = match (path.metadata(), is_path) {
            (Ok(file), _) if file.is_file() => command(path, extension, &file.permissions())?,
            (Ok(_), true) => {
                return Err(format!("{} is no file; which one in it is to be run?", path.display()));
            }
            (Err(error), true) => return Err(format!("{} cannot be run: {error}", path.display())),
            (_, false) if in_path(&self.target).is_some() => vec![self.target.clone()],
            (_, false) => {
                return Err(format!("there is no file here and no program in $PATH called {}", self.target));
            }
        };
        self.file(path, command).map(Meant::Foreground)
    }

    /// Where the file is: in the folder that the app runs in, as PM2 looks for it, or else in the current one.
    fn path(&self) -> PathBuf {
        let here = PathBuf::from(&self.target);
        let there = self.cwd.as_ref().map(|cwd| cwd.join(&here));
        there.filter(|there| there.exists() || !here.exists()).unwrap_or(here)
    }

    /// What is worth knowing of what goes to the app and not to us: that it does, and what was meant for us by mistake.
    pub(crate) fn remarks(&self) -> Vec<String> {
        if self.args.is_empty() {
            return Vec::new();
        }
        let said = format!("behind `--`, for the app: {}", self.args.join(" "));
        let ours = Self::augment_args(clap::Command::new("start"));
        let is_ours = |word: &&String| {
            let word = word.split('=').next().unwrap_or_default();
            ours.get_arguments().any(|option| {
                option.get_long().is_some_and(|long| word.strip_prefix("--") == Some(long))
                    || option
                        .get_short()
                        .is_some_and(|short| word.strip_prefix('-') == Some(&*short.to_string()))
            })
        };
        let mistaken = self.args.iter().filter(is_ours).map(|word| {
            format!("warning: `{word}` is an option of tidelock too, and goes to the app; for tidelock it stands before the `--`")
        });
        std::iter::once(said).chain(mistaken).collect()
    }

    fn has_options(&self) -> bool {
        let said = [
            self.sticky.is_some(),
            self.instances.is_some(),
            self.name.is_some(),
            self.port.is_some(),
            self.cwd.is_some(),
        ];
        said.contains(&true)
            || self.watch
            || !(self.listen.is_empty() && self.env.is_empty() && self.args.is_empty())
    }

    /// The file that says the same.
    fn file(&self, path: &Path, mut command: Vec<String>) -> Result<String, String> {
        command.extend(self.args.iter().cloned());
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("app");
        let name = self.name.clone().unwrap_or_else(|| as_name(stem));
        let here = std::env::current_dir().map_err(|error| format!("the current folder is gone: {error}"))?;
        let cwd = self.cwd.as_ref().map_or_else(|| here.clone(), |cwd| here.join(cwd));
        if !cwd.is_dir() {
            return Err(format!("there is no folder {}", cwd.display()));
        }
        let mut env = BTreeMap::new();
        for pair in &self.env {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("`--env {pair}` has no `=`"))?;
            env.insert(name, value);
        }
        let listens = if self.listen.is_empty() { vec![default_listen()] } else { self.listen.clone() };
        let mut text = String::new();
        for listen in &listens {
            let _ = writeln!(text, "[[listen]]\naddress = {}", quoted(listen));
        }
        let name = quoted(&name);
        let _ = writeln!(text, "[[route]]\nupstream = {name}\n[upstream.{name}]\napp = {name}");
        if let Some(sticky) = &self.sticky {
            let _ = writeln!(text, "sticky = {}", quoted(sticky));
        }
        let _ = writeln!(text, "[app.{name}]");
        let command: Vec<String> = command.iter().map(|word| quoted(word)).collect();
        let _ = writeln!(
            text,
            "command = [{}]\ncwd = {}",
            command.join(", "),
            quoted(&cwd.display().to_string())
        );
        let number = |text: &str| if text.parse::<u64>().is_ok() { text.to_owned() } else { quoted(text) };
        if let Some(instances) = &self.instances {
            // PM2 says 0 where it means all cores.
            let _ = writeln!(
                text,
                "instances = {}",
                if instances == "0" { quoted("max") } else { number(instances) }
            );
        }
        if let Some(port) = &self.port {
            let _ = writeln!(text, "port = {}", number(port));
        }
        if self.watch {
            text += "watch = {}\n";
        }
        // Lines stay in memory, and go to our own output; whoever wants files has a file of their own.
        text += "logs = { folder = \"off\" }\n";
        let _ = writeln!(text, "[app.{name}.env]");
        for (name, value) in env {
            let _ = writeln!(text, "{} = {}", quoted(name), quoted(value));
        }
        // What the app says is what one wants to read.
        text += "[log]\naccess = \"off\"\n";
        Ok(text)
    }
}

fn is_known(extension: &str) -> bool {
    ["js", "mjs", "cjs", "py"].contains(&extension) || TYPESCRIPT.contains(&extension)
}

/// The program and its arguments, by the extension of the file.
fn command(path: &Path, extension: &str, permissions: &std::fs::Permissions) -> Result<Vec<String>, String> {
    let path = std::path::absolute(path).map_err(|error| format!("the current folder is gone: {error}"))?;
    let file = path.to_str().ok_or("a name that is not UTF-8 needs a file of its own")?.to_owned();
    let with = |program: &str| match in_path(program) {
        Some(_) => Ok(vec![program.to_owned(), file.clone()]),
        None => Err(format!("{program} is not in $PATH, and {file} needs it")),
    };
    match extension {
        "js" | "mjs" | "cjs" => with("node"),
        "py" => with("python3"),
        typescript if TYPESCRIPT.contains(&typescript) => typescript_command(&file),
        _ if permissions.mode() & 0o111 != 0 => Ok(vec![file]),
        _ => Err(format!(
            "{file} cannot be run: make it executable, or name its interpreter: `tidelock start INTERPRETER --name \
             NAME -- {file}`"
        )),
    }
}

/// Node.js runs TypeScript by itself since 22.18; before that something else has to.
fn typescript_command(file: &str) -> Result<Vec<String>, String> {
    typescript(file).map(|program| program.into_iter().chain([file.to_owned()]).collect())
}

/// The program that runs TypeScript here, with its arguments; `file` is what it is needed for.
pub(crate) fn typescript(file: &str) -> Result<Vec<String>, String> {
    let node = node_version();
    if node.is_some_and(|version| {
        version >= (22, 18) && version != (23, 0) && !((23, 0)..(23, 6)).contains(&version)
    }) {
        return Ok(vec!["node".to_owned()]);
    }
    let others = [&["tsx"][..], &["bun"], &["deno", "run", "--allow-all"]];
    if let Some(found) = others.iter().find(|words| in_path(words[0]).is_some()) {
        return Ok(found.iter().map(|word| (*word).to_owned()).collect());
    }
    let node = node.map_or("there is no Node.js".to_owned(), |(major, minor)| {
        format!("this is Node.js {major}.{minor}")
    });
    Err(format!("{file} needs Node.js 22.18, tsx, bun or deno; {node}, and none of the others is in $PATH"))
}

/// Its two first numbers.
fn node_version() -> Option<(u32, u32)> {
    let said = Command::new("node").arg("--version").output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    let mut numbers = said.trim().strip_prefix('v')?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Where in $PATH it is.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(is_program)
}

/// Where the app itself would have listened, more often than not.
fn default_listen() -> String {
    let port = std::env::var("PORT").ok().and_then(|port| port.parse::<u16>().ok());
    format!(":{}", port.unwrap_or(PORT_DEFAULT))
}

/// A name has letters, digits, `-`, `_` and `.` only.
pub(crate) fn as_name(stem: &str) -> String {
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    let name: String =
        stem.chars().map(|character| if fits(character) { character } else { '-' }).take(64).collect();
    if name.is_empty() { "app".to_owned() } else { name }
}

/// Sessions end with the processes, so that nobody has to know it longer.
/// The key of a table as TOML has it: without quotes, where it can be.
pub(crate) fn key(text: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_bare) { text.to_owned() } else { quoted(text) }
}

/// As TOML has it, which is as JSON has it but for one character.
pub(crate) fn quoted(text: &str) -> String {
    // What was typed is meant as it is: the shell has put variables in already.
    serde_json::Value::from(config::literal(text)).to_string().replace('\u{7f}', "\\u007f")
}

const TYPESCRIPT: [&str; 3] = ["ts", "mts", "cts"];
const PORT_DEFAULT: u16 = 3000;

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        what: What,
    }

    fn meant(words: &[&str]) -> Result<Meant, String> {
        Line::try_parse_from([&["start"], words].concat()).expect("words that clap takes").what.meant()
    }

    #[test]
    fn a_bare_word_is_an_app_and_everything_else_a_file() {
        assert!(matches!(meant(&["chat"]), Ok(Meant::App(name)) if name == "chat"));
        assert!(matches!(meant(&["sh", "-i", "2"]), Ok(Meant::Foreground(_))), "an option says so");
        for (words, why) in [
            (&["no-such.js"][..], "no-such.js cannot be run: No such file"),
            (&["./chat"], "./chat cannot be run: No such file"),
            (&["./src"], "./src is no file; which one in it is to be run?"),
            (
                &["no-such-program", "-i", "2"],
                "there is no file here and no program in $PATH called no-such-program",
            ),
            (&["./Cargo.toml"], "cannot be run: make it executable, or name its interpreter"),
            (&["sh", "--env", "A"], "`--env A` has no `=`"),
            (&["sh", "--cwd", "no-such"], "there is no folder"),
        ] {
            let said = meant(words).expect_err("nothing can be started");
            assert!(said.contains(why), "{words:?}: {said}");
        }
    }

    #[test]
    fn a_file_is_looked_for_where_it_is_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let cwd = folder.path().to_str().expect("UTF-8");
        let command = |target: &str| match meant(&[target, "--cwd", cwd]) {
            Ok(Meant::Foreground(text)) => {
                let plan = config::parse(&text, Path::new("start")).expect("it is right").plan;
                plan.apps[0].command[0].clone()
            }
            other => panic!("{other:?}"),
        };
        let file = |path: &Path| {
            std::fs::write(path, "").expect("a file");
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        };
        file(&folder.path().join("run.sh"));
        assert_eq!(command("./run.sh"), format!("{cwd}/run.sh"));
        // Where it is not there it is looked for here, and what is not anywhere is missed there.
        let here = tempfile::NamedTempFile::new_in(".").expect("a file");
        file(here.path());
        let name = here.path().file_name().and_then(|name| name.to_str()).expect("UTF-8");
        assert!(
            command(&format!("./{name}")).ends_with(name) && !command(&format!("./{name}")).starts_with(cwd)
        );
        let said = meant(&["./none.sh", "--cwd", cwd]).expect_err("nothing can be started");
        assert!(said.contains(&format!("{cwd}/./none.sh cannot be run")), "{said}");
    }

    #[test]
    fn what_goes_to_the_app_is_said_and_what_may_be_a_mistake() {
        let remarks = |words: &[&str]| {
            let words = [&["start", "sh", "-i", "2"], words].concat();
            Line::try_parse_from(words).expect("words that clap takes").what.remarks()
        };
        assert_eq!(remarks(&[]), [""; 0]);
        assert_eq!(remarks(&["--", "-c", "x y"]), ["behind `--`, for the app: -c x y"]);
        let said = remarks(&["--", "--port=81", "-e", "--other", "instances"]);
        assert_eq!(said.len(), 3, "{said:#?}");
        assert!(said[1].contains("`--port=81` is an option of tidelock too"), "{said:#?}");
        assert!(said[2].contains("`-e` is an option of tidelock too"), "{said:#?}");
    }

    #[test]
    fn what_is_said_becomes_a_plan() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("my chat.sh");
        std::fs::write(&file, "").expect("a file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        let cwd = folder.path().to_str().expect("UTF-8");
        let words = [
            file.to_str().expect("UTF-8"),
            "-i",
            "max",
            "-l",
            "127.0.0.1:0",
            "--port",
            "3001",
            "-e",
            "A=b=\"c\"",
            "--cwd",
            cwd,
        ];
        let Ok(Meant::Foreground(text)) = meant(&[&words[..], &["--", "--verbose", "x y"]].concat()) else {
            panic!("a file is run in the foreground");
        };
        let plan = config::parse(&text, Path::new("start")).expect("it is right").plan;
        let app = &plan.apps[0];
        assert_eq!(app.name, "my-chat");
        assert_eq!(app.command, [file.to_str().expect("UTF-8"), "--verbose", "x y"]);
        assert_eq!(app.instances, config::app::Instances::Max);
        assert_eq!(app.port, config::app::Port::Redirect(Some(3001)));
        assert_eq!(app.env.get("A").map(String::as_str), Some("b=\"c\""));
        assert_eq!(app.cwd, folder.path());
        assert_eq!(app.logs.folder, None);
        assert_eq!(plan.listens[0].address.to_string(), "127.0.0.1:0");
        assert_eq!(plan.upstreams[0].app.as_deref(), Some("my-chat"));
        assert!(plan.sticky_secrets.is_empty());
    }
}
