//! `[upstream.NAME.outliers]`.

use std::time::Duration;

use crate::file::declare::declare;
use crate::file::kinds::{Count, Time};

declare! {
    /// What is held against a node by those whose requests it serves. A node that is out by this comes back after a time that
    /// doubles with each relapse.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Outliers in OUTLIERS = "outliers", One: "What is held against a node by the requests that it serves.";
    keys {
        /// So many requests in a row without an answer take a node out; one, if a probe that is sent after it is not answered
        /// either. It is back when it answers a probe.
        FAILURES failures: u32 = 3, Count { least: 1, most: 1_000 };
        /// So many answers in a row with a status of 500 and more take a node out; 0 is off, for the same request would fail at
        /// any node.
        ERRORS errors: u32 = 0, Count { least: 0, most: 1_000 };
        /// So many percent of unanswered requests and such answers in the period take a node out; 0 is off.
        ERROR_PERCENT error_percent: u32 = 0, Count { least: 0, most: 100 };
        /// A median time to the answer of so many times that of the other nodes takes a node out; 0 is off. Polls and tunnels do
        /// not count.
        LATENCY_FACTOR latency_factor: u32 = 0, Count { least: 0, most: 1_000 };
        /// How far back the rate and the median look.
        PERIOD period: Duration = Duration::from_secs(10),
            Time { least: Duration::from_secs(1), most: Duration::from_mins(10) };
        /// With fewer requests in the period nothing is said of a node.
        REQUESTS_MIN requests_min: u32 = 20, Count { least: 1, most: 1_000_000 };
        /// How long a node is out for errors, rate or latency. It doubles with each relapse.
        EJECTION ejection: Duration = Duration::from_secs(10),
            Time { least: Duration::from_secs(1), most: Duration::from_hours(1) };
        /// How long it is out at most. What a node did is forgotten once it has been well for as long.
        EJECTION_MAX ejection_max: Duration = Duration::from_mins(5),
            Time { least: Duration::from_secs(1), most: Duration::from_hours(24) };
        /// At most so many percent of the nodes are out for errors, rate or latency. The last node is never taken out by anything
        /// but a refused connection or a probe.
        EJECTED_PERCENT_MAX ejected_percent_max: u32 = 50, Count { least: 0, most: 100 };
    }
}
