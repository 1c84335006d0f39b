//! WebSockets that say something and get it back, and rooms in which one says something and all hear it.

use std::cell::Cell;
use std::rc::Rc;

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::task::LocalSet;
use tokio::time::{Duration, Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::destination::{Destination, Stream};
use crate::meter::{Meter, Report, Window};
use crate::pace::{Pace, Turn};
use crate::socketio;

/// A WebSocket on either kind of connection.
pub type Socket = WebSocketStream<Stream>;

/// Opens a WebSocket at `target`. Its buffers are small: there may be ten thousand.
///
/// # Errors
/// If it is not accepted.
pub async fn open(destination: &Destination, target: &str) -> Result<Socket> {
    open_on(destination.connect().await.context("connecting")?, destination, target).await
}

/// As [`open`], on a connection that is there already.
///
/// # Errors
/// If it is not accepted.
pub async fn open_on(stream: Stream, destination: &Destination, target: &str) -> Result<Socket> {
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(16 << 20);
    let url = format!("ws://{}{target}", destination.name());
    let opening = client_async_with_config(url, stream, Some(config));
    let (socket, _) = timeout(TIMEOUT, opening).await.context("no 101 in time")??;
    Ok(socket)
}

/// Says `message` and waits until as much comes back.
///
/// # Errors
/// If something else does.
pub async fn echo(socket: &mut Socket, message: Message) -> Result<()> {
    let length = message.len();
    socket.send(message).await.context("not taken")?;
    match socket.next().await {
        Some(Ok(answer @ (Message::Binary(_) | Message::Text(_)))) if answer.len() == length => Ok(()),
        Some(Ok(other)) => bail!("{} bytes came back for {length}", other.len()),
        Some(Err(error)) => Err(error.into()),
        None => bail!("closed instead of an echo"),
    }
}

/// Echoes: what is said, by how many and how often.
#[derive(Clone, Debug)]
pub struct EchoPlan {
    /// Path and query of what echoes.
    pub target: String,
    /// WebSockets that are open.
    pub sockets: usize,
    /// How many of them say something at once, in turn.
    pub in_flight: usize,
    /// Bytes of a message.
    pub bytes: usize,
    /// Messages in a second, due whether or not there were answers; `None` goes on at once after each answer.
    pub per_second: Option<f64>,
}

/// Runs `plan`. What counts is a round trip.
///
/// # Errors
/// If a WebSocket cannot be opened, or nothing comes back.
pub async fn run_echo(destination: &Destination, plan: &EchoPlan, window: &Window) -> Result<Report> {
    let loops = plan.in_flight.clamp(1, plan.sockets.max(1));
    let meter = Rc::new(Meter::default());
    let mut shares: Vec<Vec<Socket>> = (0..loops).map(|_| Vec::new()).collect();
    for index in 0..plan.sockets {
        let socket = open(destination, &plan.target).await.with_context(|| format!("WebSocket {index}"))?;
        shares[index % loops].push(socket);
    }
    let message = Message::Binary(vec![b'x'; plan.bytes].into());
    let pace = plan.per_second.map(|per_second| Pace::new(per_second, loops));
    let tasks = LocalSet::new();
    let mut joins = Vec::new();
    for (index, share) in shares.into_iter().enumerate() {
        let turn = pace.as_ref().map(|pace| pace.turn(index));
        joins.push(tasks.spawn_local(keep_echoing(share, message.clone(), turn, meter.clone())));
    }
    let report = tasks.run_until(async {
        let watch = meter.watch(window);
        let report = match &pace {
            None => watch.await?,
            Some(pace) => {
                let (report, paced) = tokio::join!(watch, pace.run(|| meter.is_over()));
                paced?;
                report?
            }
        };
        for join in joins {
            if timeout(TIMEOUT, join).await.is_err() {
                meter.failed("the last echo did not come");
            }
        }
        Ok::<_, anyhow::Error>(report)
    });
    meter.report(report.await?)
}

async fn keep_echoing(mut share: Vec<Socket>, message: Message, turn: Option<Turn>, meter: Rc<Meter>) {
    let mut turn = turn;
    let mut index = 0;
    while !share.is_empty() {
        let due = match &mut turn {
            None if meter.is_over() => return,
            None => Instant::now(),
            Some(turn) => match turn.next().await {
                Some(due) => due,
                None => return,
            },
        };
        index = (index + 1) % share.len();
        match echo(&mut share[index], message.clone()).await {
            Ok(()) => meter.done(due),
            Err(error) => {
                meter.failed(&format!("{error:#}"));
                share.swap_remove(index);
            }
        }
    }
}

/// A room: how many listen, and how often somebody speaks.
#[derive(Clone, Debug)]
pub struct RoomPlan {
    /// WebSockets that hear everything.
    pub listeners: usize,
    /// Messages in a second, due whether or not the one before has been heard by all.
    pub per_second: f64,
    /// Bytes of a message, with the moment that it holds.
    pub bytes: usize,
    /// How a room is joined and spoken in.
    pub speech: Speech,
}

/// How one speaks with the origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// `/room/NAME` joins and `/say/NAME` speaks, as [`crate::origin`] has it.
    Plain,
    /// Socket.IO's events `join` and `say`.
    SocketIo,
}

/// Runs `plan`. What counts is a message that is heard, and each holds the moment at which it was due: the time of a
/// burst is that of its last listener.
///
/// # Errors
/// If somebody cannot join, or nothing is heard.
pub async fn run_room(destination: &Destination, plan: &RoomPlan, window: &Window) -> Result<Report> {
    ensure!(plan.listeners > 0 && plan.per_second > 0.0, "a room needs listeners, and somebody who speaks");
    let meter = Rc::new(Meter::default());
    let heard = Rc::new(Cell::new(0_u64));
    let tasks = LocalSet::new();
    let epoch = Instant::now();
    for index in 0..plan.listeners {
        let joining = plan.speech.join(destination);
        let mut socket = joining.await.with_context(|| format!("listener {index}"))?;
        let (meter, heard, speech) = (meter.clone(), heard.clone(), plan.speech);
        tasks.spawn_local(async move {
            loop {
                match speech.hear(&mut socket).await {
                    Ok(since_epoch) => {
                        heard.set(heard.get() + 1);
                        meter.done(epoch + since_epoch);
                    }
                    Err(error) => return meter.failed(&format!("{error:#}")),
                }
            }
        });
    }
    let mut speaker = plan.speech.speaker(destination).await.context("the speaker")?;
    let said = Cell::new(0_u64);
    let pace = Pace::new(plan.per_second, 1);
    let mut turn = pace.turn(0);
    let speaking = async {
        while let Some(due) = turn.next().await {
            speaker.send(plan.speech.say(due - epoch, plan.bytes)).await.context("the speaker was cut")?;
            said.set(said.get() + 1);
        }
        Ok::<_, anyhow::Error>(())
    };
    let report = tasks.run_until(async {
        let watching = async { tokio::join!(meter.watch(window), pace.run(|| meter.is_over())) };
        let ((report, paced), spoken) = tokio::join!(watching, speaking);
        paced?;
        spoken?;
        let wanted = said.get() * plan.listeners as u64;
        let given_up = Instant::now() + TIMEOUT;
        while heard.get() < wanted && Instant::now() < given_up {
            sleep(Duration::from_millis(5)).await;
        }
        if heard.get() < wanted {
            meter.failed(&format!("{} of {wanted} messages were heard", heard.get()));
        }
        report
    });
    meter.report(report.await?)
}

impl Speech {
    async fn join(self, destination: &Destination) -> Result<Socket> {
        match self {
            Self::Plain => open(destination, &format!("/room/{ROOM}")).await,
            Self::SocketIo => {
                let mut socket = socketio::open(destination).await?;
                socket.send(socketio::event("join", &[ROOM])).await?;
                // The answer to something that is said after it tells that it was heard.
                socketio::echo(&mut socket).await?;
                Ok(socket)
            }
        }
    }

    async fn speaker(self, destination: &Destination) -> Result<Socket> {
        match self {
            Self::Plain => open(destination, &format!("/say/{ROOM}")).await,
            Self::SocketIo => socketio::open(destination).await,
        }
    }

    fn say(self, since_epoch: Duration, bytes: usize) -> Message {
        let text = format!("{:<bytes$}", since_epoch.as_nanos());
        match self {
            Self::Plain => Message::text(text),
            Self::SocketIo => socketio::event("say", &[ROOM, &text]),
        }
    }

    async fn hear(self, socket: &mut Socket) -> Result<Duration> {
        loop {
            let message = match socket.next().await {
                Some(message) => message?,
                None => bail!("a listener was cut"),
            };
            let Message::Text(text) = &message else { continue };
            let text = match self {
                Self::Plain => text.as_str(),
                Self::SocketIo => match socketio::heard(text, ROOM) {
                    Some(text) => text,
                    None => {
                        socketio::answer_ping(socket, text).await?;
                        continue;
                    }
                },
            };
            let digits = text.split(' ').next().unwrap_or_default();
            return Ok(Duration::from_nanos(digits.parse().context("a message without its moment")?));
        }
    }
}

const ROOM: &str = "lobby";
const BUFFER_BYTES: usize = 4096;
const TIMEOUT: Duration = Duration::from_secs(10);
