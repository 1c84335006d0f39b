//! The sockets of one namespace on this node, as the rest of the crate sees them: socketioxide's local
//! adapter without its type parameter, and with the one rule of Node.js that socketioxide lacks, that
//! every socket is in the room named by its own id.

use std::{borrow::Cow, pin::Pin, str::FromStr, time::Duration};

use futures_core::Stream;
use futures_util::StreamExt;
use socketioxide_core::{
    Sid,
    adapter::{BroadcastFlags, BroadcastOptions, CoreLocalAdapter, SocketEmitter},
    packet::Packet,
};

use crate::{
    delivery::Delivery,
    message::{Flags, Rooms, Target},
    payload::Payload,
};

/// Each client's acknowledgement; `None` for a client that did not give one in time.
pub(crate) type Acks = Pin<Box<dyn Stream<Item = Option<Payload>> + Send>>;

pub(crate) trait Local: Send + Sync + 'static {
    fn namespace(&self) -> &str;
    fn has_room(&self, room: &str) -> bool;
    /// Whether no socket is there.
    fn is_empty(&self) -> bool;
    fn sids(&self, target: &Target) -> Vec<Sid>;
    /// With the room of its own id.
    fn rooms_of(&self, sid: Sid) -> Vec<String>;
    /// With the rooms of their own ids.
    fn rooms(&self, target: &Target) -> Vec<String>;
    fn broadcast(&self, payload: Payload, target: &Target, flags: Flags);
    /// And how many clients will be waited for.
    fn broadcast_with_ack(&self, payload: Payload, target: &Target, timeout: Duration) -> (Acks, u32);
    fn join(&self, target: &Target, rooms: Vec<String>);
    fn leave(&self, target: &Target, rooms: Vec<String>);
    fn disconnect(&self, target: &Target);
    /// How long a broadcast waits for acknowledgements if it does not say.
    fn ack_timeout(&self) -> Duration;
}

impl<E: SocketEmitter> Local for Delivery<E> {
    fn namespace(&self) -> &str {
        self.core.path()
    }

    fn has_room(&self, room: &str) -> bool {
        !self.sids(&Target::room(room)).is_empty()
    }

    fn is_empty(&self) -> bool {
        self.sids(&Target::everyone()).is_empty()
    }

    fn sids(&self, target: &Target) -> Vec<Sid> {
        self.core.sockets(options(&self.core, target, Flags::default()))
    }

    fn rooms_of(&self, sid: Sid) -> Vec<String> {
        let mut rooms: Vec<String> = self.core.socket_rooms(sid).into_iter().map(Cow::into_owned).collect();
        if !rooms.iter().any(|room| room == sid.as_str()) {
            rooms.push(sid.to_string());
        }
        rooms
    }

    fn rooms(&self, target: &Target) -> Vec<String> {
        let options = options(&self.core, target, Flags::default());
        let mut rooms = self.core.rooms(options.clone());
        rooms.extend(self.core.sockets(options).into_iter().map(|sid| Cow::Owned(sid.to_string())));
        rooms.into_iter().map(Cow::into_owned).collect()
    }

    fn broadcast(&self, payload: Payload, target: &Target, flags: Flags) {
        let packet = Packet::event(self.core.path().clone(), payload.into_value());
        self.event_from_afar(packet, options(&self.core, target, flags));
    }

    fn broadcast_with_ack(&self, payload: Payload, target: &Target, timeout: Duration) -> (Acks, u32) {
        let packet = Packet::event(self.core.path().clone(), payload.into_value());
        let (acks, count) = self.ask(&packet, options(&self.core, target, Flags::default()), timeout);
        (Box::pin(acks.map(|(_, ack)| ack.ok().and_then(Payload::from_value))), count)
    }

    fn join(&self, target: &Target, rooms: Vec<String>) {
        self.core.add_sockets(options(&self.core, target, Flags::default()), rooms);
    }

    fn leave(&self, target: &Target, rooms: Vec<String>) {
        self.core.del_sockets(options(&self.core, target, Flags::default()), rooms);
    }

    fn disconnect(&self, target: &Target) {
        Delivery::disconnect(self, options(&self.core, target, Flags::default()));
    }

    fn ack_timeout(&self) -> Duration {
        self.core.ack_timeout()
    }
}

/// The local adapter's form of a target.
pub(crate) fn options<E: SocketEmitter>(
    local: &CoreLocalAdapter<E>,
    target: &Target,
    flags: Flags,
) -> BroadcastOptions {
    for room in target.rooms.names().iter().chain(&target.except) {
        enter_own_room(local, room);
    }
    let mut options = BroadcastOptions::default();
    options.rooms.extend(target.rooms.names().iter().cloned().map(Cow::Owned));
    options.except.extend(target.except.iter().cloned().map(Cow::Owned));
    // Without rooms socketioxide means nobody unless told otherwise, which is right for a target whose rooms all
    // turned out to be no names; without any rooms the other nodes mean everybody.
    if target.rooms == Rooms::All || !options.rooms.is_empty() {
        options.add_flag(BroadcastFlags::Broadcast);
    }
    if flags.volatile {
        options.add_flag(BroadcastFlags::Volatile);
    }
    options
}

/// A Node.js node reaches one socket by the room of its id, which a socketioxide socket has not joined.
/// It does so here, the first time that someone names it.
pub(crate) fn enter_own_room<E: SocketEmitter>(local: &CoreLocalAdapter<E>, room: &str) {
    let Ok(sid) = Sid::from_str(room) else { return };
    if !is_connected(local, sid) {
        return;
    }
    local.add_all(sid, sid);
    // It may have left between the two lines above, after which nobody else would remove it again.
    if !is_connected(local, sid) {
        local.del_all(sid);
    }
}

pub(crate) fn is_connected<E: SocketEmitter>(local: &CoreLocalAdapter<E>, sid: Sid) -> bool {
    // A lookup by id: without the broadcast flag and rooms, the sender alone is meant.
    !local.fetch_sockets(BroadcastOptions::new(sid)).is_empty()
}
