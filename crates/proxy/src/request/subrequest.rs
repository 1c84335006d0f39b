//! A request of ours beside the client's, small and whole: what somebody else says of it, or a copy for another upstream.

use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::Buf;
use wire::HeadBounds;
use wire::answer::{AnswerHead, AnswerTo};
use wire::body::BodyWalk;
use wire::scan::{HeadScan, Side};

use crate::fault::{Fault, OriginFault, Retry};
use crate::net::clock::Alarm;
use crate::state::local::Local;
use crate::upstream::balance::Preference;
use crate::upstream::connect::connect;
use crate::upstream::health::state::{Change, Observed};
use crate::upstream::pool::Lease;
use crate::upstream::{NodeQuery, Upstream};

/// What a node is sent, and how its answer is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'q> {
    /// Head and body.
    pub(crate) bytes: &'q [u8],
    pub(crate) is_head: bool,
    /// May be sent to another node after one that may have got it.
    pub(crate) is_repeatable: bool,
    /// So much of the answer's body is kept, and one that is longer is no answer. `None` reads it, and keeps nothing.
    pub(crate) keeps: Option<usize>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: AnswerHead,
    pub(crate) body: Vec<u8>,
}

impl Question<'_> {
    /// The answer of the first of so many nodes that gives one. It takes as long as they do: a timeout is for its caller.
    pub(crate) async fn ask(&self, upstream: &Upstream, nodes_max: usize, worker: &Local) -> Option<Answer> {
        let (mut tried, mut is_stale) = (Vec::new(), false);
        while tried.len() < nodes_max {
            let query = NodeQuery { preference: Preference::None, tried: &tried, now: worker.clock.now() };
            let index = upstream.choose(query, worker.cursors.of(upstream.number)).ok()?;
            let node = &upstream.members[index].node;
            let idle = match is_stale {
                true => None,
                false => worker.pool.take(node, !self.is_repeatable, worker.clock.now()),
            };
            let lease = match idle {
                Some(lease) => Ok(lease),
                None => connect(node, upstream.plan.timeouts.connect).await,
            };
            let answer = match lease {
                Ok(lease) => {
                    let reused = lease.reused;
                    exchange(lease, self, worker).await.map_err(|fault| match fault {
                        OriginFault::ClosedUnanswered { .. } => OriginFault::ClosedUnanswered { reused },
                        other => other,
                    })
                }
                Err(Fault::Origin(fault)) => Err(fault),
                Err(_) => return None,
            };
            let fault = match answer {
                Ok(answer) => {
                    node.observe(Observed::Answered);
                    return Some(answer);
                }
                // It died in the pool, which says nothing of its node.
                Err(OriginFault::ClosedUnanswered { reused: true }) if !is_stale => {
                    worker.pool.forget(node);
                    if !self.is_repeatable {
                        return None;
                    }
                    is_stale = true;
                    continue;
                }
                Err(fault) => fault,
            };
            let observed = match fault {
                OriginFault::Refused => Observed::Refused,
                fault => Observed::Failed(Fault::from(fault).reason()),
            };
            if let Change::Fell | Change::Suspected = node.observe(observed) {
                worker.shared.probe_queue.push(node);
            }
            if !self.is_repeatable && Fault::from(fault).retry() != Retry::NothingSent {
                return None;
            }
            tried.push(index);
        }
        None
    }
}

/// Sends it and reads the answer; a connection that can carry another one is kept.
async fn exchange(mut lease: Lease, question: &Question<'_>, worker: &Local) -> Result<Answer, OriginFault> {
    let alarm = Alarm::new(worker.clock.clone());
    let unanswered = OriginFault::ClosedUnanswered { reused: false };
    lease.io.write_all(question.bytes, b"", &alarm, WRITE_TIMEOUT).await.map_err(|_| unanswered)?;
    let head = loop {
        let head = head(&mut lease, question.is_head, worker).await?;
        if !head.is_interim() {
            break head;
        }
    };
    let mut body = Vec::new();
    let mut walk = BodyWalk::of_answer(head.body(), false);
    while !walk.is_at_end() {
        let walked =
            walk.walk(&mut lease.inbound).map_err(|_| OriginFault::Malformed(wire::Malformed::ChunkSize))?;
        match question.keeps {
            Some(most) if body.len() + walked.kept > most => return Err(OriginFault::CutShort),
            Some(_) => body.extend_from_slice(&lease.inbound[..walked.kept]),
            None => {}
        }
        lease.inbound.advance(walked.taken);
        if walked.is_end {
            break;
        }
        match read(&mut lease, worker).await {
            Some(1..) => {}
            _ if walk.ends_at_close() => return Ok(Answer { head, body }),
            _ => return Err(OriginFault::CutShort),
        }
    }
    if walk.is_at_end() && head.keep_alive() {
        let timeout = head.keep_alive_timeout_s().map(Duration::from_secs);
        worker.pool.give_back(lease, timeout, worker.clock.now());
    }
    Ok(Answer { head, body })
}

async fn head(lease: &mut Lease, is_head: bool, worker: &Local) -> Result<AnswerHead, OriginFault> {
    let mut scan = HeadScan::new(Side::Answer);
    loop {
        if let Some(length) = scan.advance(&lease.inbound, &BOUNDS).map_err(OriginFault::Malformed)? {
            let asked = AnswerTo { is_head, accept: None, is_connect: false };
            let bytes = lease.inbound.split_to(length);
            return AnswerHead::parse(&bytes, &BOUNDS, &asked).map_err(OriginFault::Malformed);
        }
        if !matches!(read(lease, worker).await, Some(1..)) {
            return Err(OriginFault::ClosedUnanswered { reused: false });
        }
    }
}

/// How many bytes have come; `None` if the connection broke.
async fn read(lease: &mut Lease, worker: &Local) -> Option<usize> {
    let Lease { io, inbound, .. } = lease;
    poll_fn(|cx| Poll::Ready(ready!(io.poll_read(cx, inbound, &worker.buffers)).ok())).await
}

const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
const BOUNDS: HeadBounds =
    HeadBounds { target_bytes_max: 0, head_bytes_max: 64 * 1024, lines_max: HeadBounds::LINES_MAX };
