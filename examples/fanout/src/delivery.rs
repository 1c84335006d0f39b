//! Hands events to this node's clients, in order, and none is lost because a client's queue is full for a moment.
//!
//! socketioxide keeps a bounded queue for each client and refuses what does not fit, and a burst can fill it before the
//! client's writer has run once. What is refused waits here, in a line of that client's own, until there is room.
//! While nobody has a line, which is nearly always, there is nothing here but the attempt itself.
//!
//! What other nodes say to a crowd is kept for a moment, to be handed out in one go with what follows it ([`Burst`]).

mod lines;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{
            AtomicBool,
            Ordering::{AcqRel, Acquire, Release},
        },
    },
    time::Duration,
};

use futures_core::Stream;
use futures_util::{StreamExt, stream};
use socketioxide_core::{
    Sid,
    adapter::{AckStreamItem, BroadcastFlags, BroadcastOptions, CoreLocalAdapter, SocketEmitter},
    packet::{Packet, PacketData},
};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, yield_now},
};

use self::lines::{Act, Line, Lines, missed};
use crate::{
    backlog::Held,
    burst::{Burst, Bursts, CROWD},
    link::Shared,
    payload,
};

/// The acknowledgements of clients of this node.
pub(crate) type LocalAcks<E> =
    Pin<Box<dyn Stream<Item = AckStreamItem<<E as SocketEmitter>::AckError>> + Send>>;

pub(crate) struct Delivery<E: SocketEmitter> {
    pub(crate) core: CoreLocalAdapter<E>,
    shared: Arc<Shared>,
    lines: Mutex<HashMap<Sid, Line<E>>>,
    /// Whether `lines` has any, to be asked without the lock.
    any_line: AtomicBool,
    attendant: Mutex<Option<AbortHandle>>,
    bursts: Mutex<Bursts>,
    /// The one that is being handed out. Locked before `bursts`.
    burst: Mutex<Burst>,
    /// Whether there is a task that hands out. To be asked without the locks.
    any_burst: AtomicBool,
    me: Weak<Self>,
}

impl<E: SocketEmitter> Delivery<E> {
    pub(crate) fn new(core: CoreLocalAdapter<E>, shared: Arc<Shared>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            core,
            shared,
            lines: Mutex::default(),
            any_line: AtomicBool::new(false),
            attendant: Mutex::default(),
            bursts: Mutex::default(),
            burst: Mutex::default(),
            any_burst: AtomicBool::new(false),
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
        self.event_to(packet, self.core.sockets(options))
    }

    /// As [`Self::event`], of another node. Those who miss it are counted, and nobody here wants to know.
    pub(crate) fn event_from_afar(&self, packet: Packet, options: BroadcastOptions) {
        if options.has_flag(BroadcastFlags::Volatile) {
            self.event(&packet, options);
            return;
        }
        let (sids, size) = (self.core.sockets(options), packet_size(&packet));
        if sids.len() < CROWD {
            self.event_to(&packet, sids);
            return;
        }
        loop {
            let mut bursts = lock(&self.bursts);
            if bursts.takes(&sids, size) {
                bursts.push(sids, packet, size);
                break;
            }
            drop(bursts);
            self.hand_out(1);
        }
        if !self.any_burst.swap(true, AcqRel) {
            self.shared.runtime.spawn(hand_out(self.me.clone()));
        }
    }

    /// What was said before has to be heard before anything else is said to anybody: all bursts, or the next few.
    fn hand_out(&self, bursts_max: usize) {
        if !self.any_burst.load(Acquire) {
            return;
        }
        let mut burst = lock(&self.burst);
        self.hand_on(&mut burst, usize::MAX);
        // Not those that others add meanwhile.
        let waiting = lock(&self.bursts).len();
        for _ in 0..waiting.min(bursts_max) {
            self.hand_on(&mut burst, usize::MAX);
        }
    }

    /// Goes on with the burst, or with the next one, and says whether there was one.
    fn hand_on(&self, burst: &mut Burst, deliveries_max: usize) -> bool {
        if burst.is_over() {
            *burst = lock(&self.bursts).pop().unwrap_or_default();
        }
        let clients_max = (deliveries_max / burst.packets.len().max(1)).max(1);
        let done = burst.sids.len().min(burst.done.saturating_add(clients_max));
        let mut missed = 0;
        let mut lines = self.any_line.load(Acquire).then(|| lock(&self.lines));
        for sid in &burst.sids[burst.done..done] {
            for ((packet, size), text) in burst.packets.iter().zip(&mut burst.texts) {
                missed += usize::from(!self.tell(&mut lines, *sid, packet, (*size, text)));
            }
        }
        drop(lines);
        burst.done = done;
        self.shared.counters.miss(missed);
        !burst.sids.is_empty()
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

    fn event_to(&self, packet: &Packet, sids: Vec<Sid>) -> usize {
        self.hand_out(usize::MAX);
        let (mut text, size) = (None, packet_size(packet));
        let mut lines = self.any_line.load(Acquire).then(|| lock(&self.lines));
        let heard = sids.into_iter().map(|sid| self.tell(&mut lines, sid, packet, (size, &mut text)));
        let missed = heard.filter(|heard| !heard).count();
        self.shared.counters.miss(missed);
        missed
    }

    fn each(&self, size: usize, sids: Vec<Sid>, mut act: impl FnMut(Sid) -> Act<E>) {
        self.hand_out(usize::MAX);
        let mut text = None;
        let mut missed = 0;
        let mut lines = self.any_line.load(Acquire).then(|| lock(&self.lines));
        for sid in sids {
            missed += usize::from(!self.say(&mut lines, sid, act(sid), (size, &mut text)));
        }
        self.shared.counters.miss(missed);
    }

    /// As [`Self::say`], for what nearly everything is.
    fn tell<'a>(
        &'a self,
        lines: &mut Option<Lines<'a, E>>,
        sid: Sid,
        packet: &Packet,
        text: (usize, &mut Option<Arc<Held>>),
    ) -> bool {
        let stands_in_line = lines.as_ref().is_some_and(|lines| lines.contains_key(&sid));
        if !stands_in_line && self.offer(sid, packet) {
            return true;
        }
        self.refused(lines, sid, Box::new(Act::Event(packet.clone())), text)
    }

    /// Says whether the client has it, or has a place in line for it. `lines` is locked if anybody has one.
    fn say<'a>(
        &'a self,
        lines: &mut Option<Lines<'a, E>>,
        sid: Sid,
        act: Act<E>,
        text: (usize, &mut Option<Arc<Held>>),
    ) -> bool {
        // Whoever has a line stands in it, or the new event would overtake those that wait.
        let stands_in_line = lines.as_ref().is_some_and(|lines| lines.contains_key(&sid));
        let refused = match stands_in_line {
            true => Some(Box::new(act)),
            false => self.perform(sid, act).err(),
        };
        refused.is_none_or(|refused| self.refused(lines, sid, refused, text))
    }
}

/// Deliveries after which the clients' writers have their turn: what waits for them stays in the processor's cache, and memory
/// that they give back is used again. Measured with 64 to 8,192, and without turns: this is where it costs least.
const DELIVERIES_A_TURN: usize = 1024;

/// Ends when everything is handed out. What Redis has sent with it is read before this has its turn, or while another thread
/// runs this.
async fn hand_out<E: SocketEmitter>(delivery: Weak<Delivery<E>>) {
    loop {
        yield_now().await;
        let Some(delivery) = delivery.upgrade() else { return };
        if delivery.hand_on(&mut lock(&delivery.burst), DELIVERIES_A_TURN) {
            continue;
        }
        let bursts = lock(&delivery.bursts);
        if bursts.len() == 0 {
            // Whoever adds one from now on starts this anew.
            delivery.any_burst.store(false, Release);
            return;
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn packet_size(packet: &Packet) -> usize {
    match &packet.inner {
        PacketData::Event(value, _) | PacketData::BinaryEvent(value, _) => payload::size(value),
        _ => 0,
    }
}
