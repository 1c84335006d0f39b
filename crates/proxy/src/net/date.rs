//! The date that answers of ours say (RFC 9110 section 6.6.1). Printed once a second, not once an answer.

use std::cell::RefCell;
use std::time::{Duration, SystemTime};

use httpdate::fmt_http_date;

/// As it was printed last.
#[derive(Debug, Default)]
struct Printed {
    second: u64,
    text: String,
}

impl Printed {
    fn at(&mut self, now: SystemTime) -> &str {
        let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        if self.text.is_empty() || self.second != second {
            let printable = SystemTime::UNIX_EPOCH + Duration::from_secs(second.min(LAST_SECOND));
            *self = Self { second, text: fmt_http_date(printable) };
        }
        &self.text
    }
}

/// Adds the line that says what time it is.
pub(crate) fn add_date(out: &mut Vec<u8>) {
    // Each worker is a thread, and has its own.
    thread_local! {
        static PRINTED: RefCell<Printed> = RefCell::default();
    }
    out.extend_from_slice(b"Date: ");
    PRINTED.with_borrow_mut(|printed| out.extend_from_slice(printed.at(SystemTime::now()).as_bytes()));
    out.extend_from_slice(b"\r\n");
}

/// The end of the year 9999; the form has no room for a later one.
const LAST_SECOND: u64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_second_that_it_is() {
        let mut printed = Printed::default();
        for (millis, want) in [
            (784_111_777_000, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_777_999, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (784_111_778_000, "Sun, 06 Nov 1994 08:49:38 GMT"),
            // The clock is put back.
            (784_111_776_000, "Sun, 06 Nov 1994 08:49:36 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (LAST_SECOND * 1000 + 1000, "Fri, 31 Dec 9999 23:59:59 GMT"),
        ] {
            let now = SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
            assert_eq!(printed.at(now), want, "{millis}");
        }
    }
}
