//! What `tidelock start` means: an app of the running tidelock, or a file that is to run. For the latter the part of an
//! `upstreams.toml` is written, so that there is one way from words to a plan.

mod interpreter;
mod name;
mod pm2;
mod program;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::Args;
use rustix::process::Pid;

use crate::quote::quoted;
use interpreter::{command, is_known};
pub(crate) use interpreter::{in_path, typescript};
pub(crate) use name::as_name;
use name::is_ecosystem;
pub(crate) use program::Program;

/// What can be said behind `tidelock start`.
#[derive(Debug, Args)]
pub(crate) struct What {
    /// A file to run, or the name of an app of the running tidelock.
    ///
    /// With a slash or a known extension (.js .mjs .cjs .ts .mts .cts .py), or beside any of the options below, it is
    /// a file or a program; otherwise the name of an app.
    #[arg(value_name = "FILE|APP")]
    target: String,

    /// How many processes: a number, or `max` for one on each core [default: 1].
    #[arg(short, long, value_name = "N", help_heading = FOREGROUND)]
    instances: Option<String>,

    /// Where clients connect; may be given more than once [default: $PORT, the port in the script, or 3000].
    #[arg(short, long, value_name = "ADDRESS", help_heading = FOREGROUND)]
    listen: Vec<String>,

    /// The name of the app [default: that of the file].
    #[arg(short, long, value_name = "NAME", help_heading = FOREGROUND)]
    name: Option<String>,

    /// The port that the app has in its code, or `env` if it listens on $PORT and must not be redirected
    /// [default: the one that answers as the app].
    #[arg(long, value_name = "PORT", help_heading = FOREGROUND)]
    port: Option<String>,

    /// Rooms of Socket.IO reach over all processes, in an app without an adapter, and without Redis.
    #[arg(long, help_heading = FOREGROUND)]
    fanout: bool,

    /// What keeps a client on its process, as `sticky` in a file: auto, engineio, cookie, ip, header:NAME, path:N, none
    /// [default: auto].
    #[arg(long, value_name = "MODE", help_heading = FOREGROUND)]
    sticky: Option<String>,

    /// Sets a variable in the app's environment; may be given more than once. Beside PM2's ecosystem file: takes its
    /// `env_NAME`.
    #[arg(short, long, value_name = "NAME=VALUE|NAME", help_heading = FOREGROUND)]
    env: Vec<String>,

    /// Nobody connects to it: a bot, a queue, a job. It is ready when it runs, and gets no port.
    #[arg(long, conflicts_with_all = ["listen", "port", "sticky"], help_heading = FOREGROUND)]
    worker: bool,

    /// Of PM2's ecosystem file these apps alone; names with commas between them.
    #[arg(long, value_name = "NAMES", help_heading = FOREGROUND)]
    only: Vec<String>,

    /// The folder that the app runs in, and that the file is looked for in first [default: the current one].
    #[arg(long, value_name = "FOLDER", help_heading = FOREGROUND)]
    cwd: Option<PathBuf>,

    /// Roll the app whenever a file in its folder changes; for development.
    #[arg(long, help_heading = FOREGROUND)]
    watch: bool,

    /// Run it here, until Ctrl-C or SIGTERM, instead of in the background. So it is without a terminal, too, and as the
    /// first process of a container.
    #[arg(long, visible_alias = "no-daemon", conflicts_with = "background", help_heading = FOREGROUND)]
    foreground: bool,

    /// Run it in the background, also without a terminal: in a script, or over `ssh host tidelock start …`.
    #[arg(long, help_heading = FOREGROUND)]
    background: bool,

    /// Arguments of the app, as they are.
    #[arg(last = true, value_name = "ARGS", help_heading = FOREGROUND)]
    args: Vec<String>,

    #[command(flatten)]
    pm2: pm2::Options,
}

const FOREGROUND: &str = "Options for a file";

/// What was meant.
#[derive(Debug)]
pub(crate) enum Meant {
    /// A file or a program.
    Run(Program),
    /// An app of the running tidelock.
    App(String),
    /// PM2's file, with the `--env` that is taken of it.
    Ecosystem { file: PathBuf, env: Option<String>, only: Vec<String> },
}

impl What {
    /// Decides what is meant. `Err` is why nothing can be started, in words.
    pub(crate) fn meant(self) -> Result<Meant, String> {
        self.pm2.demand_ours()?;
        let extension = Path::new(&self.target).extension().and_then(|extension| extension.to_str());
        let extension = extension.unwrap_or_default();
        let is_path = self.target.contains('/') || is_known(extension);
        if extension == "toml" && config::inspect(Path::new(&self.target)).is_good() {
            return Err(format!("`tidelock {0}` serves it; `tidelock start` runs a program", self.target));
        }
        if is_ecosystem(&self.target) {
            return self.ecosystem();
        }
        if !self.only.is_empty() {
            return Err(format!("`--only` is for PM2's ecosystem files, and {} is none", self.target));
        }
        if !is_path && !self.has_options() {
            return Ok(Meant::App(self.target));
        }
        let path = &self.path();
        let command = match (path.metadata(), is_path) {
            (Ok(file), _) if file.is_file() => self.with_interpreter(path, extension, &file.permissions())?,
            (Ok(_), true) => {
                return Err(format!("{} is no file; which one in it is to be run?", path.display()));
            }
            (Err(error), true) => return Err(format!("{} cannot be run: {error}", path.display())),
            (_, false) if in_path(&self.target).is_some() => vec![self.target.clone()],
            (_, false) => {
                return Err(format!("there is no file here and no program in $PATH called {}", self.target));
            }
        };
        self.program(path, command).map(Meant::Run)
    }

    /// Whether it goes on behind whoever has started it. A script, a unit of systemd and a container wait for the end of
    /// what they start, and read what it says; a person goes on typing.
    pub(crate) fn is_in_background(&self) -> bool {
        let is_watched = std::io::stdout().is_terminal() || std::io::stderr().is_terminal();
        // With nobody but init above it, it is what its container runs.
        let is_first = std::process::id() == 1 || rustix::process::getppid().is_none_or(Pid::is_init);
        self.background || (!self.foreground && is_watched && !is_first)
    }

    /// What runs the file: what was said, or what its extension says.
    fn with_interpreter(
        &self,
        path: &Path,
        extension: &str,
        permissions: &std::fs::Permissions,
    ) -> Result<Vec<String>, String> {
        let said = self.pm2.interpreter.as_deref();
        let mut words = match said {
            None => command(path, extension, permissions)?,
            Some(interpreter) => {
                let file = std::path::absolute(path)
                    .map_err(|error| format!("the current folder is gone: {error}"))?;
                let mut words: Vec<String> = interpreter.split_whitespace().map(str::to_owned).collect();
                if words == ["none"] {
                    words.clear();
                }
                if let Some(program) = words.first()
                    && !program.contains('/')
                    && in_path(program).is_none()
                {
                    return Err(format!("--interpreter {interpreter}: {program} is not in $PATH"));
                }
                words.push(file.display().to_string());
                words
            }
        };
        if let Some(options) = &self.pm2.node_args {
            let at = words.len() - 1;
            if at == 0 {
                return Err(format!("--node-args {options}: nothing runs {} but itself", path.display()));
            }
            words.splice(at..at, options.split_whitespace().map(str::to_owned));
        }
        Ok(words)
    }

    fn ecosystem(self) -> Result<Meant, String> {
        let file = self.path();
        let others =
            [self.sticky.is_some(), self.instances.is_some(), self.name.is_some(), self.port.is_some()];
        if others.contains(&true)
            || self.watch
            || self.fanout
            || !(self.listen.is_empty() && self.args.is_empty())
        {
            return Err(format!(
                "{} says that itself; beside it there are `--only NAME`, `--env NAME` and `--cwd`",
                self.target
            ));
        }
        let env = match &self.env[..] {
            [] => None,
            [name] if !name.contains('=') => Some(name.clone()),
            _ => {
                return Err(format!(
                    "`--env` beside {} is the NAME of one of its `env_NAME`; variables are said there",
                    self.target
                ));
            }
        };
        let only = self.only.iter().flat_map(|names| names.split(',')).map(as_name).collect();
        Ok(Meant::Ecosystem { file, env, only })
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
            self.worker,
            self.fanout,
            self.pm2.is_some(),
        ];
        said.contains(&true)
            || self.watch
            || !(self.listen.is_empty() && self.env.is_empty() && self.args.is_empty())
    }

    fn program(&self, path: &Path, mut command: Vec<String>) -> Result<Program, String> {
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
            env.insert(name.to_owned(), value.to_owned());
        }
        let number = |text: &str| if text.parse::<u64>().is_ok() { text.to_owned() } else { quoted(text) };
        let mut keys = Vec::new();
        if let Some(instances) = &self.instances {
            // PM2 says 0 where it means all cores.
            keys.push(("instances", number(if instances == "0" { "max" } else { instances })));
        }
        if let Some(port) = &self.port {
            keys.push(("port", number(port)));
        }
        if self.fanout {
            keys.push(("fanout", "true".to_owned()));
        }
        if self.watch {
            keys.push(("watch", "{}".to_owned()));
        }
        keys.extend(self.pm2.keys());
        let is_node = command.first().is_some_and(|program| program == "node");
        Ok(Program {
            name,
            command,
            cwd,
            env,
            listens: self.listen.clone(),
            keys,
            sticky: self.sticky.clone(),
            has_time: self.pm2.time,
            script: Some(path.to_owned()).filter(|_| is_node),
            is_worker: self.worker,
            known_listen: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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
        assert!(matches!(meant(&["sh", "-i", "2"]), Ok(Meant::Run(_))), "an option says so");
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
            Ok(Meant::Run(program)) => {
                let plan = config::parse(&program.file(), Path::new("start")).expect("it is right").plan;
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
        let Ok(Meant::Run(program)) = meant(&[&words[..], &["--", "--verbose", "x y"]].concat()) else {
            panic!("a file is run in the foreground");
        };
        let plan = config::parse(&program.file(), Path::new("start")).expect("it is right").plan;
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
        assert!(plan.sticky_secret.is_empty());
    }
}
