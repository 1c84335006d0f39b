//! Hands events to this node's clients, in order, and none is lost because a client's queue is full for a moment.
//!
//! socketioxide keeps a bounded queue for each client and refuses what does not fit, and a burst can fill it before the
//! client's writer has run once. What is refused waits here, in a line of that client's own, until there is room.
//! While nobody has a line, which is nearly always, there is nothing here but the attempt itself.

use std::{
    collections::{HashMap, VecDeque},
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    time::Duration,
};

use futures_core::Stream;
use futures_util::{FutureExt, StreamExt, stream};
use socketioxide_core::{
    Sid,
    adapter::{
        AckStreamItem, BroadcastFlags, BroadcastOptions, CoreLocalAdapter, SocketEmitter, errors::SocketError,
    },
    packet::{Packet, PacketData},
};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, coop::unconstrained, yield_now},
    time::sleep,
};

use crate::{link::Shared, payload};

/// The acknowledgements of clients of this node.
pub(crate) type LocalAcks<E> =
    Pin<Box<dyn Stream<Item = AckStreamItem<<E as SocketEmitter>::AckError>> + Send>>;

/// Events for one client in one go. Less than socketioxide's queue holds (128), or its heartbeat would find no room.
const ROUND_MAX: usize = 64;

/// Rounds without progress that only yield: the writers of clients that read need no longer. Then there is a pause, which
/// doubles, since a client that does not read may not do so for long.
const YIELDS_MAX: u32 = 64;
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_DOUBLINGS: u32 = 6;

/// What an event costs in a line beside its text.
const PLACE_BYTES: usize = 192;

pub(crate) struct Delivery<E: SocketEmitter> {
    pub(crate) core: CoreLocalAdapter<E>,
    shared: Arc<Shared>,
    lines: Mutex<HashMap<Sid, Line<E>>>,
    /// Whether `lines` has any, to be asked without the lock.
    any_line: AtomicBool,
    attendant: Mutex<Option<AbortHandle>>,
    me: Weak<Self>,
}

struct Line<E: SocketEmitter> {
    waiting: VecDeque<Waiting<E>>,
    bytes: usize,
}

struct Waiting<E: SocketEmitter> {
    act: Box<Act<E>>,
    _place: Held,
    /// The text, which all clients that wait for it share.
    text: Arc<Held>,
}

enum Act<E: SocketEmitter> {
    Event(Packet),
    Ask(Packet, Duration, oneshot::Sender<LocalAcks<E>>),
    Disconnect,
}

/// How many bytes may wait for clients, of all namespaces together.
pub(crate) struct Budget {
    taken: AtomicUsize,
    max: usize,
}

struct Held {
    bytes: usize,
    budget: Arc<Budget>,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { taken: AtomicUsize::new(0), max })
    }

    fn hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        let held = Held { bytes, budget: self.clone() };
        // Given back when `held` is dropped, also where it is too much.
        (self.taken.fetch_add(bytes, AcqRel) + bytes <= self.max).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, AcqRel);
    }
}

impl<E: SocketEmitter> Delivery<E> {
    pub(crate) fn new(core: CoreLocalAdapter<E>, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            core,
            shared,
            lines: Mutex::default(),
            any_line: AtomicBool::new(false),
            attendant: Mutex::default(),
            me: me.clone(),
        })
    }

    /// Says how many clients miss it, which is counted.
    pub(crate) fn event(&self, packet: &Packet, options: BroadcastOptions) -> usize {
        if options.has_flag(BroadcastFlags::Volatile) {
            // Whoever is not ready does not hear it, which is what it means. It never fails.
            let _ = self.core.broadcast(packet.clone(), options);
            return 0;
        }
        self.each(packet_size(packet), self.core.sockets(options), |_| Act::Event(packet.clone()))
    }

    /// And how many clients will be waited for.
    pub(crate) fn ask(
        &self,
        packet: &Packet,
        options: BroadcastOptions,
        timeout: Duration,
    ) -> (LocalAcks<E>, u32) {
        let sids = self.core.sockets(options);
        let mut acks = stream::SelectAll::new();
        let count = sids.len();
        self.each(packet_size(packet), sids, |sid| {
            let (hand, handed) = oneshot::channel();
            acks.push(
                stream::once(handed).flat_map(move |handed| handed.unwrap_or_else(|_| missed::<E>(sid))),
            );
            Act::Ask(packet.clone(), timeout, hand)
        });
        (Box::pin(acks), u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Behind what the clients have not received yet.
    pub(crate) fn disconnect(&self, options: BroadcastOptions) {
        self.each(0, self.core.sockets(options), |_| Act::Disconnect);
    }

    fn each(&self, size: usize, sids: Vec<Sid>, mut act: impl FnMut(Sid) -> Act<E>) -> usize {
        let mut text = None;
        let mut missed = 0;
        let mut lines = self.any_line.load(Acquire).then(|| self.lock());
        for sid in sids {
            // Whoever has a line stands in it, or the new event would overtake those that wait.
            let stands_in_line = lines.as_ref().is_some_and(|lines| lines.contains_key(&sid));
            let refused = match stands_in_line {
                true => Some(Box::new(act(sid))),
                false => self.perform(sid, act(sid)).err(),
            };
            let Some(refused) = refused else { continue };
            let lines = lines.get_or_insert_with(|| self.lock());
            if text.is_none() {
                text = self.shared.backlog.hold(size).map(Arc::new);
            }
            missed += usize::from(!self.stand_in_line(lines, sid, refused, text.as_ref()));
        }
        self.shared.counters.miss(missed);
        missed
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

    /// Gives the act back if the client has no room for it. A client that is gone has room for everything.
    fn perform(&self, sid: Sid, act: Act<E>) -> Result<(), Box<Act<E>>> {
        let only = BroadcastOptions::new(sid);
        match act {
            Act::Event(packet) => match self.core.broadcast(packet.clone(), only) {
                Err(errors) if is_full(&errors) => Err(Box::new(Act::Event(packet))),
                _ => Ok(()),
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

    fn lock(&self) -> MutexGuard<'_, HashMap<Sid, Line<E>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all lines are empty, or at least shorter.
    fn round(&self) -> Round {
        let mut lines = self.lock();
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
            return Round::Empty;
        }
        round
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
        match delivery.upgrade().map(|delivery| delivery.round()) {
            None | Some(Round::Empty) => return,
            Some(Round::Shorter) => stuck = 0,
            Some(Round::Stuck) => stuck = stuck.saturating_add(1),
        }
        match stuck.checked_sub(YIELDS_MAX) {
            None => yield_now().await,
            Some(pauses) => sleep(PAUSE_MIN * (1 << pauses.min(PAUSE_DOUBLINGS))).await,
        }
    }
}

impl<E: SocketEmitter> Drop for Delivery<E> {
    fn drop(&mut self) {
        if let Some(attendant) = self.attendant.get_mut().unwrap_or_else(PoisonError::into_inner) {
            attendant.abort();
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

fn missed<E: SocketEmitter>(sid: Sid) -> LocalAcks<E> {
    let error = serde_json::from_str(FULL).ok();
    Box::pin(stream::iter(error.map(|error| (sid, Err(error)))))
}

fn packet_size(packet: &Packet) -> usize {
    match &packet.inner {
        PacketData::Event(value, _) | PacketData::BinaryEvent(value, _) => payload::size(value),
        _ => 0,
    }
}
