//! Where verbs come in, and what becomes of that when another tidelock has the place.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use admin::{Handles, Socket, SocketProblem};
use config::plan::AdminSocket;
use tokio::time::sleep;

use crate::admin_file::{AdminFile, AdminPlace};

/// Where verbs come in.
#[derive(Debug)]
pub(crate) enum Entrance {
    Open(Socket),
    /// Another tidelock has the place that nobody chose; when it ends, this one takes it.
    Waiting(PathBuf),
    None,
}

impl Entrance {
    /// A socket that somebody asked for is there or tidelock does not start; one that nobody asked for is no reason
    /// not to serve.
    pub(crate) async fn open(place: &AdminSocket) -> Result<Self, SocketProblem> {
        match place {
            AdminSocket::Off => Ok(Self::None),
            AdminSocket::Path(path) => Socket::bind(path).await.map(Self::Open),
            AdminSocket::Default => Ok(Self::open_default().await),
        }
    }

    /// Goes on with the socket of the tidelock before, if it is where this one's is to be.
    pub(crate) async fn take_over(
        place: &AdminSocket,
        socket: Option<AdminFile>,
    ) -> Result<Self, SocketProblem> {
        let Some(AdminFile { path, socket, is_systemds }) = socket else { return Self::open(place).await };
        let is_it = match place {
            AdminSocket::Off => false,
            AdminSocket::Path(wanted) => *wanted == path,
            AdminSocket::Default => admin::places::default_path() == Some(path.clone()),
        };
        if is_it {
            Socket::take_over(&path, socket, is_systemds).map(Self::Open)
        } else {
            Self::open(place).await
        }
    }

    async fn open_default() -> Self {
        let Some(path) = admin::places::default_path() else {
            tracing::warn!(
                event = "admin_absent",
                "no verb can reach this tidelock: set $XDG_RUNTIME_DIR, or `admin.socket` in the file"
            );
            return Self::None;
        };
        match Socket::bind(&path).await {
            Ok(socket) => Self::Open(socket),
            Err(problem @ SocketProblem::Taken { .. }) => {
                tracing::warn!(
                    event = "admin_waits",
                    "no verb can reach this tidelock until the other one ends: {problem}"
                );
                Self::Waiting(path)
            }
            Err(problem) => {
                tracing::warn!(event = "admin_absent", "no verb can reach this tidelock: {problem}");
                Self::None
            }
        }
    }

    /// Lets verbs in for as long as this is polled.
    pub(crate) async fn answer(self, seen: Rc<Handles>, admin: AdminPlace) {
        let socket = match self {
            Self::Open(socket) => socket,
            Self::Waiting(path) => until_free(&path).await,
            Self::None => return,
        };
        let once_more = socket.once_more().ok();
        let (path, is_systemds) = (socket.path().to_owned(), socket.is_systemds());
        admin.replace(once_more.map(|socket| AdminFile { path, socket, is_systemds }));
        tracing::info!(event = "admin_listening", socket = %socket.path().display(), "verbs are taken");
        admin::serve(socket, seen).await;
    }
}

async fn until_free(path: &Path) -> Socket {
    loop {
        sleep(LOOK_AGAIN).await;
        if let Ok(socket) = Socket::bind(path).await {
            return socket;
        }
    }
}

/// Whether the other tidelock has ended.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
