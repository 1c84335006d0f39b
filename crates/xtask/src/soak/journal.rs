//! What was done to the nodes, and when: which of them could be asked at a moment, and which died while a request was
//! under way. Looks at nothing and asks nobody.

use std::time::Duration;

use tokio::time::Instant;

/// What was done, in the order of time.
#[derive(Debug)]
pub(crate) struct Journal {
    /// From then on all nodes could be asked.
    begun: Instant,
    done: Vec<Done>,
}

/// One thing that was done. Between its begin and its end nobody knows whether it has happened yet.
#[derive(Debug)]
struct Done {
    what: Change,
    begun: Instant,
    ended: Instant,
}

/// What can be done. Nodes are numbers; the first two are in the file by address, the others by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Reload,
    Drain(usize),
    EndOfDrains,
    Death(usize),
    Return(usize),
    /// DNS names these two now.
    Names([bool; 2]),
    Roll,
    Rotation,
}

/// One node at one moment, as far as new requests are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    lives: bool,
    drains: bool,
    is_named: bool,
}

impl Change {
    /// What it is called in the report.
    pub(crate) fn called(self) -> &'static str {
        match self {
            Self::Reload => "reloads",
            Self::Drain(_) => "drains",
            Self::EndOfDrains => "ends of drains",
            Self::Death(_) | Self::Return(_) => "deaths and returns of nodes",
            Self::Names(_) => "answers of DNS",
            Self::Roll => "rolls of the app",
            Self::Rotation => "rotations of the log",
        }
    }

    /// How long it may take until tidelock knows: it asks DNS every second here, and waits for a few at the most until a
    /// node that was named before has been tried.
    fn known_after(self) -> Duration {
        match self {
            Self::Names(_) => Duration::from_secs(4),
            _ => Duration::from_secs(1),
        }
    }
}

impl Journal {
    pub(crate) fn new(begun: Instant) -> Self {
        Self { begun, done: Vec::new() }
    }

    /// `what` was done from `begun` to `ended`.
    pub(crate) fn note(&mut self, what: Change, [begun, ended]: [Instant; 2]) {
        self.done.push(Done { what, begun, ended });
    }

    /// Whether `node` died, or was on its way to, at some moment from `from` to `until`.
    pub(crate) fn died_between(&self, node: usize, from: Instant, until: Instant) -> bool {
        let deaths = self.done.iter().filter(|done| done.what == Change::Death(node));
        deaths.into_iter().any(|death| death.begun <= until && death.ended >= from)
    }

    /// The nodes that could be asked for certain at some moment from `from` to `until`: they lived, were named, did not
    /// drain, and all of that for longer than it takes to get around.
    pub(crate) fn could_be_asked(&self, from: Instant, until: Instant) -> Vec<usize> {
        (0..NODES)
            .filter(|&node| self.stretches(node).any(|[begin, end]| begin <= until && end >= from))
            .collect()
    }

    /// When `node` could be asked for certain, from when to when.
    fn stretches(&self, node: usize) -> impl Iterator<Item = [Instant; 2]> {
        let mut now = Node { lives: true, drains: false, is_named: true };
        let mut stretches = Vec::new();
        let mut since = Some(self.begun);
        // When all that was done to it until now is known.
        let mut known = self.begun;
        for Done { what, begun, ended } in &self.done {
            let before = now;
            now.change(node, *what);
            if now != before {
                known = known.max(*ended + what.known_after());
            }
            match (before.can_be_asked(), now.can_be_asked()) {
                // What had just begun then may have failed with it.
                (true, false) => stretches.extend(since.take().zip(begun.checked_sub(UNDER_WAY))),
                (false, true) => since = Some(known),
                (true, true) | (false, false) => {}
            }
        }
        // It can be asked still.
        stretches.extend(since.map(|since| (since, since + Duration::from_hours(24 * 365))));
        stretches.into_iter().map(|(begin, end)| [begin, end]).filter(|[begin, end]| begin < end)
    }

    /// What was done last before `until`, in words, with how long before it was.
    pub(crate) fn last_before(&self, until: Instant, count: usize) -> Vec<String> {
        let before = self.done.iter().rev().filter(|done| done.begun <= until).take(count);
        let said = |done: &Done| {
            let ago = |at: Instant| until.saturating_duration_since(at).as_secs_f64();
            format!("{:?} from {:.2} s to {:.2} s before", done.what, ago(done.begun), ago(done.ended))
        };
        before.map(said).collect()
    }
}

impl Node {
    fn can_be_asked(self) -> bool {
        self.lives && !self.drains && self.is_named
    }

    fn change(&mut self, own: usize, what: Change) {
        match what {
            Change::Drain(node) if node == own => self.drains = true,
            Change::EndOfDrains => self.drains = false,
            Change::Death(node) if node == own => self.lives = false,
            Change::Return(node) if node == own => self.lives = true,
            Change::Names(named) if own >= BY_ADDRESS => {
                self.is_named = named.get(own - BY_ADDRESS).copied().unwrap_or_default();
            }
            _ => {}
        }
    }
}

pub(crate) const NODES: usize = 4;
/// So many are in the file by address.
const BY_ADDRESS: usize = 2;
/// Longer than any request of the load takes.
const UNDER_WAY: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    struct Story {
        begin: Instant,
        journal: Journal,
    }

    impl Story {
        /// Each change takes a tenth of a second, from the second that it is given with.
        fn of(changes: &[(u64, Change)]) -> Self {
            let begin = Instant::now();
            let at = |second: u64| begin + Duration::from_secs(second);
            let done = changes.iter().map(|&(second, what)| Done {
                what,
                begun: at(second),
                ended: at(second) + Duration::from_millis(100),
            });
            Self { begin, journal: Journal { begun: begin, done: done.collect() } }
        }

        fn asked(&self, from_ms: u64, until_ms: u64) -> Vec<usize> {
            let at = |ms| self.begin + Duration::from_millis(ms);
            self.journal.could_be_asked(at(from_ms), at(until_ms))
        }
    }

    #[test]
    fn a_node_can_be_asked_from_when_it_is_known_until_its_end() {
        let story = Story::of(&[
            (10, Change::Reload),
            (20, Change::Death(0)),
            (20, Change::Drain(1)),
            (20, Change::Names([false, false])),
            (30, Change::Return(0)),
            (40, Change::EndOfDrains),
            (50, Change::Names([false, true])),
        ]);
        assert_eq!(story.asked(10_000, 11_000), [0, 1, 2, 3]);
        assert_eq!(story.asked(19_700, 21_000), [0, 1, 2, 3], "all were there for a while");
        assert_eq!(story.asked(19_900, 31_000), [0; 0], "what was under way at the death may have failed");
        assert_eq!(story.asked(19_900, 31_200), [0], "a node that is back for a second is known");
        assert_eq!(story.asked(35_000, 41_200), [0, 1]);
        assert_eq!(story.asked(45_000, 54_000), [0, 1]);
        assert_eq!(story.asked(45_000, 54_200), [0, 1, 3], "a name is asked for now and then");
    }

    #[test]
    fn what_is_known_late_is_waited_for_whatever_comes_behind_it() {
        let story = Story::of(&[
            (10, Change::Death(2)),
            (11, Change::Names([false, true])),
            (20, Change::Names([true, true])),
            (22, Change::Return(2)),
        ]);
        assert_eq!(story.asked(22_000, 24_000), [0, 1, 3]);
        assert_eq!(story.asked(22_000, 24_200), [0, 1, 2, 3]);
    }

    #[test]
    fn a_death_is_its_nodes_alone() {
        let story = Story::of(&[(10, Change::Death(2))]);
        let at = |ms| story.begin + Duration::from_millis(ms);
        assert!(story.journal.died_between(2, at(9_900), at(10_000)));
        assert!(story.journal.died_between(2, at(10_100), at(10_200)));
        assert!(!story.journal.died_between(2, at(9_800), at(9_999)));
        assert!(!story.journal.died_between(2, at(10_101), at(10_200)));
        assert!(!story.journal.died_between(1, at(9_900), at(10_200)));
    }
}
