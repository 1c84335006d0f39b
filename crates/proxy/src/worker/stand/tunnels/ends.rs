//! The two ends that play the table of tunnels: what each does, and what it sees and when.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Deed, Point, Side};

/// One end of the tunnel, and what it sees.
pub(super) struct End {
    pub(super) stream: UnixStream,
    pub(super) side: Side,
    place: Point,
    /// What the other one may still say of a frame that it has begun.
    awaited: &'static [u8],
    heard: Vec<u8>,
    has_said_close: bool,
    seen: Vec<String>,
}

impl End {
    pub(super) fn new(stream: UnixStream, side: Side, place: Point) -> Self {
        let awaited = if place == Point::InFrame { REST } else { b"" };
        Self { stream, side, place, awaited, heard: Vec::new(), has_said_close: false, seen: Vec::new() }
    }

    /// Does its part of `deed` and sees what comes. One that is not polite is kept open.
    pub(super) async fn play(
        mut self,
        deed: Deed,
        is_polite: bool,
        begun: Instant,
    ) -> (Vec<String>, Option<Self>) {
        let own = self.side;
        let is_own = |side: Side| side == own;
        match deed {
            Deed::Fin(side) if is_own(side) => self.stream.shutdown().await.unwrap(),
            Deed::Gone(side) if is_own(side) => return (vec!["left".into()], None),
            Deed::Lost if is_own(Side::Node) => return (vec!["left".into()], None),
            Deed::Reset(side) => {
                if is_own(side) {
                    // The other one's word is here, and is not read.
                    sleep(TOLERANCE / 5).await;
                    return (vec!["left".into()], None);
                }
                self.say(&[(0x89, b"ping")]).await;
            }
            Deed::Close(side) if is_own(side) => self.say_close(1000).await,
            Deed::Big(side) if is_own(side) => self.say_too_much().await,
            Deed::Fast if is_own(Side::Client) => self.say(&[(0x81, &b"x"[..]); 10]).await,
            _ => {}
        }
        // What it still says of its message, and when; the last is its end.
        let mut rest: Vec<u64> = match deed {
            Deed::DrainAwaited if is_own(Side::Node) => vec![15],
            Deed::DrainInPieces if is_own(Side::Node) => vec![15, 12],
            _ => Vec::new(),
        };
        loop {
            let mut some = [0; 1024];
            let read = tokio::select! {
                read = self.stream.read(&mut some) => read,
                at = reached(begun, rest.last().copied()) => {
                    rest.retain(|&left| left > at);
                    match rest.is_empty() {
                        true => self.end_message().await,
                        false => self.say(&[(0x00, b"more"), (0x89, b"ping")]).await,
                    }
                    continue;
                }
            };
            let at = seconds(begun);
            match read {
                Ok(0) => self.seen.push(format!("end {at}")),
                Err(error) => self.seen.push(format!("{:?} {at}", error.kind())),
                Ok(length) => {
                    self.heard.extend_from_slice(&some[..length]);
                    if !self.look(is_polite, at).await {
                        continue;
                    }
                    return (std::mem::take(&mut self.seen), None);
                }
            }
            return (std::mem::take(&mut self.seen), (!is_polite).then_some(self));
        }
    }

    /// Takes what was heard apart. Whether it is done: a node that has heard and said Close.
    async fn look(&mut self, is_polite: bool, at: u64) -> bool {
        if !self.awaited.is_empty() && self.heard.starts_with(self.awaited) {
            self.heard.drain(..self.awaited.len());
            self.awaited = b"";
            self.saw_data();
        }
        while let Some((first, payload)) =
            self.awaited.is_empty().then(|| take_frame(&mut self.heard)).flatten()
        {
            if first != 0x88 {
                self.saw_data();
                continue;
            }
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            self.seen.push(format!("close {code} {at}"));
            if is_polite && !self.has_said_close {
                self.say_close(code).await;
            }
            if is_polite && self.side == Side::Node {
                return true;
            }
        }
        false
    }

    fn saw_data(&mut self) {
        if self.seen.last().is_none_or(|last| last != "data") {
            self.seen.push("data".into());
        }
    }

    async fn say(&mut self, frames: &[(u8, &[u8])]) {
        let side = self.side;
        let said: Vec<u8> = frames.iter().flat_map(|(first, payload)| frame(side, *first, payload)).collect();
        // The tunnel may be gone.
        let _ = self.stream.write_all(&said).await;
    }

    async fn say_close(&mut self, code: u16) {
        self.has_said_close = true;
        if self.place == Point::InFrame {
            self.end_message().await;
        }
        self.say(&[(0x88, &code.to_be_bytes())]).await;
    }

    /// Says the rest of what was begun before.
    async fn end_message(&mut self) {
        match std::mem::replace(&mut self.place, Point::Rest) {
            Point::Rest => {}
            Point::InMessage => self.say(&[(0x80, b"rest")]).await,
            Point::InFrame => drop(self.stream.write_all(REST).await),
        }
    }

    async fn say_too_much(&mut self) {
        let first = if self.place == Point::InMessage { 0x80 } else { 0x82 };
        let mut said = if self.place == Point::InFrame { REST.to_vec() } else { Vec::new() };
        let mask = if self.side == Side::Client { 0x80 } else { 0 };
        said.extend_from_slice(&[first, mask | 126]);
        said.extend_from_slice(&5000_u16.to_be_bytes());
        said.extend_from_slice(&[0; 100]);
        self.stream.write_all(&said).await.unwrap();
    }
}

/// What each of both says before it happens.
pub(super) fn said_before(place: Point, side: Side) -> Vec<u8> {
    match place {
        Point::Rest => Vec::new(),
        Point::InMessage => frame(side, 0x01, b"half"),
        Point::InFrame => {
            let mut whole = frame(side, 0x81, b"halfrest");
            whole.truncate(whole.len() - REST.len());
            whole
        }
    }
}

/// A client's are masked, with zeros.
fn frame(side: Side, first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u8;
    match side {
        Side::Client => [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat(),
        Side::Node => [&[first, length], payload].concat(),
    }
}

/// The first frame, unmasked, if all of it is here.
fn take_frame(heard: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, second, ..] = **heard else { return None };
    let (length, is_masked) = (usize::from(second & 0x7f), second & 0x80 != 0);
    let start = if is_masked { 6 } else { 2 };
    if heard.len() < start + length {
        return None;
    }
    let mask: [u8; 4] = if is_masked { heard[2..6].try_into().unwrap() } else { [0; 4] };
    let payload = heard[start..start + length].iter().zip(mask.iter().cycle());
    let payload = payload.map(|(byte, mask)| byte ^ mask).collect();
    heard.drain(..start + length);
    Some((first, payload))
}

/// Waits until so many seconds have gone by, or for ever.
async fn reached(begun: Instant, at: Option<u64>) -> u64 {
    let Some(at) = at else { return std::future::pending().await };
    sleep_until(begun + Duration::from_secs(at)).await;
    at
}

/// Whole seconds, where a moment more is none and a fraction is the next one.
fn seconds(begun: Instant) -> u64 {
    begun.elapsed().saturating_sub(TOLERANCE).as_millis().div_ceil(1000) as u64
}

/// How it is said in full what the rest of a frame is.
const REST: &[u8] = b"rest";

/// A node that closes is asked for so long whether it lives.
pub(super) const TOLERANCE: Duration = Duration::from_millis(50);
