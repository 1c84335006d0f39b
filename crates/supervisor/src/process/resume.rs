//! A process that another tidelock has started, and that goes on under this one. Its keeper is that one's child, and of its
//! version: what is said to a keeper once its process runs stays as it is.

use std::io;
use std::os::unix::net::UnixStream as StdStream;
use std::sync::Arc;

use config::roster::InstanceAddress;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

use super::Process;
use super::attended::{Asked, Attended, COMMANDS_MAX, Held};
use super::child::Child;
use super::launch::{Ending, Launch};
use super::reservation::Reservation;
use super::start::{mark_of, seat};
use crate::account::Account;
use crate::bus::Counts;
use crate::handover::{InstanceFiles, InstanceHandover};
use crate::host::Host;
use crate::ipc::Channel;
use crate::logs::Output;

impl Process {
    /// Goes on with one that was started for `launch`. Nothing is read of it and nothing said to it before `is_ours` says so;
    /// if that ends without a word, nothing ever is.
    ///
    /// # Errors
    /// If there are no files left for it.
    pub(crate) fn resume(
        host: &Host,
        launch: Launch,
        handed: &InstanceHandover,
        files: InstanceFiles,
        is_ours: watch::Receiver<bool>,
    ) -> io::Result<Self> {
        let InstanceFiles { keeper, stdout, stderr, channel } = files;
        let address = handed.address();
        let port = match &address {
            InstanceAddress::Tcp(address) => Some(host.ports.keep(address.port())),
            InstanceAddress::Unix(_) => None,
        };
        let folder = host.folder.taken_over(&launch.app.name, launch.id);
        let path = folder.path.clone();
        let place = Reservation { address: address.clone(), _port: port, folder, seat: None };
        let channel = channel.map(StdStream::from);
        let output = Output { stdout, stderr };
        let held = Held::of(&output, channel.as_ref())?;
        let channel = channel.map(Channel::open).transpose()?;
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let (says, ending) = watch::channel(None);
        let pid = i32::try_from(handed.pid).unwrap_or_default();
        let counts = Arc::new(Counts::default());
        let keeper = keeper.into();
        let kept = Kept { keeper, output, held, place, pid, counts: counts.clone(), asked, says };
        tokio::spawn(kept.run(host.clone(), launch.clone(), is_ours));
        Ok(Self {
            launch,
            address,
            folder: path,
            pid,
            keeper: handed.keeper,
            commands,
            ending,
            channel,
            counts,
        })
    }
}

/// What is there of it before it is ours. Dropped, it changes nothing for the process.
#[derive(Debug)]
struct Kept {
    keeper: StdStream,
    output: Output,
    held: Held,
    place: Reservation,
    pid: i32,
    counts: Arc<Counts>,
    asked: mpsc::Receiver<Asked>,
    says: watch::Sender<Option<Ending>>,
}

impl Kept {
    async fn run(self, host: Host, launch: Launch, mut is_ours: watch::Receiver<bool>) {
        if is_ours.wait_for(|&is_ours| is_ours).await.is_err() {
            return;
        }
        let Self { keeper, output, held, mut place, pid, counts, asked, says } = self;
        place.folder.is_anothers = false;
        // Somebody who cannot be looked up any more was found at the start.
        let account = Account::of(&launch.app).ok().flatten();
        // Its processes come back to where they were.
        place.seat = seat(&host, &launch, account.as_ref(), counts);
        let mark = mark_of(&place.folder.path, &launch);
        let read = host.logs().follow(&launch, account, output);
        let keeper = keeper.set_nonblocking(true).and_then(|()| UnixStream::from_std(keeper));
        let keeper = match keeper {
            Ok(keeper) => keeper,
            // Its keeper ends it by that, since nobody has the socket any more.
            Err(error) => return tracing::error!(%launch, %error, "an instance cannot be gone on with"),
        };
        let (reports, orders) = keeper.into_split();
        let reports = BufReader::new(reports).lines();
        let child = Child::of_another();
        Attended { child, reports, orders, pid, mark, place, held, read }.run(asked, says).await;
    }
}
