//! What the kernel has counted of a thread: how long it ran, and how long it had to wait for a core. Read by whoever asks, from
//! another thread, so that the thread itself does nothing for it.

use std::fs::read_to_string;
use std::time::Duration;

/// Times of a thread since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scheduled {
    /// It has had a core for so long.
    pub ran: Duration,
    /// It could have run for so long, while others had the cores.
    pub waited: Duration,
}

/// `None` if there is no such thread of this process, or a kernel or a container that does not tell.
pub(crate) fn of_thread(thread: i32) -> Option<Scheduled> {
    read(&read_to_string(format!("/proc/self/task/{thread}/schedstat")).ok()?)
}

/// Both in nanoseconds, and then how often it ran (Documentation/scheduler/sched-stats.rst of Linux).
fn read(line: &str) -> Option<Scheduled> {
    let mut times =
        line.split_ascii_whitespace().map_while(|time| time.parse().ok()).map(Duration::from_nanos);
    Some(Scheduled { ran: times.next()?, waited: times.next()? })
}

#[cfg(test)]
mod tests {
    use rustix::thread::gettid;

    use super::*;

    #[test]
    fn a_thread_that_runs_is_seen_to_run() {
        let ran = || of_thread(gettid().as_raw_pid()).expect("Linux tells of a thread that is there").ran;
        // The kernel brings it up to date at its ticks: a thread that runs on will see one.
        let begun = ran();
        while ran() == begun {
            std::hint::spin_loop();
        }
        assert_eq!(of_thread(0), None);
    }

    #[test]
    fn what_is_no_line_of_the_kernels_is_nothing() {
        let both = |ran, waited| {
            Some(Scheduled { ran: Duration::from_nanos(ran), waited: Duration::from_nanos(waited) })
        };
        for (line, expected) in
            [("5 7 1\n", both(5, 7)), ("5 7", both(5, 7)), ("5", None), ("", None), ("a 7 1", None)]
        {
            assert_eq!(read(line), expected, "{line:?}");
        }
    }
}
