//! Work that takes turns by who wants it: each client's pieces stand in a line of their own, and the lines are served in turn. Who
//! wants much waits for its own work and not others for it.

use std::collections::VecDeque;

use crate::net::places::ClientKey;

/// The lines, the next in turn first.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    lines: VecDeque<(ClientKey, VecDeque<T>)>,
    count: usize,
    most: usize,
}

impl<T> FairQueue<T> {
    /// One of so many pieces.
    pub(crate) fn new(most: usize) -> Self {
        Self { lines: VecDeque::new(), count: 0, most }
    }

    /// Puts one more behind those of the client. A full queue drops the last piece of whoever wants most, which is returned: this
    /// one, if nobody wants more.
    pub(crate) fn push(&mut self, client: ClientKey, piece: T) -> Option<T> {
        match self.lines.iter_mut().find(|(known, _)| *known == client) {
            Some((_, line)) => line.push_back(piece),
            None => self.lines.push_back((client, VecDeque::from([piece]))),
        }
        self.count += 1;
        if self.count <= self.most {
            return None;
        }
        let own = self.lines.iter().position(|(known, _)| *known == client)?;
        let longest = self.lines.iter().enumerate().max_by_key(|(at, (_, line))| (line.len(), *at == own));
        self.drop_last(longest?.0)
    }

    /// The next in turn.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let (client, mut line) = self.lines.pop_front()?;
        let piece = line.pop_front();
        if !line.is_empty() {
            self.lines.push_back((client, line));
        }
        self.count -= 1;
        piece
    }

    fn drop_last(&mut self, at: usize) -> Option<T> {
        let dropped = self.lines[at].1.pop_back();
        if self.lines[at].1.is_empty() {
            self.lines.remove(at);
        }
        self.count -= 1;
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> ClientKey {
        ClientKey::of(std::net::IpAddr::from([192, 0, 2, number]))
    }

    #[test]
    fn who_wants_little_does_not_wait_for_who_wants_much() {
        let mut queue = FairQueue::new(100);
        for number in 0..50 {
            assert_eq!(queue.push(client(1), (1, number)), None);
        }
        assert_eq!(queue.push(client(2), (2, 0)), None);
        assert_eq!(queue.push(client(3), (3, 0)), None);
        let turns: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(who, _)| who).take(5).collect();
        assert_eq!(turns, [1, 2, 3, 1, 1]);
    }

    #[test]
    fn a_full_queue_drops_of_whoever_wants_most() {
        let mut queue = FairQueue::new(4);
        for number in 0..4 {
            assert_eq!(queue.push(client(1), (1, number)), None);
        }
        assert_eq!(queue.push(client(1), (1, 4)), Some((1, 4)));
        assert_eq!(queue.push(client(2), (2, 0)), Some((1, 3)));
        assert_eq!(queue.push(client(2), (2, 1)), Some((1, 2)));
        // Nobody wants more than the one that comes.
        assert_eq!(queue.push(client(2), (2, 2)), Some((2, 2)));
        let mut left: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        left.sort_unstable();
        assert_eq!(left, [(1, 0), (1, 1), (2, 0), (2, 1)]);
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.count, 0);
    }
}
