//! The answer to an Engine.IO handshake: read whole, because the session it tells of must be registered before the
//! client hears of it, and tagged where the protocol allows it.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::Instant;
use wire::answer::{AnswerBody, AnswerHead};
use wire::body::BodyWalk;
use wire::engineio::{OpenPacket, read_open_packet};
use wire::tag::Tag;

use crate::fault::{Fault, OriginFault};
use crate::net::stream::Io;
use crate::state::local::Local;
use crate::upstream::Upstream;
use crate::upstream::node::counted::InSession;
use crate::upstream::sessions::{Contact, Entering};

/// An answer that may tell of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HandshakeAnswer<'a> {
    pub(crate) head: &'a AnswerHead,
    /// Whether its id is tagged.
    pub(crate) tags: bool,
    pub(crate) upstream: &'a Upstream,
    /// Where it was asked for.
    pub(crate) path: &'a [u8],
    /// By whom, and how.
    pub(crate) contact: &'a Contact,
}

/// What it turned out to be.
#[derive(Debug)]
pub(crate) enum Read {
    /// A session.
    Session { body: Vec<u8>, open: OpenPacket },
    /// Something else, now read.
    Other { body: Vec<u8> },
    /// Something else, still to be passed on.
    Unread,
}

impl HandshakeAnswer<'_> {
    /// Reads the answer's body, if it can be that of a handshake. Nothing is taken of one that cannot.
    pub(crate) async fn read(
        &self,
        origin: &Io,
        inbound: &mut BytesMut,
        timeout: Duration,
        worker: &Local,
    ) -> Result<Read, Fault> {
        let may_tell = match self.head.body() {
            AnswerBody::Length(length) => length <= HANDSHAKE_BYTES_MAX as u64,
            AnswerBody::Chunked | AnswerBody::UntilClose => true,
            AnswerBody::None => false,
        };
        if self.head.status() != 200 || self.head.is_content_coded() || !may_tell {
            return Ok(Read::Unread);
        }
        let mut walk = BodyWalk::of_answer(self.head.body(), false);
        let mut body = Vec::new();
        loop {
            let walked = walk.walk(inbound).map_err(OriginFault::Malformed)?;
            body.extend_from_slice(&inbound[..walked.kept]);
            inbound.advance(walked.taken);
            if walked.is_end {
                break;
            }
            if body.len() > HANDSHAKE_BYTES_MAX {
                // No handshake is so long, and nothing else may be held back or buffered whole.
                return Err(OriginFault::Malformed(wire::Malformed::BodyTooLong).into());
            }
            origin.acknowledge();
            match tokio::time::timeout(timeout, origin.read(inbound, &worker.buffers)).await {
                Ok(Ok(0)) if walk.ends_at_close() => break,
                Ok(Ok(0) | Err(_)) => return Err(OriginFault::CutShort.into()),
                Ok(Ok(_)) => {}
                Err(_) => return Err(OriginFault::BodyTimedOut.into()),
            }
        }
        Ok(match read_open_packet(&body) {
            Some(open) => Read::Session { body, open },
            None => Read::Other { body },
        })
    }

    /// Enters the session into the session table and returns the body as the client gets it.
    pub(crate) fn register(
        &self,
        body: Vec<u8>,
        open: OpenPacket,
        in_session: InSession,
        now: Instant,
    ) -> Vec<u8> {
        let node = in_session.node().clone();
        node.learn_engine_io_path(self.path);
        if let Some(silence_ms) = open.silence_ms {
            node.learn_silence(silence_ms.into());
        }
        let silence = open.silence_ms.map(|silence_ms| Duration::from_millis(silence_ms.into()));
        let entering = Entering { sid: &open.sid, silence, contact: self.contact.clone() };
        self.upstream.session_table.open(entering, in_session, now);
        // A node that a reload took out meanwhile signs no more; the session table knows the session.
        let member = self.upstream.member_of(&node).filter(|_| self.tags);
        let (Some(member), Some(tag_at)) = (member, open.tag_at) else { return body };
        let tag = member.seal.tag(&open.sid);
        let mut tagged = Vec::with_capacity(body.len() + Tag::BYTES);
        tagged.extend_from_slice(&body[..tag_at]);
        tagged.extend_from_slice(tag.as_bytes());
        tagged.extend_from_slice(&body[tag_at..]);
        tagged
    }
}

/// Engine.IO's own has about 120 bytes; apps may add headers, not packets.
const HANDSHAKE_BYTES_MAX: usize = 16 * 1024;
