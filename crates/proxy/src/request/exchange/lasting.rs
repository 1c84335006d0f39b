//! An answer that lasts, as drains see it: its node knows of it, it can be told when to end, and it is cut when the node is
//! stopped. What is over sooner pays for none of this but a look.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::fault::{Fault, OurFault};
use crate::net::clock::Alarm;
use crate::upstream::close_signal::{CloseListener, CloseOrder, EventStream, LongAnswer};
use crate::upstream::node::Node;

/// What a drain has to know of an answer.
#[derive(Debug, Default)]
pub(super) struct Lasting {
    from: Cell<Lasts>,
    /// What its node knows it by.
    signal: RefCell<Option<CloseSignal>>,
    /// What a drain has said.
    pub(super) order: Cell<Option<CloseOrder>>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Lasts {
    /// It has not begun, or all of it was there at once.
    #[default]
    Not,
    /// It is the stream of an EventSource, from its beginning.
    Events,
    /// It is anything else, and more of its body has been waited for since then.
    Since(Instant),
}

#[derive(Debug)]
enum CloseSignal {
    Events(CloseListener<EventStream>),
    Long(CloseListener<LongAnswer>),
}

impl Lasting {
    /// More of a body is waited for from now on.
    pub(super) fn begin(&self, now: Instant) {
        self.from.set(Lasts::Since(now));
    }

    /// The stream of an EventSource begins. Its node knows of it before the client does, so that the older is the one that
    /// came first.
    pub(super) fn begin_events(&self, node: &Arc<Node>, client: IpAddr) {
        self.signal.replace(Some(CloseSignal::Events(CloseListener::to(node.clone(), EventStream(client)))));
        self.from.set(Lasts::Events);
    }

    /// Ready when it must not go on.
    pub(super) fn poll(
        &self,
        cx: &mut Context<'_>,
        node: &Arc<Node>,
        client: IpAddr,
        alarm: &Alarm,
    ) -> Poll<Fault> {
        match self.from.get() {
            Lasts::Not => Poll::Pending,
            Lasts::Events => self.poll_bell(cx, node),
            Lasts::Since(since) => {
                if self.signal.borrow().is_none() {
                    ready!(alarm.poll_until(cx, since + LONG));
                    self.signal.replace(Some(CloseSignal::Long(CloseListener::to(
                        node.clone(),
                        LongAnswer(client),
                    ))));
                }
                self.poll_bell(cx, node)
            }
        }
    }

    fn poll_bell(&self, cx: &mut Context<'_>, node: &Node) -> Poll<Fault> {
        if self.hear(cx) {
            // Those who pass events on have been asked already, and did not know of it.
            cx.waker().wake_by_ref();
        }
        // A signal that was given before this one listened has not reached it.
        if node.cuts_answers() { Poll::Ready(OurFault::AnswerCut.into()) } else { Poll::Pending }
    }

    /// Hears what it is told, and says whether it was anything.
    pub(super) fn hear(&self, cx: &Context<'_>) -> bool {
        let order = self.signal.borrow_mut().as_mut().and_then(|signal| signal.poll_order(cx));
        let is_told = order.is_some();
        if is_told {
            self.order.set(order);
        }
        is_told
    }
}

impl CloseSignal {
    fn poll_order(&mut self, cx: &Context<'_>) -> Option<CloseOrder> {
        match self {
            Self::Events(listening) => listening.poll_order(cx),
            Self::Long(listening) => listening.poll_order(cx),
        }
    }
}

/// An answer that takes so long after its head is a long one. Those below are over before anybody has read of them.
const LONG: Duration = Duration::from_secs(1);
