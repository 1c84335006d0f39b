//! How a request waits while no node takes it: for how long on the whole, and how long until its next try. Reads no clock, and
//! does not sleep itself.

use std::cell::Cell;
use std::time::Duration;

use config::plan::Admission;

use crate::fault::{Fault, OurFault};

/// What a request waits for, and how.
pub(crate) struct NodeWait<'w> {
    /// For so long on the whole, from when the request began.
    pub(crate) timeout: Duration,
    /// Until its next try.
    pub(crate) pause: Duration,
    _unreachable: Option<Waiting<'w>>,
}

impl<'w> NodeWait<'w> {
    /// `None` for a fault that is no want of a node. `waiting` are the worker's requests that wait for a node that can be
    /// reached. Who waits for room at one that is full is not among them: a crowd of those must not keep others from a pool
    /// that is coming back.
    pub(crate) fn after(fault: Fault, admission: &Admission, waiting: &'w Cell<u32>) -> Option<Self> {
        match fault {
            Fault::Ours(OurFault::AllFull) => {
                Some(Self { timeout: admission.full_wait, pause: FULL_PAUSE, _unreachable: None })
            }
            fault if fault.is_want_of_a_node() => {
                let waiting = Waiting::one_more(waiting);
                let pause = waiting.pause();
                Some(Self { timeout: admission.down_wait, pause, _unreachable: Some(waiting) })
            }
            _ => None,
        }
    }
}

/// A request that waits for a node that can be reached, counted while it does.
struct Waiting<'w>(&'w Cell<u32>);

impl<'w> Waiting<'w> {
    fn one_more(waiting: &'w Cell<u32>) -> Self {
        waiting.set(waiting.get() + 1);
        Self(waiting)
    }

    /// The more of them wait, the longer: a pool that is coming back must not be met by all at once, nor may those who wait
    /// take the time of those who do not.
    fn pause(&self) -> Duration {
        (DOWN_PAUSE * (1 + self.0.get() / CROWD)).min(DOWN_PAUSE_MAX)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// While all nodes are full, one is looked for so often.
const FULL_PAUSE: Duration = Duration::from_millis(20);
/// While no node can be reached, one is tried so often.
const DOWN_PAUSE: Duration = Duration::from_millis(100);
/// Of one worker, so many more that wait make it longer by as much, up to this.
const CROWD: u32 = 64;
const DOWN_PAUSE_MAX: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{ClientFault, OriginFault};

    const ADMISSION: Admission = Admission {
        handshake_rate: None,
        handshake_wait: Duration::ZERO,
        full_wait: Duration::from_secs(1),
        down_wait: Duration::from_secs(2),
        retry_percent: 0,
    };
    const FULL: Fault = Fault::Ours(OurFault::AllFull);
    const REFUSED: Fault = Fault::Origin(OriginFault::Refused);

    fn wait(fault: Fault, waiting: &Cell<u32>) -> NodeWait<'_> {
        NodeWait::after(fault, &ADMISSION, waiting).expect("it is a want of a node")
    }

    #[test]
    fn a_crowd_that_waits_for_room_keeps_nobody_from_a_pool_that_comes_back() {
        let waiting = Cell::new(0);
        let crowd: Vec<_> = (0..10 * CROWD).map(|_| wait(FULL, &waiting)).collect();
        assert_eq!(waiting.get(), 0);
        assert!(crowd.iter().all(|one| one.pause == FULL_PAUSE && one.timeout == ADMISSION.full_wait));
        let other = wait(REFUSED, &waiting);
        assert_eq!((other.pause, other.timeout), (DOWN_PAUSE, ADMISSION.down_wait));
    }

    #[test]
    fn the_more_wait_for_a_node_that_can_be_reached_the_less_often_it_is_tried() {
        let waiting = Cell::new(0);
        let mut crowd: Vec<_> = (0..CROWD - 1).map(|_| wait(REFUSED, &waiting)).collect();
        assert!(crowd.iter().all(|one| one.pause == DOWN_PAUSE));
        crowd.push(wait(Fault::Ours(OurFault::NoNode), &waiting));
        assert_eq!(crowd.last().map(|one| one.pause), Some(2 * DOWN_PAUSE));
        crowd.extend((0..100 * CROWD).map(|_| wait(REFUSED, &waiting)));
        assert_eq!(crowd.last().map(|one| one.pause), Some(DOWN_PAUSE_MAX));
        assert_eq!(wait(FULL, &waiting).pause, FULL_PAUSE);
        drop(crowd);
        assert_eq!(waiting.get(), 0, "whoever has stopped to wait is not counted");
    }

    #[test]
    fn what_is_no_want_of_a_node_is_not_waited_for() {
        let waiting = Cell::new(0);
        for fault in [
            Fault::Client(ClientFault::Gone),
            Fault::Origin(OriginFault::AnswerTimedOut),
            Fault::Ours(OurFault::SessionUnknown),
        ] {
            assert!(NodeWait::after(fault, &ADMISSION, &waiting).is_none(), "{fault:?}");
        }
        assert_eq!(waiting.get(), 0);
    }
}
