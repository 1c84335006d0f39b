//! Medians, spreads and ratios of what was measured. Pure.

use super::contender::Contender;
use super::rows::{Bar, Metric, Row};
use super::stage::Measured;

/// One measurement, and what it was of.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) row: &'static str,
    pub(crate) which: Contender,
    /// Whether it is the larger cell of a row about growth.
    pub(crate) grown: bool,
    pub(crate) round: usize,
    pub(crate) measured: Measured,
}

/// The middle of some numbers, and how far they are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Middle {
    pub(crate) median: f64,
    /// Half the distance between the quartiles, as a share of the median.
    pub(crate) spread: f64,
}

/// What the bar of a row says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    /// What was reached, in what the bar is in.
    pub(crate) reached: f64,
    /// How far nginx and nginx are apart.
    pub(crate) tolerance: f64,
    pub(crate) is_met: bool,
}

impl Sample {
    pub(crate) fn value(&self, metric: Metric) -> f64 {
        let report = &self.measured.report;
        match metric {
            Metric::Cpu => report.cpu_us_each(),
            Metric::PerSecond => report.per_second(),
            Metric::P50 => report.latency_us.p50,
            Metric::P99 => report.latency_us.p99,
            Metric::Bytes => report.bytes_each,
            Metric::Start => self.measured.start_ms,
            Metric::Size => report.received_each(),
        }
    }

    /// For whoever watches.
    pub(crate) fn line(&self) -> String {
        let Self { row, which, grown, measured, .. } = self;
        let name = format!("{row}, {}{}", which.name(), if *grown { ", grown" } else { "" });
        let report = &measured.report;
        if report.seconds == 0.0 {
            let bytes = if report.done > 0 {
                format!("{:.0} bytes each, ", report.bytes_each)
            } else {
                String::new()
            };
            return format!("{name}: {bytes}started in {:.1} ms", measured.start_ms);
        }
        format!(
            "{name}: {:.2} µs each, {:.0} a second, p50 {:.0} µs, p99 {:.0} µs; of a core proxy {:.0} %, load {:.0} %",
            report.cpu_us_each(),
            report.per_second(),
            report.latency_us.p50,
            report.latency_us.p99,
            report.watched_cpu_us / 1e4 / report.seconds,
            report.own_cpu_us / 1e4 / report.seconds,
        )
    }
}

/// The samples of one column, by round.
pub(crate) fn values(
    samples: &[Sample],
    row: &Row,
    which: Contender,
    grown: bool,
    metric: Metric,
) -> Vec<(usize, f64)> {
    let of = |sample: &&Sample| sample.row == row.name && sample.which == which && sample.grown == grown;
    samples.iter().filter(of).map(|sample| (sample.round, sample.value(metric))).collect()
}

pub(crate) fn middle(numbers: impl IntoIterator<Item = f64>) -> Option<Middle> {
    let mut numbers: Vec<_> = numbers.into_iter().filter(|number| number.is_finite()).collect();
    numbers.sort_by(f64::total_cmp);
    let quantile = |share: f64| -> Option<f64> {
        let at = share * (numbers.len().checked_sub(1)?) as f64;
        let (low, high) = (numbers[at.floor() as usize], numbers[at.ceil() as usize]);
        Some(low + (high - low) * at.fract())
    };
    let median = quantile(0.5)?;
    let spread = (quantile(0.75)? - quantile(0.25)?) / 2.0 / median.abs().max(f64::MIN_POSITIVE);
    Some(Middle { median, spread })
}

/// The median of the ratios within each round: what the machine does to a whole round cancels out.
pub(crate) fn ratio(of: &[(usize, f64)], to: &[(usize, f64)]) -> Option<f64> {
    let in_round = |round: usize| to.iter().find(|(other, _)| *other == round).map(|(_, value)| *value);
    let ratios = of.iter().filter_map(|&(round, value)| Some(value / in_round(round)?));
    middle(ratios).map(|middle| middle.median)
}

/// Whether tidelock reaches `bar`: at most the bar and what nginx is apart from itself.
pub(crate) fn verdict(samples: &[Sample], row: &Row, bar: Bar) -> Option<Verdict> {
    let metric = bar.metric();
    let of = |which| values(samples, row, which, false, metric);
    let tidelock = of(Contender::Tidelock);
    let same = ratio(&of(Contender::NginxAgain), &of(Contender::Nginx));
    let tolerance = same.map_or(0.0, |same| (same - 1.0).abs());
    let (reached, limit, tolerance) = match bar {
        Bar::Nginx(_, limit) => (ratio(&tidelock, &of(Contender::Nginx))?, limit, tolerance),
        Bar::Haproxy(_, limit) => (ratio(&tidelock, &of(Contender::Haproxy))?, limit, tolerance),
        Bar::AtMost(_, limit) => (middle(tidelock.into_iter().map(|(_, value)| value))?.median, limit, 0.0),
        Bar::Growth(_, limit) => {
            let grown = values(samples, row, Contender::Tidelock, true, metric);
            (ratio(&grown, &tidelock)?, limit, 0.0)
        }
    };
    Some(Verdict { reached, tolerance, is_met: reached <= limit + tolerance })
}

#[cfg(test)]
mod tests {
    use load::meter::Report;

    use super::super::rows::ROWS;
    use super::*;

    fn sample(which: Contender, round: usize, cpu_us: f64) -> Sample {
        let report = Report { done: 1, watched_cpu_us: cpu_us, seconds: 1.0, ..Report::default() };
        let measured = Measured { report, start_ms: 1.0, command: String::new() };
        Sample { row: ROWS[0].name, which, grown: false, round, measured }
    }

    #[test]
    fn the_middle_is_the_median_with_half_the_quartiles_distance() {
        assert_eq!(middle([3.0, 1.0, 2.0, 5.0, 4.0]), Some(Middle { median: 3.0, spread: 1.0 / 3.0 }));
        assert_eq!(middle([2.0, 4.0]).map(|middle| middle.median), Some(3.0));
        assert_eq!(middle([]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was twice as slow in the second round, for both.
        let (of, to) = ([(0, 9.0), (1, 18.0), (2, 9.0)], [(0, 10.0), (1, 20.0), (2, 10.0)]);
        assert_eq!(ratio(&of, &to), Some(0.9));
        assert_eq!(ratio(&of, &[(7, 1.0)]), None);
    }

    #[test]
    fn a_bar_gives_way_by_what_nginx_is_apart_from_itself() {
        let check = |tidelock: f64, again: f64, want: bool| {
            let samples = [
                sample(Contender::Tidelock, 0, tidelock),
                sample(Contender::Nginx, 0, 10.0),
                sample(Contender::NginxAgain, 0, again),
            ];
            let verdict = verdict(&samples, &ROWS[0], Bar::Nginx(Metric::Cpu, 0.92)).unwrap();
            assert_eq!(verdict.is_met, want, "{tidelock} beside 10.0 and {again}: {verdict:?}");
        };
        check(9.1, 10.0, true);
        check(9.3, 10.0, false);
        check(9.3, 10.2, true);
        check(9.3, 9.8, true);
        check(9.5, 10.2, false);
    }
}
