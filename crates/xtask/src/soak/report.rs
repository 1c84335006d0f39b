//! What came of a soak: in words, and whether that is as it should be. Measures nothing.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

use super::failures::Judged;

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What was done, and how often.
    pub(crate) happened: BTreeMap<&'static str, usize>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) end: Sample,
    pub(crate) answered: usize,
    pub(crate) failures: Judged,
    /// Why Socket.IO clients lost their connection.
    pub(crate) disconnects: BTreeMap<String, usize>,
    /// Why they did not get one.
    pub(crate) connect_errors: BTreeMap<String, usize>,
    /// Counts that are not zero at the end.
    pub(crate) left: Vec<String>,
    /// Lines of the log that are about very slow requests.
    pub(crate) slow: Vec<String>,
}

/// What the process holds at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    pub(crate) memory_bytes: u64,
    pub(crate) files: usize,
}

impl Report {
    pub(crate) fn text(&self) -> String {
        let mut lines = Vec::new();
        lines.extend(self.happened.iter().map(|(what, count)| format!("{count} {what}")));
        lines.push(format!("{} requests answered", self.answered));
        let counted = |counts: &BTreeMap<String, usize>, what: &str| -> Vec<_> {
            counts.iter().map(|(why, count)| format!("{count} {what}: {why}")).collect()
        };
        lines.extend(counted(&self.disconnects, "times a Socket.IO client had to come back"));
        lines.extend(counted(&self.connect_errors, "times one did not get in at once"));
        lines.extend(counted(&self.failures.explained, "failed as they must"));
        for failure in &self.failures.unexplained {
            lines.push(format!("failed, and nothing explains it: {failure}"));
        }
        lines.extend(self.slow.iter().map(|line| format!("took very long: `{line}`")));
        let [first, last] = self.memory().map(mib);
        lines.push(format!("memory {first:.1} MiB in the second quarter, {last:.1} MiB in the last"));
        let (begin, end) = (self.files_in_the_beginning(), self.end.files);
        lines.push(format!("open files {begin} in the beginning, with clients; {end} in the end, without"));
        lines.push(match self.left.as_slice() {
            [] => "in the end all counts were zero".to_owned(),
            left => format!("in the end there were left: {}", left.join(", ")),
        });
        lines.iter().map(|line| format!("- {line}\n")).collect()
    }

    /// Fails for the first thing that is not as it should be.
    pub(crate) fn verdict(&self, is_long: bool) -> Result<()> {
        ensure!(self.left.is_empty(), "something is left: {}", self.left.join(", "));
        let unexplained = &self.failures.unexplained;
        ensure!(
            unexplained.is_empty(),
            "{} requests failed, and nothing that was done explains it; the first: {}",
            unexplained.len(),
            unexplained.first().map_or("", String::as_str)
        );
        for reason in [PING_TIMEOUT, PARSE_ERROR] {
            let count = self.disconnects.get(reason).copied().unwrap_or_default();
            ensure!(
                count == 0,
                "{count} Socket.IO clients ended with {reason:?}, which nothing that was done explains"
            );
        }
        ensure!(
            self.slow.is_empty(),
            "requests took very long, the first: {}",
            self.slow.first().map_or("", |line| line)
        );
        let [first, last] = self.memory();
        let (before, after) = (mib(first), mib(last));
        ensure!(!is_long || last <= first + first / 10, "memory grew from {before:.1} to {after:.1} MiB");
        let (begin, end) = (self.files_in_the_beginning(), self.end.files);
        ensure!(end <= begin, "{end} files are open, {begin} were with clients");
        Ok(())
    }

    fn files_in_the_beginning(&self) -> usize {
        self.samples.first().map_or(0, |sample| sample.files)
    }

    /// The medians of the second quarter and of the last.
    fn memory(&self) -> [u64; 2] {
        let quarter = self.samples.len() / 4;
        let median = |samples: &[Sample]| {
            let mut all: Vec<_> = samples.iter().map(|sample| sample.memory_bytes).collect();
            all.sort_unstable();
            all.get(all.len() / 2).copied().unwrap_or_default()
        };
        [median(&self.samples[quarter..2 * quarter]), median(&self.samples[3 * quarter..])]
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Its node, or the way there, was silent for so long that the client gave it up.
const PING_TIMEOUT: &str = "ping timeout";
/// It got what no node has sent.
const PARSE_ERROR: &str = "parse error";

#[cfg(test)]
mod tests {
    use super::*;

    /// Clean but for what `change` does to it.
    fn verdict(change: impl FnOnce(&mut Report)) -> String {
        let sample = Sample { memory_bytes: 10 << 20, files: 100 };
        let mut report = Report { samples: vec![sample; 8], end: sample, ..Report::default() };
        change(&mut report);
        report.verdict(true).map_or_else(|error| error.to_string(), |()| "clean".to_owned())
    }

    #[test]
    fn only_what_nothing_explains_fails_it() {
        assert_eq!(verdict(|_| {}), "clean");
        let disconnect = |report: &mut Report, why: &str| {
            report.disconnects.insert(why.to_owned(), 3);
        };
        let explained = verdict(|report| {
            report.failures.explained.insert("Post, 502: died".to_owned(), 3);
            disconnect(report, "transport close");
        });
        assert_eq!(explained, "clean");
        let unexplained = verdict(|report| report.failures.unexplained.push("Get: 502".to_owned()));
        assert_eq!(
            unexplained,
            "1 requests failed, and nothing that was done explains it; the first: Get: 502"
        );
        assert!(
            verdict(|report| disconnect(report, "ping timeout"))
                .starts_with("3 Socket.IO clients ended with")
        );
        assert!(verdict(|report| report.slow.push("{}".to_owned())).starts_with("requests took very long"));
        assert!(verdict(|report| report.left.push("sessions".to_owned())).starts_with("something is left"));
        assert!(verdict(|report| report.end.files = 101).starts_with("101 files are open"));
        let grown = verdict(|report| report.samples[6..].fill(Sample { memory_bytes: 12 << 20, files: 100 }));
        assert_eq!(grown, "memory grew from 10.0 to 12.0 MiB");
    }
}
