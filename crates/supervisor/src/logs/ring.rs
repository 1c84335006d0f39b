//! The last lines of one instance, in memory. Pure.

use std::collections::VecDeque;
use std::sync::Arc;

use super::lines::Line;

#[derive(Debug, Default)]
pub(crate) struct Ring {
    lines: VecDeque<Arc<Line>>,
    bytes: usize,
}

impl Ring {
    /// Puts a line behind the others, and drops the first ones that are too many.
    pub(crate) fn push(&mut self, line: Arc<Line>, lines_max: usize) {
        self.bytes += line.weight();
        self.lines.push_back(line);
        while self.lines.len() > lines_max || self.bytes > RING_BYTES_MAX {
            let Some(first) = self.lines.pop_front() else { return };
            self.bytes -= first.weight();
        }
    }

    /// The last `count` of them, oldest first.
    pub(crate) fn last(&self, count: usize) -> impl Iterator<Item = &Arc<Line>> {
        self.lines.iter().skip(self.lines.len().saturating_sub(count))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Of an instance, whatever number of lines it may have: lines of 16 KiB would be 16 MiB by a thousand.
const RING_BYTES_MAX: usize = 4 << 20;
