//! Finds the borders between two events of a `text/event-stream` (WHATWG HTML, server-sent events): what is cut there
//! loses nothing, for a reader drops an event whose blank line has not come.

use memchr::memchr2;

/// Where in its stream of events the last byte is.
#[derive(Debug, Clone, Copy)]
pub struct Events {
    /// Nothing of the line has come.
    is_line_start: bool,
    /// Something of an event has come, and not its end. A comment is of none.
    is_within: bool,
    /// The last byte was a CR. An LF behind it belongs to it.
    after_cr: bool,
    /// The last line that has ended did so with a CR alone.
    ended_bare: bool,
    /// The end of the event is a CR to which an LF will come, as far as the line before it tells. Some readers wait for it.
    awaits_lf: bool,
}

impl Default for Events {
    fn default() -> Self {
        Self { is_line_start: true, is_within: false, after_cr: false, ended_bare: false, awaits_lf: false }
    }
}

impl Events {
    /// Whether the bytes so far end between two events, or are none: here the stream can be cut without one getting
    /// lost.
    pub fn is_between(&self) -> bool {
        self.is_line_start && !self.is_within && !self.awaits_lf
    }

    /// Goes on over all of `content`.
    pub fn pass(&mut self, content: &[u8]) {
        let mut rest = content;
        while let Some((&byte, behind)) = rest.split_first() {
            rest = behind;
            self.step(byte);
            if !self.is_line_start {
                // Within a line nothing counts but its end.
                rest = &rest[memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())..];
            }
        }
    }

    /// Goes on to the first border in `content`, and says how many bytes are in front of it. `None` if there is none, and
    /// all of it was passed.
    pub fn pass_to_border(&mut self, content: &[u8]) -> Option<usize> {
        for (index, &byte) in content.iter().enumerate() {
            self.step(byte);
            // A CR and its LF are not parted.
            let is_parted = byte == b'\r' && content.get(index + 1) == Some(&b'\n');
            if self.is_between() && !is_parted {
                return Some(index + 1);
            }
        }
        None
    }

    fn step(&mut self, byte: u8) {
        let is_second_half = byte == b'\n' && self.after_cr;
        self.after_cr = byte == b'\r';
        self.awaits_lf = false;
        match byte {
            b'\n' if is_second_half => self.ended_bare = false,
            b'\r' | b'\n' => {
                if self.is_line_start && self.is_within {
                    self.is_within = false;
                    self.awaits_lf = byte == b'\r' && !self.ended_bare;
                }
                self.is_line_start = true;
                self.ended_bare = byte == b'\r';
            }
            _ => {
                self.is_within |= self.is_line_start && byte != b':';
                self.is_line_start = false;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `stream` with a `|` at each place at which it may be cut, behind its first byte.
    fn check(marked: &str) {
        let stream = marked.replace('|', "");
        let mut want = Vec::new();
        let mut at = 0;
        for byte in marked.bytes() {
            if byte == b'|' { want.push(at) } else { at += 1 }
        }
        let mut byte_by_byte = Events::default();
        let mut found = Vec::new();
        for (index, &byte) in stream.as_bytes().iter().enumerate() {
            byte_by_byte.pass(&[byte]);
            if byte_by_byte.is_between() {
                found.push(index + 1);
            }
        }
        assert_eq!(found, want, "{marked:?}");
        for cut in 0..=stream.len() {
            let (first, second) = stream.as_bytes().split_at(cut);
            let mut events = Events::default();
            events.pass(first);
            assert_eq!(events.is_between(), cut == 0 || want.contains(&cut), "{marked:?} at {cut}");
            let border = events.pass_to_border(second).map(|length| cut + length);
            // Where a CR stands alone at a cut it is a border, and with its LF only together with it.
            let is_parted = |border: usize| stream.as_bytes()[border - 1..].starts_with(b"\r\n");
            let next = want.iter().copied().find(|&border| border > cut && !is_parted(border));
            assert_eq!(border, next, "{marked:?} from {cut}");
        }
    }

    #[test]
    fn events_end_with_a_blank_line_of_any_kind() {
        check("data: a\n\n|data: b\n\n|");
        check("data: a\r\n\r\n|data: b\r\n\r\n|");
        check("data: a\r\r|data: b\r\r|");
        check("data: a\n\r\n|data: b\r\n\n|id: 7\rdata: c\r\n\r\n|");
        check("data: a\ndata: b\n\n|\n|\n|data");
        check("data: a\r\n\r\n|\r|\n|data: b\r\r|\n|data: c");
        check("\n|\r|\n|data: a\n\n|");
    }

    /// A reader that waits for the LF behind a CR has the event only with it.
    #[test]
    fn a_cr_is_an_end_only_where_lines_end_so() {
        let mut events = Events::default();
        events.pass(b"data: a\r\n\r");
        assert!(!events.is_between());
        events.pass(b"\n");
        assert!(events.is_between());
        let mut events = Events::default();
        events.pass(b"data: a\n\rdata: b");
        assert!(!events.is_between());
    }

    #[test]
    fn comments_are_no_events_and_may_stand_in_one() {
        check(":\n|: ping\n|\n|data: a\n: ping\n\n|: ping\r|\n|data");
        check("data\n\n|event: x\nretry: 5\n");
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(input in "[\r\n:ab]{0,40}", cut in 0_usize..40) {
            let (first, second) = input.as_bytes().split_at(cut.min(input.len()));
            let (mut whole, mut cut) = (Events::default(), Events::default());
            whole.pass(input.as_bytes());
            cut.pass(first);
            cut.pass(second);
            prop_assert_eq!(whole.is_between(), cut.is_between());
        }
    }
}
