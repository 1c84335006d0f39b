//! `tidelock check`: what the file says, and whether this machine goes with it. Says all of it at once. Changes nothing on the
//! disk; a port is bound for a moment, and nobody listens on it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use config::Inspected;
use config::app::Socket as AppSocket;
use config::plan::{AccessLog, AdminSocket, Listen, NodeTls, Plan, Scheme, Upstream};
use config::problem::Severity;
use config::routing::{Action, Route};
use proxy::TooLittleMemory;
use supervisor::privileges::{PrivilegeProblem, ServiceUser};
use supervisor::why_not_writable;

use crate::colour;
use crate::explain::{Url, explain};
use crate::output::{self, say};
use crate::privileges;
use crate::reload::tell_certificates;
use crate::run;

pub(crate) fn check(file: &Path, asked: Option<(&Url, &str, &[String])>) -> ExitCode {
    let colour = colour::is_wanted(&io::stdout());
    let mut inspected = config::inspect(file);
    // Only what can be read of a broken file is looked at, which is what will be there when it is mended.
    if let Some(plan) = inspected.plan.take() {
        service_user(&plan, file, &mut inspected);
        look_around(&plan, &mut inspected);
        inspected.plan = Some(plan);
    }
    output::out(format_args!("{}", inspected.report.render(colour)));
    match &inspected.plan {
        Some(plan) if inspected.is_good() => {
            say!("{}: good, {}", file.display(), run::summary(plan));
            if let Some((url, method, lines)) = asked {
                output::out(format_args!("{}", explain(plan, url, method, lines)));
            }
            ExitCode::SUCCESS
        }
        _ => ExitCode::FAILURE,
    }
}

fn look_around(plan: &Plan, inspected: &mut Inspected) {
    certificates(plan, inspected);
    for (index, listen) in plan.listens.iter().enumerate() {
        port(index, listen, inspected);
    }
    automatic(plan, inspected);
    log(plan, inspected);
    memory(plan, inspected);
    admin_socket(plan, inspected);
    plan.routes.iter().for_each(|route| folder_of(route, inspected));
    for app in &plan.apps {
        let path = format!("app.{}", app.name);
        if !inspected.is_good_at(&path) {
            continue;
        }
        for found in supervisor::obstacles(app) {
            inspected.tell(&format!("{path}.{}", found.key), Severity::Error, found.message, found.hint);
        }
    }
}

/// What the user will miss that tidelock becomes, where this is root and so can know it.
fn service_user(plan: &Plan, file: &Path, inspected: &mut Inspected) {
    let user = match ServiceUser::of(plan) {
        Ok(Some(user)) => user,
        Ok(None) => return,
        Err(problem) => {
            let key = if matches!(&problem, PrivilegeProblem::Nobody { key: "group", .. }) {
                "group"
            } else {
                "user"
            };
            return inspected.tell(key, Severity::Error, problem.to_string(), None);
        }
    };
    admin::places::become_a_service();
    let file = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    for place in privileges::forbidden(plan, &file, &user) {
        let message = format!("what changes in {} is not seen while tidelock runs", place.display());
        inspected.tell("user", Severity::Warning, message, Some(privileges::as_user(user.name())));
    }
    for app in plan.apps.iter().filter(|app| app.socket == AppSocket::Unix && user.is_other(app)) {
        let message = format!(
            "tidelock goes on as the user `{}`, who may not connect to a socket of another",
            user.name()
        );
        let hint = "write `socket = \"tcp\"`, or leave out the app's `user`".to_owned();
        inspected.tell(&format!("app.{}.socket", app.name), Severity::Error, message, Some(hint));
    }
}

fn certificates(plan: &Plan, inspected: &mut Inspected) {
    // What is not there, or would wait for a writer, has been told.
    let is_file = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.is_file());
    let is_readable = |listen: &Listen| match &listen.scheme {
        Scheme::Tls(files) => {
            let clients = listen.client_certificates.ca.as_ref();
            files.iter().all(|files| is_file(&files.certificate) && is_file(&files.key))
                && clients.is_none_or(is_file)
        }
        Scheme::Plain | Scheme::RedirectToHttps { .. } | Scheme::Automatic { .. } => false,
    };
    let listens = plan.listens.iter().filter(|listen| is_readable(listen)).cloned().collect();
    let are_readable = |upstream: &Upstream| -> bool {
        let NodeTls { ca, certificate, key, .. } = &upstream.tls;
        [ca, certificate, key].into_iter().flatten().all(is_file)
    };
    let upstreams =
        plan.upstreams.iter().filter(|upstream| are_readable(upstream.as_ref())).cloned().collect();
    let mut readable = Plan { listens, upstreams, ..plan.clone() };
    readable.redis.ca.take_if(|ca| !is_file(ca));
    tell_certificates(&proxy::check_certificates(&readable), inspected);
    for problem in proxy::warn_of_certificates(&readable) {
        inspected.warn_of(problem.section, &problem.file, problem.to_string());
    }
}

/// A route's files. What is not there yet may come: tidelock starts without it, and answers 404.
fn folder_of(route: &Route, inspected: &mut Inspected) {
    let Action::Files(files) = &route.action else { return };
    let place = |key: &str| format!("route.{}.{key}", route.number - 1);
    let mut warn = |key: &str, message: String, hint: &str| {
        inspected.tell(&place(key), Severity::Warning, message, Some(hint.to_owned()));
    };
    let folder = &files.folder;
    let shown = folder.display();
    match fs::read_dir(folder) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return warn(
                "files",
                format!("there is no folder {shown}"),
                "until there is, each file of it is 404",
            );
        }
        Err(error) => {
            let hint = "tidelock must be able to read it as the user that it runs as";
            return warn("files", format!("{shown} cannot be read: {error}"), hint);
        }
    }
    if let Some(fallback) = &files.fallback
        && !folder.join(fallback).is_file()
    {
        let message = format!("there is no file {}", folder.join(fallback).display());
        warn("fallback", message, "until there is, every page of the app is 404");
    }
}

/// Whether it can be listened on, as far as that can be known without doing it.
fn port(index: usize, listen: &Listen, inspected: &mut Inspected) {
    let address = listen.address;
    // As the proxy does it, but for the last step.
    let Err(error) = proxy::bind(address, listen.reuse_port) else { return };
    let (severity, message, hint) = match error.kind() {
        io::ErrorKind::AddrInUse => match owner::of(address) {
            // It is most likely the one that is to be told to reload this file.
            Some(owner) if owner.is_tidelock() => return,
            owner => {
                let who = owner.map_or_else(|| "another process".to_owned(), |owner| owner.to_string());
                let hint = "end it before tidelock is started, or listen on another port";
                (Severity::Warning, format!("{who} has {address}"), hint)
            }
        },
        io::ErrorKind::PermissionDenied => {
            let message = format!("this user may not listen on port {}", address.port());
            let hint = "ports below 1024 need root or CAP_NET_BIND_SERVICE (AmbientCapabilities= of systemd); check the file \
                        as the user that tidelock runs as";
            (Severity::Error, message, hint)
        }
        io::ErrorKind::AddrNotAvailable => {
            let message = format!("no interface of this machine has the address {}", address.ip());
            (Severity::Error, message, "`ip address` shows which there are; \":80\" listens on all of them")
        }
        _ => (
            Severity::Error,
            format!("{address} cannot be listened on: {error}"),
            "listen on another address",
        ),
    };
    // Where a listen cannot be read, the others have other numbers in the file.
    let place =
        if inspected.is_good_at("listen") { format!("listen.{index}.address") } else { "listen".to_owned() };
    inspected.tell(&place, severity, message, Some(hint.to_owned()));
}

fn log(plan: &Plan, inspected: &mut Inspected) {
    let AccessLog::File(path) = &plan.log.access else { return };
    let folder = path.parent().unwrap_or(Path::new(""));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let (message, hint) = match (fs::metadata(path), fs::metadata(folder)) {
        (Ok(there), _) if there.is_dir() => (
            format!("{} is a folder", path.display()),
            format!("write `access = \"{}/access.log\"`", path.display()),
        ),
        (Ok(_), _) => match fs::OpenOptions::new().append(true).open(path) {
            Ok(_) => return,
            Err(error) => (format!("{} cannot be written to: {error}", path.display()), AS_USER.to_owned()),
        },
        (Err(_), Err(error)) if error.kind() == io::ErrorKind::NotFound => (
            format!("there is no folder {} for the access log", folder.display()),
            format!("make it: `mkdir -p {}`", folder.display()),
        ),
        (Err(_), _) => match why_not_writable(folder, true) {
            None => return,
            Some(why) => (format!("the access log cannot be written: {why}"), AS_USER.to_owned()),
        },
    };
    inspected.tell("log.access", Severity::Error, message, Some(hint));
}

/// Whether the certificates that tidelock gets by itself can be kept, and proved.
fn automatic(plan: &Plan, inspected: &mut Inspected) {
    let is_automatic = |listen: &Listen| matches!(listen.scheme, Scheme::Automatic { .. });
    if !plan.listens.iter().any(is_automatic) {
        return;
    }
    let folder = plan.acme.state.clone().or_else(admin::places::state_folder);
    let why = match &folder {
        Some(folder) => why_not_writable(folder, true),
        None => Some("there is no $STATE_DIRECTORY, no $XDG_STATE_HOME and no $HOME".to_owned()),
    };
    if let Some(why) = why {
        let message = format!("certificates cannot be kept: {why}");
        let hint = format!("name a folder: `[acme] state = \"/var/lib/tidelock/acme\"`; {AS_USER}");
        inspected.tell("acme.state", Severity::Error, message, Some(hint));
    }
    let Some(program) = &plan.acme.dns_program else { return };
    let is_run = |program: &Path| {
        fs::metadata(program).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    // One that is not there has been told.
    if program.exists() && !is_run(program) {
        let message = format!("{} cannot be run", program.display());
        let hint = format!("`chmod +x {}`", program.display());
        inspected.tell("acme.dns_program", Severity::Error, message, Some(hint));
    }
}

/// By what this process has taken to read the file. Workers take some more.
fn memory(plan: &Plan, inspected: &mut Inspected) {
    if let Some(too_little) = TooLittleMemory::now(plan.limits.memory) {
        let hint = format!("write `memory = \"{}MiB\"`, or more", too_little.enough() >> 20);
        inspected.tell("limits.memory", Severity::Warning, too_little.to_string(), Some(hint));
    }
}

fn admin_socket(plan: &Plan, inspected: &mut Inspected) {
    let AdminSocket::Path(path) = &plan.admin.socket else { return };
    let bytes = path.as_os_str().len();
    let (message, hint) = if bytes > SOCKET_PATH_BYTES_MAX {
        let message = format!(
            "the path of a Unix socket has at most {SOCKET_PATH_BYTES_MAX} bytes, and this one {bytes}"
        );
        (message, "say a shorter path, such as \"/run/tidelock/admin.sock\"")
    } else if let Some(why) = path.parent().and_then(|folder| why_not_writable(folder, true)) {
        (format!("the admin socket cannot be made: {why}"), AS_USER)
    } else {
        return;
    };
    inspected.tell("admin.socket", Severity::Error, message, Some(hint.to_owned()));
}

const AS_USER: &str = "check the file as the user that tidelock runs as, or say another path";
/// `sun_path` has 108 bytes, the last of them NUL (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Who listens on a port, as far as /proc shows it to this user.
mod owner {
    use std::fmt;
    use std::fs;
    use std::net::SocketAddr;

    /// A process that listens.
    pub(super) struct Owner {
        pid: u32,
        name: String,
    }

    impl Owner {
        pub(super) fn is_tidelock(&self) -> bool {
            self.name == "tidelock"
        }
    }

    impl fmt::Display for Owner {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "the process {} ({})", self.pid, self.name)
        }
    }

    pub(super) fn of(address: SocketAddr) -> Option<Owner> {
        let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .filter_map(|table| fs::read_to_string(table).ok())
            .flat_map(|table| {
                table.lines().filter_map(|line| listener(line, address.port())).collect::<Vec<_>>()
            })
            .collect();
        let pids =
            fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let pid = pids.into_iter().find(|pid: &u32| has_one_of(*pid, &sockets))?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(Owner { pid, name: name.trim().to_owned() })
    }

    /// The link that a descriptor of the socket is, if `line` tells of one that listens on `port`: proc_net_tcp has the
    /// address and port in hexadecimal in its second field, the state in its fourth and the inode in its tenth.
    fn listener(line: &str, port: u16) -> Option<String> {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, on) = fields.get(1)?.split_once(':')?;
        let is_it = u16::from_str_radix(on, 16).ok()? == port && *fields.get(3)? == LISTENS;
        is_it.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]"))).flatten()
    }

    fn has_one_of(pid: u32, sockets: &[String]) -> bool {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else { return false };
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok())
            .any(|link| link.to_str().is_some_and(|link| sockets.iter().any(|socket| socket == link)))
    }

    /// TCP_LISTEN.
    const LISTENS: &str = "0A";
}
