//! The pin that a request brings in its cookies. It is looked for once, and everybody later is told.

use config::plan::Sticky;
use wire::Span;
use wire::pin_names::StripPins;
use wire::request::RequestHead;

use crate::upstream::Upstream;

/// What the cookies of a request say of the node that its client is pinned to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentPin {
    /// In 32 bits, for every request under way carries it.
    index: Option<u32>,
    named: Named,
}

/// The cookies of our name.
#[derive(Debug, Clone, Copy)]
enum Named {
    None,
    /// One, with a pin alone, and this is what is taken out of the head with it.
    One(Span),
    /// More, or a node's own beside them; or no pin at all.
    Others,
}

impl SentPin {
    const NONE: Self = Self { index: None, named: Named::None };

    /// Of several pins that prove something the one under the newest key counts, and of those the first.
    #[inline]
    pub(crate) fn read(head: &RequestHead, upstream: &Upstream) -> Self {
        // A request without cookies pays for no more than this look.
        if head.has_cookies() { Self::read_cookies(head, upstream) } else { Self::NONE }
    }

    fn read_cookies(head: &RequestHead, upstream: &Upstream) -> Self {
        let mut sent = Self::NONE;
        let Some(names) = upstream.pin_names.as_deref() else { return sent };
        let mut newest = usize::MAX;
        for cookie in names.of_request(head) {
            let pin = cookie.split().filter(|_| cookie.key.is_some());
            sent.named = match (sent.named, pin) {
                (Named::None, Some((b"", _))) => Named::One(cookie.whole()),
                _ => Named::Others,
            };
            if let (Some(key), Some((_, pin))) = (cookie.key, pin)
                && key < newest
                && let Some(index) = upstream.by_pin(&pin)
            {
                (sent.index, newest) = (u32::try_from(index).ok(), key);
            }
        }
        sent
    }

    /// The index of the member that it names.
    pub(crate) fn index(self) -> Option<usize> {
        self.index.map(|index| index as usize)
    }

    pub(super) fn is_named(self) -> bool {
        !matches!(self.named, Named::None)
    }

    /// The pins of this upstream: they are between the client and us.
    pub(crate) fn strips(self, upstream: &Upstream) -> StripPins<'_> {
        match self.named {
            Named::None => StripPins::None,
            Named::One(span) => StripPins::One(span),
            Named::Others => upstream.pin_names.as_deref().map_or(StripPins::None, StripPins::All),
        }
    }

    /// The same where it decides. A pin that proves nothing is counted.
    pub(super) fn index_or_counted(self, head: &RequestHead, upstream: &Upstream) -> Option<usize> {
        if self.index.is_none() && self.is_named() {
            count_unproven(head, upstream);
        }
        self.index()
    }
}

/// A pin in a cookie whose name tells another key than ours is of another secret. One under a key of ours is of a node that
/// is gone, such as a process that was replaced, or forged; where the file gives the name it tells no key.
#[cold]
fn count_unproven(head: &RequestHead, upstream: &Upstream) {
    let Some(names) = upstream.pin_names.as_deref() else { return };
    let [_, own_end] = names.first();
    let mut pins =
        names.of_request(head).filter(|cookie| cookie.end.len() == own_end.len() && cookie.split().is_some());
    let Some(pin) = pins.next() else { return };
    let tells_key = matches!(upstream.plan.sticky, Sticky::Auto(None) | Sticky::Cookie(None));
    if tells_key && pin.key.is_some() {
        upstream.oddities.outlived();
    } else {
        upstream.oddities.unverifiable(&upstream.plan.name);
    }
}
