//! The lines of clients that had no room for an event: what waits in them, within bounds, and who lets them through.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, MutexGuard, PoisonError, Weak,
        atomic::Ordering::{AcqRel, Release},
    },
    time::Duration,
};

use futures_util::{FutureExt, StreamExt, stream};
use socketioxide_core::{
    Sid,
    adapter::{BroadcastOptions, SocketEmitter, errors::SocketError},
    packet::Packet,
};
use tokio::{
    sync::oneshot,
    task::{coop::unconstrained, yield_now},
    time::sleep,
};

use super::{Delivery, LocalAcks, lock};
use crate::{backlog::Held, burst::CROWD};

/// Events for one client in one go. Less than socketioxide's queue holds (128), or its heartbeat would find no room.
const ROUND_MAX: usize = 64;

/// Rounds without progress that only yield: the writers of clients that read need no longer. Then there is a pause, which
/// doubles, since a client that does not read may not do so for long.
const YIELDS_MAX: u32 = 64;
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_DOUBLINGS: u32 = 6;

/// Lines that cost a pause more before the next round, so that rounds that find little take a small part of the time.
const LINES_A_PAUSE: usize = 256;

/// What an event costs in a line beside its text.
const PLACE_BYTES: usize = 192;

pub(super) type Lines<'a, E> = MutexGuard<'a, HashMap<Sid, Line<E>>>;

pub(super) struct Line<E: SocketEmitter> {
    waiting: VecDeque<Waiting<E>>,
    bytes: usize,
}

struct Waiting<E: SocketEmitter> {
    act: Box<Act<E>>,
    _place: Held,
    /// The text, which all clients that wait for it share.
    text: Arc<Held>,
}

pub(super) enum Act<E: SocketEmitter> {
    Event(Packet),
    Ask(Packet, Duration, oneshot::Sender<LocalAcks<E>>),
    Disconnect,
}

impl<E: SocketEmitter> Delivery<E> {
    #[cold]
    pub(super) fn refused<'a>(
        &'a self,
        lines: &mut Option<Lines<'a, E>>,
        sid: Sid,
        act: Box<Act<E>>,
        (size, text): (usize, &mut Option<Arc<Held>>),
    ) -> bool {
        let lines = lines.get_or_insert_with(|| lock(&self.lines));
        if text.is_none() {
            *text = self.shared.backlog.hold(size).map(Arc::new);
        }
        self.stand_in_line(lines, sid, act, text.as_ref())
    }

    fn stand_in_line(
        &self,
        lines: &mut HashMap<Sid, Line<E>>,
        sid: Sid,
        act: Box<Act<E>>,
        text: Option<&Arc<Held>>,
    ) -> bool {
        let (Some(text), Some(place)) = (text, self.shared.backlog.hold(PLACE_BYTES)) else { return false };
        let line = lines.entry(sid).or_insert_with(|| Line { waiting: VecDeque::new(), bytes: 0 });
        // One client that does not read must leave room for the bursts of the others.
        let size = text.bytes + PLACE_BYTES;
        if line.bytes + size > self.shared.backlog.max / 4 && !line.waiting.is_empty() {
            return false;
        }
        line.bytes += size;
        line.waiting.push_back(Waiting { act, _place: place, text: text.clone() });
        if !self.any_line.swap(true, AcqRel) {
            let attendant = self.shared.runtime.spawn(attend(self.me.clone())).abort_handle();
            *self.attendant.lock().unwrap_or_else(PoisonError::into_inner) = Some(attendant);
        }
        true
    }

    /// Whether the client has taken it. One that is gone has room for everything.
    pub(super) fn offer(&self, sid: Sid, packet: &Packet) -> bool {
        match self.core.broadcast(packet.clone(), BroadcastOptions::new(sid)) {
            Ok(()) => true,
            Err(errors) => !is_full(&errors),
        }
    }

    /// Gives the act back if the client has no room for it.
    pub(super) fn perform(&self, sid: Sid, act: Act<E>) -> Result<(), Box<Act<E>>> {
        let only = BroadcastOptions::new(sid);
        match act {
            Act::Event(packet) => match self.offer(sid, &packet) {
                true => Ok(()),
                false => Err(Box::new(Act::Event(packet))),
            },
            Act::Disconnect => match self.core.disconnect_socket(only) {
                Err(errors) if is_full(&errors) => Err(Box::new(Act::Disconnect)),
                _ => Ok(()),
            },
            Act::Ask(packet, timeout, hand) => {
                let (acks, _) = self.core.broadcast_with_ack(packet.clone(), only, Some(timeout));
                let mut acks = Box::pin(acks);
                // An acknowledgement that is there at once is the error of a client that could not be asked.
                let first = unconstrained(acks.next()).now_or_never();
                let acks: LocalAcks<E> = match first {
                    Some(Some((_, Err(error)))) if is_full_error(&error) => {
                        return Err(Box::new(Act::Ask(packet, timeout, hand)));
                    }
                    Some(first) => Box::pin(stream::iter(first).chain(acks)),
                    None => acks,
                };
                // Nobody may wait for them any more.
                let _ = hand.send(acks);
                Ok(())
            }
        }
    }

    /// Whether all lines are empty, or at least shorter, and how many there are.
    fn round(&self) -> (Round, usize) {
        let mut lines = lock(&self.lines);
        let mut round = Round::Stuck;
        lines.retain(|sid, line| {
            for _ in 0..ROUND_MAX {
                let Some(Waiting { act, _place, text }) = line.waiting.pop_front() else { return false };
                if let Err(act) = self.perform(*sid, *act) {
                    line.waiting.push_front(Waiting { act, _place, text });
                    break;
                }
                line.bytes -= text.bytes + PLACE_BYTES;
                round = Round::Shorter;
            }
            !line.waiting.is_empty()
        });
        if lines.is_empty() {
            lines.shrink_to_fit();
            self.any_line.store(false, Release);
            return (Round::Empty, 0);
        }
        (round, lines.len())
    }
}

enum Round {
    Empty,
    Shorter,
    Stuck,
}

/// Ends when nobody is in line.
async fn attend<E: SocketEmitter>(delivery: Weak<Delivery<E>>) {
    let mut stuck: u32 = 0;
    loop {
        let Some((round, lines)) = delivery.upgrade().map(|delivery| delivery.round()) else { return };
        match round {
            Round::Empty => return,
            Round::Shorter => stuck = 0,
            Round::Stuck => stuck = stuck.saturating_add(1),
        }
        match stuck.checked_sub(YIELDS_MAX) {
            // Their writers need the time that would be spent on finding them busy, and write more in one go.
            None if lines >= CROWD => {
                sleep(PAUSE_MIN * u32::try_from(lines / LINES_A_PAUSE + 1).unwrap_or(1)).await;
            }
            None => yield_now().await,
            Some(pauses) => sleep(PAUSE_MIN * (1 << pauses.min(PAUSE_DOUBLINGS))).await,
        }
    }
}

fn is_full(errors: &[SocketError]) -> bool {
    errors.iter().any(|error| matches!(error, SocketError::InternalChannelFull))
}

/// What the emitter says of a client without room. Its type is not known here, but it is made to be sent between nodes,
/// and its form on the wire is.
const FULL: &str = r#"{"Socket":"InternalChannelFull"}"#;

fn is_full_error(error: &impl serde::Serialize) -> bool {
    serde_json::to_string(error).is_ok_and(|error| error == FULL)
}

pub(super) fn missed<E: SocketEmitter>(sid: Sid) -> LocalAcks<E> {
    let error = serde_json::from_str(FULL).ok();
    Box::pin(stream::iter(error.map(|error| (sid, Err(error)))))
}
