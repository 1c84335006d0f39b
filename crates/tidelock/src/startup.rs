//! `tidelock startup`: a unit of systemd that serves the user's file from boot on, and `unstartup`, which takes it away.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::background;
use crate::change::Change;
use crate::home::Home;
use crate::output::{self, say, tell};
use crate::service::{self, NAME, Service};
use crate::start::in_path;
use crate::verbs;

/// A unit, and whose it is.
#[derive(Debug)]
struct Unit {
    path: PathBuf,
    text: String,
    service: Service,
}

/// Writes the unit, enables it and starts it, or only prints it.
pub(crate) fn startup(is_printed: bool) -> ExitCode {
    ended((|| {
        let home = Home::of_user()?;
        let here = Here::now(&home)?;
        let unit = here.unit()?;
        if let Some(node) = &here.node {
            tell!("node is {}{}", node.display(), manager_of(node));
        }
        if is_printed {
            output::out(format_args!("{}", unit.text));
            return Ok(());
        }
        demand_systemd()?;
        install(&home, &unit)
    })())
}

fn install(home: &Home, unit: &Unit) -> Result<(), String> {
    // Nobody starts or changes anything while it is moved.
    let change = Change::begin()?;
    let folder = unit.path.parent().unwrap_or(Path::new("/"));
    let written = fs::create_dir_all(folder).and_then(|()| fs::write(&unit.path, &unit.text));
    written.map_err(|error| format!("{} cannot be written: {error}", unit.path.display()))?;
    unit.service.systemctl(&["daemon-reload"])?;
    unit.service.systemctl(&["enable", NAME])?;
    say!("{}: written and enabled", unit.path.display());
    if !unit.service.is_of_system() && service::run(Command::new("loginctl").arg("enable-linger")).is_err() {
        tell!(
            "your services would begin at your login, not at boot: say `sudo loginctl enable-linger $USER`, and they begin at boot"
        );
    }
    if !home.file.exists() {
        say!("nothing runs yet: {} is not there; `tidelock start FILE` makes it", home.file.display());
        return Ok(());
    }
    if let Some(running) = change.running.as_ref().filter(|running| running.status.background) {
        tell!("what runs in the background is moved to the service: its sessions leave");
        verbs::end(&change.runtime, &running.socket, false)?;
    }
    background::start(&change.runtime, home)?;
    say!("it runs: `{}`", unit.service.status_command());
    Ok(())
}

/// Takes the unit away. What runs goes on.
pub(crate) fn unstartup() -> ExitCode {
    ended((|| {
        let home = Home::of_user()?;
        let unit = Here::now(&home)?.unit()?;
        if !unit.path.exists() {
            return Err(format!("there is no {}; nothing is started at boot", unit.path.display()));
        }
        let of_ours = fs::read_to_string(&unit.path).is_ok_and(|text| text.starts_with(FIRST_LINE));
        if !of_ours {
            return Err(format!(
                "{} is not what `tidelock startup` has written; remove it yourself",
                unit.path.display()
            ));
        }
        demand_systemd()?;
        unit.service.systemctl(&["disable", NAME])?;
        fs::remove_file(&unit.path).map_err(|error| format!("{}: {error}", unit.path.display()))?;
        unit.service.systemctl(&["daemon-reload"])?;
        say!("{}: removed; what runs goes on, and `tidelock kill` ends it", unit.path.display());
        Ok(())
    })())
}

/// What a unit is made of.
#[derive(Debug)]
struct Here {
    file: PathBuf,
    program: PathBuf,
    environment: Vec<(String, String)>,
    node: Option<PathBuf>,
    is_of_system: bool,
}

impl Here {
    fn now(home: &Home) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| format!("where is this program? {error}"))?;
        let found = in_path("node");
        let node = found.as_ref().map(|node| lasting(node));
        let mut environment = Vec::new();
        for name in KEPT {
            if let Ok(value) = std::env::var(name)
                && !value.is_empty()
            {
                environment.push((name.to_owned(), value));
            }
        }
        if let Ok(path) = std::env::var("PATH") {
            environment.push(("PATH".to_owned(), lasting_path(&path, found.as_deref(), node.as_deref())));
        }
        let is_of_system = rustix::process::geteuid().is_root();
        Ok(Self { file: home.file.clone(), program, environment, node, is_of_system })
    }

    fn unit(&self) -> Result<Unit, String> {
        let path = match self.is_of_system {
            true => PathBuf::from("/etc/systemd/system").join(NAME),
            false => user_units()?.join(NAME),
        };
        Ok(Unit { path, text: self.text(), service: Service::of_user() })
    }

    fn text(&self) -> String {
        let mut text = format!("{FIRST_LINE} `tidelock unstartup` takes it away.\n\n");
        let file = self.file.display().to_string();
        let condition = file.replace('%', "%%");
        let _ = write!(
            text,
            "[Unit]\nDescription=tidelock, and the apps of {condition}\nConditionPathExists={condition}\n"
        );
        if self.is_of_system {
            text += "After=network-online.target\nWants=network-online.target\n";
        }
        let program = word(&self.program.display().to_string());
        let _ =
            write!(text, "\n[Service]\nExecStart={program} {}\nExecReload={program} reload\n", word(&file));
        for (name, value) in &self.environment {
            let _ = writeln!(text, "Environment={}", setting(&format!("{name}={value}")));
        }
        text += of_every_unit();
        text += "\n[Install]\nWantedBy=";
        text += if self.is_of_system { "multi-user.target\n" } else { "default.target\n" };
        text
    }
}

fn demand_systemd() -> Result<(), String> {
    if Path::new("/run/systemd/system").is_dir() {
        return Ok(());
    }
    Err("systemd does not run this machine; `tidelock startup --print` shows the unit, and a container runs `tidelock FILE`"
        .to_owned())
}

fn user_units() -> Result<PathBuf, String> {
    let set = std::env::var_os("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty());
    let configs = set.map(PathBuf::from).or_else(|| Some(admin::places::home()?.join(".config")));
    Ok(configs.ok_or("where are your units? There is no $HOME")?.join("systemd/user"))
}

/// fnm gives each shell links of its own, which end with it: what they lead to stays.
fn lasting(node: &Path) -> PathBuf {
    let is_passing =
        node.components().any(|part| part.as_os_str().to_string_lossy().starts_with("fnm_multishells"));
    if is_passing { node.canonicalize().unwrap_or_else(|_| node.to_owned()) } else { node.to_owned() }
}

/// With the folder of the lasting `node` in the place of the passing one.
fn lasting_path(path: &str, found: Option<&Path>, node: Option<&Path>) -> String {
    let (Some(found), Some(node)) = (found.and_then(Path::parent), node.and_then(Path::parent)) else {
        return path.to_owned();
    };
    let folders = path.split(':').map(|folder| match Path::new(folder) == found {
        true => node.display().to_string(),
        false => folder.to_owned(),
    });
    folders.collect::<Vec<_>>().join(":")
}

/// Whose it is, as far as its path says.
fn manager_of(node: &Path) -> &'static str {
    let path = node.display().to_string();
    match &*path {
        path if path.contains("/.nvm/") || path.contains("/nvm/versions/") => {
            ", of nvm: say `tidelock startup` again after `nvm use`"
        }
        path if path.contains("fnm") => ", of fnm: say `tidelock startup` again after `fnm use`",
        path if path.contains("/.volta/") => ", of Volta",
        path if path.contains("/.asdf/") => ", of asdf",
        _ => "",
    }
}

/// A word of a command, as systemd.service(5) reads it.
fn word(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('$', "$$");
    if text.contains([' ', '\'', ';', '\t']) { format!("\"{text}\"") } else { text }
}

/// A variable, as systemd.exec(5) reads it.
fn setting(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%").replace('\n', "\\n"))
}

fn ended(done: Result<(), String>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tell!("{why}");
            ExitCode::FAILURE
        }
    }
}

const FIRST_LINE: &str = "# Written by `tidelock startup`;";
/// What a service would not have, and apps may need.
const KEPT: [&str; 8] =
    ["HOME", "LANG", "LC_ALL", "TZ", "NVM_DIR", "VOLTA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"];
/// The unit that serves a file as a service of the system.
const UNIT: &str = include_str!("../../../configs/tidelock.service");
const COMMON: &str = "# From here to the next blank line:";

/// The lines of [`UNIT`] that every unit has, without their heading.
fn of_every_unit() -> &'static str {
    let (_, rest) = UNIT.split_once(COMMON).expect("a test holds that they are there");
    let (_, rest) = rest.split_once('\n').expect("a heading ends");
    rest.split_once("\n\n").map_or(rest, |(lines, _)| &rest[..=lines.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(is_of_system: bool) -> Here {
        Here {
            file: "/home/a b/50%/upstreams.toml".into(),
            program: std::env::current_exe().expect("it runs"),
            environment: vec![("PATH".into(), "/opt/no\"de:/bin".into()), ("LANG".into(), "C".into())],
            node: None,
            is_of_system,
        }
    }

    #[test]
    fn the_unit_says_what_is_meant() {
        let text = here(true).text();
        for line in [
            "ConditionPathExists=/home/a b/50%%/upstreams.toml\n",
            " \"/home/a b/50%%/upstreams.toml\"\nExecReload=",
            "Environment=\"PATH=/opt/no\\\"de:/bin\"\nEnvironment=\"LANG=C\"\n",
            "WantedBy=multi-user.target\n",
            "\nType=notify\nNotifyAccess=main\n",
            "\nKillMode=mixed\nTimeoutStopSec=90\n",
            "RestartSec=1\n\n[Install]\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(here(false).text().ends_with("WantedBy=default.target\n"));
    }

    /// systemd itself reads it, where there is one. What it does not know it tells, and exits with 0 all the same.
    #[test]
    fn systemd_takes_the_units() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = std::env::current_exe().expect("it runs").display().to_string();
        let shipped = UNIT.replace("/usr/local/bin/tidelock", &program);
        let socket = include_str!("../../../configs/tidelock.socket").to_owned();
        for (name, text) in [
            (NAME, here(true).text()),
            (NAME, here(false).text()),
            (NAME, shipped),
            ("tidelock.socket", socket),
        ] {
            fs::write(folder.path().join(name), text).expect("written");
            let mut verify = Command::new("systemd-analyze");
            verify.args(["verify", "--man=no"]).arg(folder.path().join(name));
            let Ok(output) = verify.output() else { return };
            let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            let ours: Vec<&str> = said.lines().filter(|line| line.contains("tidelock")).collect();
            assert!(output.status.success() && ours.is_empty(), "{said}");
        }
    }

    /// What is left open is argued for in the unit.
    #[test]
    fn the_unit_is_hardened() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(NAME);
        fs::write(&path, UNIT).expect("written");
        let mut security = Command::new("systemd-analyze");
        security.args(["security", "--offline=yes", "--no-pager", "--threshold=25"]).arg(&path);
        let Ok(output) = security.output() else { return };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    #[test]
    fn a_node_that_passes_is_not_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let (real, shell) = (folder.path().join("v20/bin"), folder.path().join("fnm_multishells/1/bin"));
        fs::create_dir_all(&real).expect("a folder");
        fs::create_dir_all(&shell).expect("a folder");
        fs::write(real.join("node"), "").expect("written");
        std::os::unix::fs::symlink(real.join("node"), shell.join("node")).expect("a link");
        let found = shell.join("node");
        let node = lasting(&found);
        assert_eq!(node, real.canonicalize().expect("it is there").join("node"));
        let path = format!("{}:/bin", shell.display());
        let kept = lasting_path(&path, Some(&found), Some(&node));
        assert_eq!(kept, format!("{}:/bin", node.parent().expect("a folder").display()));
        assert_eq!(lasting(Path::new("/usr/bin/node")), Path::new("/usr/bin/node"));
        assert_eq!(manager_of(Path::new("/home/a/.volta/bin/node")), ", of Volta");
    }
}
