//! From root to `user`, before there is a second thread: what only root can read is read, what the user has to write to is
//! made for it, and then root's rights are given up. What they will be missed for is said at once, and again when it happens.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use config::plan::{AccessLog, AdminSocket, NodeTls, Plan, Scheme};
use config::routing::Action;
use proxy::FirstRead;
use supervisor::privileges::{self, PrivilegeProblem, ServiceUser, UserIds};

/// What is left of root when it is gone.
#[derive(Debug, Default)]
pub(crate) struct LaidDown {
    /// The certificates and keys that root could read.
    pub(crate) certificates: FirstRead,
    remark: Option<Remark>,
}

/// What there is to say once there is a log.
#[derive(Debug)]
enum Remark {
    /// Nobody has said who tidelock is to be.
    StillRoot,
    /// It is not root, and so becomes nobody.
    NotRoot {
        user: String,
    },
    Became {
        user: String,
        unreadable: Vec<PathBuf>,
    },
}

/// Why tidelock does not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LayDownProblem {
    #[error(transparent)]
    Privilege(#[from] PrivilegeProblem),
    #[error("`user = \"{user}\"`: {} cannot be made for it: {error}", folder.display())]
    Folder { user: String, folder: PathBuf, error: io::Error },
    #[error("what tidelock was started with cannot be kept to itself: {0}")]
    Inherited(io::Error),
    #[error("{0}")]
    AnotherUser(String),
    #[error(
        "`user` is for a tidelock that serves a file as a service: one in the background keeps all it has in root's home. Run \
         `tidelock FILE` as a service (configs/tidelock.service), or log in as that user, and leave out `user`"
    )]
    Background,
}

/// Goes on as the user that the plan names, if this is root; or as the one that the tidelock before has become, which `was_root`.
///
/// # Errors
/// If that cannot be: nothing may be served then, least of all as root.
pub(crate) fn lay_down(
    plan: &Plan,
    file: Option<&Path>,
    is_background: bool,
    was_root: bool,
) -> Result<LaidDown, LayDownProblem> {
    let is_root = rustix::process::geteuid().is_root();
    if was_root && !is_root {
        admin::places::become_a_service();
        privileges::keep_to_oneself().map_err(LayDownProblem::Inherited)?;
        let user = ServiceUser::be_it_already(plan).map_err(LayDownProblem::AnotherUser)?;
        let _ = BECAME.set(user);
        return Ok(LaidDown::default());
    }
    let Some(user) = ServiceUser::of(plan)? else {
        privileges::keep_to_oneself().map_err(LayDownProblem::Inherited)?;
        let remark = match &plan.user {
            None if is_root => Some(Remark::StillRoot),
            Some(user) if !is_root => Some(Remark::NotRoot { user: user.clone() }),
            _ => None,
        };
        return Ok(LaidDown { remark, ..LaidDown::default() });
    };
    if is_background {
        return Err(LayDownProblem::Background);
    }
    admin::places::become_a_service();
    make_places(plan, &user)?;
    let certificates = FirstRead::of(plan);
    user.become_it(&plan.apps)?;
    let named = user.name().to_owned();
    let places = read_again(plan, file);
    let unreadable = places.into_iter().filter(|place| privileges::is_forbidden(place)).collect();
    let _ = BECAME.set(named.clone());
    Ok(LaidDown { certificates, remark: Some(Remark::Became { user: named, unreadable }) })
}

impl LaidDown {
    /// Says in the log what has become of root, and what it will be missed for.
    pub(crate) fn say(&self) {
        match &self.remark {
            None => {}
            Some(Remark::StillRoot) => tracing::info!(
                event = "runs_as_root",
                "runs as root, and goes on so; `user = \"…\"` in the file names whom to become once everything is bound and read"
            ),
            Some(Remark::NotRoot { user }) => {
                tracing::debug!(user, "not started as root, so that `user` changes nothing");
            }
            Some(Remark::Became { user, unreadable }) => {
                tracing::info!(event = "became_user", user, "goes on without root's rights");
                for file in unreadable {
                    tracing::warn!(
                        event = "unreadable_later",
                        file = %file.display(),
                        user,
                        "read as root, and not to be read again: what changes there, such as a renewal, is not seen; {REMEDY}"
                    );
                }
            }
        }
    }
}

/// What the plan names that is read again while tidelock runs.
fn read_again(plan: &Plan, file: Option<&Path>) -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = file.map(Path::to_owned).into_iter().collect();
    for listen in &plan.listens {
        if let Scheme::Tls(files) = &listen.scheme {
            places.extend(files.iter().flat_map(|files| [files.certificate.clone(), files.key.clone()]));
        }
        places.extend(listen.client_certificates.ca.clone());
    }
    for upstream in &plan.upstreams {
        let NodeTls { ca, certificate, key, .. } = &upstream.tls;
        places.extend([ca, certificate, key].into_iter().flatten().cloned());
    }
    places.extend(plan.redis.ca.clone());
    places.extend(plan.routes.iter().filter_map(|route| match &route.action {
        Action::Files(files) => Some(files.folder.clone()),
        _ => None,
    }));
    places.sort_unstable();
    places.dedup();
    places
}

/// Whether this process was root, and has become the user of the file.
pub(crate) fn is_service() -> bool {
    BECAME.get().is_some()
}

/// Looks for what tidelock keeps where one keeps it that serves this plan, when this is not the process that does.
pub(crate) fn look_where_it_serves(plan: &Plan) {
    if let Ok(Some(_)) = ServiceUser::of(plan) {
        admin::places::become_a_service();
    }
}

/// What root reads and the plan's user may not, for `check`.
pub(crate) fn forbidden(plan: &Plan, file: &Path, user: &ServiceUser) -> Vec<PathBuf> {
    user.forbidden(read_again(plan, Some(file)))
}

/// What to add to the problem with a file that root has read once and that cannot be read now.
pub(crate) fn why_unreadable(file: &Path) -> Option<String> {
    let user = BECAME.get()?;
    privileges::is_forbidden(file).then(|| as_user(user))
}

/// Why it cannot be read, and what to do.
pub(crate) fn as_user(user: &str) -> String {
    format!("tidelock goes on as the user `{user}`, who may not read it; {REMEDY}")
}

/// Makes what the user writes to. Folders that are not tidelock's own are left as they are.
fn make_places(plan: &Plan, user: &ServiceUser) -> Result<(), LayDownProblem> {
    let ids = user.ids();
    let wrong = |folder: &Path| {
        let (user, folder) = (user.name().to_owned(), folder.to_owned());
        move |error| LayDownProblem::Folder { user, folder, error }
    };
    let run = admin::places::default_path().and_then(|socket| socket.parent().map(Path::to_owned));
    for (folder, mode) in [(&run, 0o755), (&admin::places::state_folder(), 0o700)] {
        let Some(folder) = folder else { continue };
        make(folder, mode).and_then(|_| give(folder, ids, 0)).map_err(wrong(folder))?;
    }
    if let Some(run) = run.filter(|_| plan.apps.iter().any(|app| user.is_other(app))) {
        // Apps of other users pass it, to what is theirs.
        let mode = fs::metadata(&run).map_err(wrong(&run))?.mode() & 0o7777;
        fs::set_permissions(&run, Permissions::from_mode(mode | 0o011)).map_err(wrong(&run))?;
    }
    let socket = match &plan.admin.socket {
        AdminSocket::Path(path) => path.parent(),
        AdminSocket::Default | AdminSocket::Off => None,
    };
    let logs = plan.apps.iter().filter_map(|app| app.logs.folder.as_deref());
    for folder in [socket, plan.acme.state.as_deref()].into_iter().flatten().chain(logs) {
        // What was there may be anybody's, /tmp for one.
        let made = make(folder, 0o700).map_err(wrong(folder))?;
        if made {
            give(folder, ids, 0).map_err(wrong(folder))?;
        }
    }
    if let AccessLog::File(path) = &plan.log.access {
        let made = OpenOptions::new().write(true).create_new(true).mode(0o640).open(path);
        if made.is_ok() {
            lchown(path, Some(ids.user), Some(ids.group)).map_err(wrong(path))?;
        }
    }
    Ok(())
}

/// True if it was not there before.
fn make(folder: &Path, mode: u32) -> io::Result<bool> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(false);
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(above)?;
    }
    DirBuilder::new().mode(mode).create(folder)?;
    Ok(true)
}

/// Gives the user a folder of root's and what is in it. Nobody but root could put anything there until the folder itself is
/// given away, which comes last, so that no link leads elsewhere. One that is another's already is left as it is.
fn give(folder: &Path, ids: UserIds, depth: u32) -> io::Result<()> {
    let there = fs::symlink_metadata(folder)?;
    let is_roots_alone = there.is_dir() && there.uid() == 0 && there.mode() & 0o022 == 0;
    if !is_roots_alone || depth > DEPTH_MAX {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give(&entry.path(), ids, depth + 1)?;
        } else if entry.metadata()?.uid() == 0 {
            lchown(entry.path(), Some(ids.user), Some(ids.group))?;
        }
    }
    chown(folder, Some(ids.user), Some(ids.group))
}

/// Whom this process has become.
static BECAME: OnceLock<String> = OnceLock::new();
/// The ways that docs/operating.md tells.
const REMEDY: &str = "let a group of that user read it, or let systemd start tidelock with User= and LoadCredential= (see \"As root, \
                      and then not\" in docs/operating.md)";
/// Of a state folder: its certificates lie two below it.
const DEPTH_MAX: u32 = 8;
