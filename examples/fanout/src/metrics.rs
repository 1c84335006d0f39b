//! The counters in the text format of Prometheus (version 0.0.4).

use std::fmt::Write;

use crate::stats::Stats;

impl Stats {
    /// For the `/metrics` of an app: send it as `text/plain; version=0.0.4`.
    ///
    /// ```
    /// let text = fanout::Stats::default().prometheus();
    /// assert!(text.contains("fanout_dropped_total{reason=\"queue_full\"} 0\n"));
    /// ```
    pub fn prometheus(&self) -> String {
        let mut text = String::with_capacity(2048);
        for (name, help, value) in [
            ("published", "Messages that Redis confirmed.", self.published),
            ("received", "Messages received from Redis, this node's own included.", self.received),
            ("malformed", "Messages received that were not understood.", self.malformed),
            ("acks_dropped", "Acknowledgements that were dropped.", self.acks_dropped),
            ("clients_missed", "Events that clients of this node missed.", self.clients_missed),
            ("connects", "Attempts to connect to Redis.", self.connects),
            ("gaps", "Times that the subscription was lost.", self.gaps),
        ] {
            head(&mut text, &format!("{name}_total"), "counter", help);
            // Writing into a String cannot fail.
            let _ = writeln!(text, "fanout_{name}_total {value}");
        }
        head(&mut text, "dropped_total", "counter", "Messages that did not reach Redis, by reason.");
        for (reason, value) in [
            ("disconnected", self.dropped_disconnected),
            ("queue_full", self.dropped_queue_full),
            ("unconfirmed", self.dropped_unconfirmed),
            ("refused", self.dropped_refused),
        ] {
            let _ = writeln!(text, "fanout_dropped_total{{reason=\"{reason}\"}} {value}");
        }
        head(&mut text, "gap_seconds_total", "counter", "Length of all gaps, one that is open included.");
        let _ = writeln!(text, "fanout_gap_seconds_total {}", self.gap_time.as_secs_f64());
        head(&mut text, "in_gap", "gauge", "Whether the subscription is lost at this moment.");
        let _ = writeln!(text, "fanout_in_gap {}", u8::from(self.in_gap));
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP fanout_{name} {help}\n# TYPE fanout_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use crate::stats::Stats;
    use std::time::Duration;

    /// Named one by one, so that a new counter does not compile before it is here.
    #[test]
    fn every_counter_has_one_sample_and_there_are_no_others() {
        let stats = Stats {
            published: 101,
            dropped_disconnected: 102,
            dropped_queue_full: 103,
            dropped_unconfirmed: 104,
            dropped_refused: 105,
            received: 106,
            malformed: 107,
            acks_dropped: 108,
            clients_missed: 109,
            connects: 110,
            gaps: 111,
            gap_time: Duration::from_secs(112),
            in_gap: true,
        };
        let text = stats.prometheus();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut values: Vec<u32> =
            samples.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
        values.sort_unstable();
        assert_eq!(values, [&[1][..], &(101..=112).collect::<Vec<_>>()].concat());
    }

    #[test]
    fn every_line_is_a_comment_or_a_sample_of_the_metric_above() {
        let stats = Stats {
            clients_missed: 7,
            dropped_refused: 3,
            gap_time: Duration::from_millis(1500),
            in_gap: true,
            ..Stats::default()
        };
        let text = stats.prometheus();
        let mut metric = "";
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(declared) => metric = declared.split(' ').next().unwrap(),
                None if line.starts_with("# HELP ") => {}
                None => {
                    let (name, value) = line.rsplit_once(' ').unwrap();
                    assert_eq!(name.split('{').next().unwrap(), metric);
                    value.parse::<f64>().unwrap();
                }
            }
        }
        for sample in [
            "fanout_clients_missed_total 7",
            "fanout_dropped_total{reason=\"refused\"} 3",
            "fanout_gap_seconds_total 1.5",
            "fanout_in_gap 1",
        ] {
            assert!(text.lines().any(|line| line == sample), "{sample}\n{text}");
        }
    }
}
